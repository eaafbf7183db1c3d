"""Removing images of Ceph's that others use: all of an image stays, or its name is free."""

import contextlib
import json
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from images import errors, models, stores
from tests import ceph
from tests.conftest import Configure
from tests.integration import remote_here, remote_kinds

pytestmark = pytest.mark.slow
DATA, OTHER = b"data" * 1000, b"other" * 1000


@pytest.fixture
def kind(
    cluster: ceph.Ceph, configure: Configure, tmp_path: pathlib.Path
) -> Iterator[remote_kinds.Kind]:
    """A store of this process, which is empty in the end."""
    made = remote_kinds.Rbd(cluster, tmp_path)
    remote_here.configured(configure, cluster, made, tmp_path)
    yield made
    made.empty()


@contextlib.contextmanager
def _opened(image_id: str) -> Iterator[Any]:
    """An image as a client has it open."""
    import rbd  # whoever asks for this has it

    [(driver, _)] = stores.clients()
    with _client()._pool(driver) as pool, rbd.Image(pool, image_id) as image:
        yield image


def _client() -> Any:
    [(_, client)] = stores.clients()
    return client


def _delete(location: models.ImageLocation) -> None:
    stores.delete(location.value, location.meta_data)


def _is_protected(image_id: str) -> bool:
    with _opened(image_id) as image:
        return bool(image.is_protected_snap("snap"))


@pytest.mark.parametrize("seen", [True, False], ids=["seen in time", "opened at the last moment"])
def test_an_image_that_somebody_has_open(
    kind: remote_kinds.Kind, monkeypatch: pytest.MonkeyPatch, *, seen: bool
) -> None:
    """It can be read, and cloned, as before."""
    if not seen:
        monkeypatch.setattr(_client(), "_is_shared", lambda _: False)
    image_id = str(uuid.uuid4())
    location = remote_here.store(image_id, DATA)
    with _opened(image_id):
        with pytest.raises(errors.Conflict):
            _delete(location)
        assert remote_here.bytes_of(location) == DATA
        assert _is_protected(image_id)
    _delete(location)
    assert not kind.held()


@pytest.mark.parametrize("way", ["delete", "discard", "replace"])
def test_an_image_with_snapshots_of_somebody_else(
    kind: remote_kinds.Kind, cluster: ceph.Ceph, way: str
) -> None:
    """Ceph's trash keeps it with them; its name can be used again."""
    image_id = str(uuid.uuid4())
    location = remote_here.store(image_id, DATA)
    cluster.run("rbd", "snap", "create", f"{ceph.POOL}/{image_id}@backup", "--no-progress")
    if way == "delete":
        _delete(location)
    elif way == "discard":
        stores.discard("works", image_id, 1)
    else:
        assert remote_here.bytes_of(remote_here.store(image_id, OTHER)) == OTHER
        _delete(location)
    assert not kind.held()
    trash = json.loads(cluster.run("rbd", "trash", "ls", ceph.POOL, "--format=json"))
    [number] = [one["id"] for one in trash if one["name"] == image_id]
    cluster.run("rbd", "trash", "restore", f"{ceph.POOL}/{number}")
    kept = location.value.replace("/snap", "/backup")
    assert (
        remote_here.bytes_of(models.ImageLocation(value=kept, meta_data={"store": "works"})) == DATA
    )


def test_an_image_that_is_cloned_is_not_replaced(
    kind: remote_kinds.Kind, cluster: ceph.Ceph
) -> None:
    image_id = str(uuid.uuid4())
    location = remote_here.store(image_id, DATA)
    disk = f"{ceph.POOL}/disk"
    cluster.run("rbd", "clone", f"{ceph.POOL}/{image_id}@snap", disk)
    with pytest.raises(errors.Unavailable, match="still uses"):
        remote_here.store(image_id, OTHER)
    with pytest.raises(errors.Conflict):
        _delete(location)
    assert remote_here.bytes_of(location) == DATA
    assert _is_protected(image_id)
    assert sorted(kind.held()) == sorted([image_id, "disk"])
    cluster.run("rbd", "rm", disk, "--no-progress")
    _delete(location)
