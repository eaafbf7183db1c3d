"""A whole service for the tests of this ring: real processes, signals, and images that others made."""

import pathlib
from collections.abc import Iterator

import pytest

from deploy import real_images
from tests import service


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat under one of the two web servers; shared by the tests of a module."""
    state = tmp_path_factory.mktemp("gantry")
    options = "[gantry]\nlease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 1\n"
    names = ("api", "worker", "beat")
    with service.running(state, *names, server=request.param, options=options) as whole:
        yield whole


@pytest.fixture(scope="session")
def iso() -> pathlib.Path:
    """A bootable ISO out of a Debian package."""
    return real_images.iso()


@pytest.fixture(scope="session")
def qcow2() -> pathlib.Path:
    """A qcow2 of a real system, 64 MB for 1 GiB, out of a PyPI package."""
    return real_images.qcow2()
