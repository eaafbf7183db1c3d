"""Reading from a remote store that is given up, or that the store breaks off."""

import pathlib
import threading
import uuid
from collections.abc import Callable

import pytest

from images import errors, models, stores
from tests import ceph, service
from tests.conftest import Configure
from tests.integration import remote_here, remote_kinds

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # swiftclient's use of keystoneclient
]
#: More than sockets hold between two processes.
LARGE = bytes(range(256)) * (256 << 10)
SMALL = b"small"


def _ends(work: Callable[[], object]) -> bool:
    """Whether it does; what hangs is left alone."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(service.PATIENCE)
    return not thread.is_alive()


@pytest.mark.parametrize("begun", [False, True], ids=["before the first piece", "after it"])
@pytest.mark.parametrize("name", sorted(remote_kinds.KINDS))
def test_bytes_that_nobody_takes(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path, name: str, *, begun: bool
) -> None:
    """What was opened is closed, in the right order; the image can be deleted at once."""
    kind = remote_kinds.KINDS[name](cluster, tmp_path)
    remote_here.configured(configure, cluster, kind, tmp_path)
    location = remote_here.store(str(uuid.uuid4()), SMALL)

    def drop() -> None:
        pieces = stores.open_location(location).read_range(0, len(SMALL))
        if begun:
            assert next(pieces) == SMALL

    assert _ends(drop)
    stores.delete(location.value, location.meta_data)
    assert not kind.held()


def _read_with_a_death(cluster: ceph.Ceph, location: models.ImageLocation) -> bytes:
    """An image whose gateway is killed after the first piece, and started again."""
    pieces = stores.open_location(location).read_range(0, len(LARGE))
    first = next(pieces)
    cluster.kill_gateway()
    cluster.start_gateway()
    return first + b"".join(pieces)


@pytest.mark.parametrize("name", ["s3", "swift"])
def test_a_gateway_that_is_killed_while_it_is_read_from(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path, name: str
) -> None:
    """Said in our own words, so that whoever reads goes on elsewhere."""
    kind = remote_kinds.KINDS[name](cluster, tmp_path)
    remote_here.configured(configure, cluster, kind, tmp_path)
    location = remote_here.store(str(uuid.uuid4()), LARGE)
    with pytest.raises(errors.Unavailable):
        _read_with_a_death(cluster, location)
    stores.delete(location.value, location.meta_data)
    assert not kind.held()


def test_swift_is_asked_for_the_rest(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path
) -> None:
    kind = remote_kinds.Swift(cluster, tmp_path)
    more = "swift_store_retry_get_count = 1"
    remote_here.configured(configure, cluster, kind, tmp_path, more)
    location = remote_here.store(str(uuid.uuid4()), LARGE)
    assert _read_with_a_death(cluster, location) == LARGE
    stores.delete(location.value, location.meta_data)
    assert not kind.held()
