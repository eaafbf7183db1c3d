"""What several files of this ring use: one Ceph for all of them, which takes its time to start."""

from collections.abc import Iterator

import pytest

from tests import ceph, driver_libraries
from tests.functional.conftest import caller

__all__ = ["caller", "cluster", "driver_libraries"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ceph.Ceph]:
    """A private Ceph with its gateway; the tests that ask for it are skipped where there is none."""
    with ceph.running(tmp_path_factory.mktemp("ceph")) as whole:
        yield whole
