"""What every ring uses: the service's modules on a state directory of the test's own."""

import pathlib
import shutil
from collections.abc import Callable, Iterator

import pytest

from deploy import real_images
from images import config, db, service, stores
from tests import lock_order
from tests import service as processes

_TESTS = pathlib.Path(__file__).parent

#: Makes the configuration again with these lines behind the embedded default's; returns its files.
Configure = Callable[[str], list[str]]


#: Files that take minutes, the longest first. With these at work first, several processes end together.
_LONGEST = (
    "tempest/test_tempest.py",
    "integration/test_matrix.py",
    "security/test_worker_limits.py",
    "system/long/test_kill_matrix_on_rabbitmq.py",
    "system/long/test_kill_matrix.py",
    "system/long/test_lost_and_found_on_rabbitmq.py",
    "integration/test_lists_at_scale.py",
    "integration/test_stores.py",
    "integration/test_remote_stores.py",
    "tempest/test_client_suites.py",
    "tempest/test_rally.py",
    "compat/test_openstack.py",
    "integration/test_databases.py",
    "system/test_lost_and_found.py",
    "system/long/test_recovery.py",
    "integration/test_adopt.py",
    "system/long/test_power_cut.py",
    "integration/test_hostile_bodies.py",
    "compat/test_glance.py",
    "compat/test_sdk.py",
    "integration/test_large_bodies.py",
    "integration/test_schemathesis.py",
    "compat/test_keystone_auth.py",
    "system/long/test_outcomes.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others, and the tests of a file, stay in their order."""
    rank = {_TESTS / name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(autouse=True)
def rows_are_locked_in_order() -> Iterator[None]:
    """Every test in whose own process a transaction locks rows shows that none can end up in a deadlock."""
    with lock_order.watched() as found:
        yield
    assert found == []


@pytest.fixture
def configure(tmp_path: pathlib.Path) -> Iterator[Configure]:
    """The modules of this process, set up on `tmp_path`; call it to change the configuration."""
    default = _TESTS.parent / "deploy/gantry.conf"

    def again(lines: str) -> list[str]:
        extra = tmp_path / "test.conf"
        extra.write_text(f"[gantry]\nstate_path = {tmp_path}\n{lines}\n")
        db.dispose()
        stores.reset()
        service.start([str(default), str(extra)])
        return [str(default), str(extra)]

    again("")
    yield again
    db.dispose()
    stores.reset()
    config.CONF.reset()


@pytest.fixture(scope="session")
def empty_database() -> pathlib.Path:
    """A database that the migrations have made, to be copied: they take longer than most tests."""
    return processes.empty_database()


@pytest.fixture
def database(configure: Configure, tmp_path: pathlib.Path, empty_database: pathlib.Path) -> None:
    """Tables, as the migrations make them."""
    shutil.copy(empty_database, tmp_path / "gantry.sqlite")


@pytest.fixture(scope="session")
def iso() -> pathlib.Path:
    """A bootable ISO out of a Debian package."""
    return real_images.iso()


@pytest.fixture(scope="session")
def qcow2() -> pathlib.Path:
    """A qcow2 of a real system, 64 MB for 1 GiB, out of a PyPI package."""
    return real_images.qcow2()
