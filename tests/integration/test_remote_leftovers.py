"""What remote stores hold that no record points at; and whether glance_store's drivers read what is ours."""

import io
import pathlib
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from images import config, db, models, remote_leftovers, stores
from tests import ceph
from tests.conftest import Configure
from tests.integration import remote_here, remote_kinds
from tests.integration.remote_here import bytes_of, store
from tests.unit import remains

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("database"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # swiftclient's use of keystoneclient
]
DATA = bytes(range(256)) * (40 << 10)  # 10 MiB: in parts
SMALL = b"small"


@pytest.fixture(params=sorted(remote_kinds.KINDS))
def kind(
    request: pytest.FixtureRequest,
    cluster: ceph.Ceph,
    configure: Configure,
    tmp_path: pathlib.Path,
) -> Iterator[remote_kinds.Kind]:
    """One type of store after the other, configured in this process, and empty."""
    made: remote_kinds.Kind = remote_kinds.KINDS[request.param](cluster, tmp_path)
    remote_here.configured(configure, cluster, made, tmp_path)
    assert not made.held()
    yield made
    made.empty()


def clean(later: int) -> int:
    """What sixteen runs of upkeep remove, which look at everything; the first is so many seconds from now."""
    turn = config.CONF.gantry.upkeep_seconds
    begin = time.time() + later if later else time.time() - 16 * turn
    return sum(remote_leftovers.remove(begin + turn * one) for one in range(16))


def test_what_no_record_points_at(kind: remote_kinds.Kind) -> None:
    """Objects and what was begun go where an image of ours has no use for them, and stay anywhere else."""
    used, busy, failed, stranger = (
        remains.image("active"),
        remains.image("importing"),
        remains.image("queued"),
        str(uuid.uuid4()),
    )
    location = store(used, DATA)
    with db.transaction() as session:
        session.add(location)
    for image_id in (busy, failed, stranger):
        store(image_id, SMALL)
    meant = {name for name in kind.held() if used in name} | {busy, stranger}
    for image_id in (used, busy, failed, stranger):
        kind.begin(image_id)
    everything = kind.held()
    assert clean(0) == 0, "all of it is young"
    assert kind.held() == everything
    assert clean(700) + clean(700) >= 3, "what is only renamed at first goes the second time"
    left = kind.held()
    assert meant <= set(left)
    assert not [name for name in left if failed in name]
    assert len([name for name in left if used in name]) == len([n for n in meant if used in n])
    assert len([name for name in left if busy in name or stranger in name]) == 4
    assert clean(700) == 0
    with db.reading() as session:
        row = session.query(models.ImageLocation).filter_by(image_id=used).one()
        assert bytes_of(row) == DATA


def test_one_store_that_cannot_be_asked_keeps_upkeep_from_no_other(
    kind: remote_kinds.Kind, cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path
) -> None:
    """Without their options a driver of S3 and one of Swift are made all the same."""
    image_id = remains.image("queued")
    store(image_id, SMALL)
    more = f"[DEFAULT]\nenabled_backends = bad:s3,worse:swift,works:{kind.name}\n"
    remote_here.configured(configure, cluster, kind, tmp_path, more)
    clean(700)
    clean(700)
    assert not kind.held()


def test_a_second_try_replaces_what_the_first_has_left(kind: remote_kinds.Kind) -> None:
    """Whole or not, longer or shorter, by a request or by a worker's earlier attempts."""
    image_id = str(uuid.uuid4())
    store(image_id, DATA)
    kind.begin(image_id)
    location = store(image_id, DATA[::-1])
    assert bytes_of(location) == DATA[::-1]
    location = store(image_id, SMALL)
    assert bytes_of(location) == SMALL
    stores.discard("works", image_id, 1)
    assert not kind.held()
    stores.discard("works", image_id, 1)


def test_glance_s_own_driver_reads_ours_and_we_read_its(kind: remote_kinds.Kind) -> None:
    """URIs, object names and parts are the same, so an operator can go over, and back again."""
    if kind.name == "swift":
        pytest.skip("glance_store's driver asks a Keystone only, and the gateway has none")
    ours, theirs = str(uuid.uuid4()), str(uuid.uuid4())
    location = store(ours, DATA)
    driver: Any
    driver, place = stores._resolve(location.value, location.meta_data)
    pieces, size = driver.get(place)
    assert (b"".join(pieces), size) == (DATA, len(DATA))
    added = driver.add(theirs, io.BytesIO(DATA), len(DATA), "sha512")
    assert added[0].replace(theirs, ours) == location.value
    assert added[-1] == location.meta_data
    other = models.ImageLocation(value=added[0], meta_data=added[-1])
    assert bytes_of(other) == DATA
    stores.delete(other.value, other.meta_data)
    driver.delete(place)
    assert not kind.held()
