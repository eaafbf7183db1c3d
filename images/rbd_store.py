"""A store of type rbd, through Ceph's own bindings: ranges, and a name that means a whole image only.

glance_store's driver reads no ranges, and writes under the image's name from the beginning: what a dead
worker has left there keeps the next one out. Here an image is written beside its name, with the protected
snapshot `snap` (which Nova and Cinder clone), and renamed.
"""

import contextlib
import json
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC
from typing import Any

import rados
import rbd

from images import errors, file_store, store_client

LOG = logging.getLogger(__name__)

_PIECE = 1 << 20
#: What is read from Ceph at once.
_READ = 8 << 20
_SNAPSHOT = "snap"
#: Seconds without progress after which the cluster is asked whether it is full: a write then simply waits.
_STALLED = 2
#: An image that is being written.
_PART = re.compile(r"([0-9a-f-]{36})\.[0-9a-f]+\.part")

_ABSENT = (rbd.ImageNotFound,)
_FULL = (rbd.NoSpace, rbd.DiskQuotaExceeded, rados.NoSpace)
_REFUSED = (rados.PermissionError, rados.PermissionDeniedError, rbd.PermissionError)
_NOT_THERE = (rados.ObjectNotFound, rbd.ObjectNotFound)


@contextlib.contextmanager
def translated(driver: Any) -> Iterator[None]:
    """The bindings' errors as ours."""
    name = file_store.name(driver)
    try:
        yield
    except _ABSENT as error:
        raise errors.NotFound("The image's data are no longer in the store") from error
    except _FULL as error:
        raise errors.StorageFull(f"{name} is full") from error
    except rbd.ImageBusy as error:
        raise errors.Unavailable(f"{name} still uses what an earlier try has written") from error
    except (*_REFUSED, *_NOT_THERE) as error:
        LOG.warning("%s: %s", name, error)
        raise errors.Misconfigured(
            f"{name} refuses this service: its operator has to correct its pool, user, or keyring"
        ) from error
    except rbd.ArgumentOutOfRange as error:
        raise errors.Misconfigured(
            f"{name} takes no objects so large: its operator has to correct rbd_store_chunk_size"
        ) from error
    except (rados.Error, rbd.Error) as error:
        LOG.warning("%s: %s", name, error)
        raise errors.Unavailable(f"{name} cannot do this: {type(error).__name__}") from error


@contextlib.contextmanager
def _cluster(driver: Any, seconds: int | None = None) -> Iterator[Any]:
    """A connection; whatever it is asked takes at most so many seconds, by default as configured."""
    cluster = rados.Rados(conffile=driver.conf_file, rados_id=driver.user)
    if seconds is None:
        seconds = driver.store_conf.rados_connect_timeout
    if seconds >= 0:
        for option in ("rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout"):
            cluster.conf_set(option, str(seconds))
    cluster.connect()
    try:
        yield cluster
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def _pool(driver: Any, pool: str | None = None) -> Iterator[Any]:
    with _cluster(driver) as cluster, cluster.open_ioctx(pool or driver.pool) as ioctx:
        yield ioctx


def add(driver: Any, image_id: str, source: file_store.Told) -> tuple[str, dict[str, str]]:
    """What `store_client.Client` says."""
    # A driver that came so far and may not write found Ceph away, perhaps, when the service started.
    if not hasattr(driver, "conf_file"):
        file_store.check_configured(driver)
    since = [0, time.monotonic()]

    def heard(done: int) -> None:
        if done != since[0]:
            since[:] = done, time.monotonic()
        elif time.monotonic() - since[1] > _STALLED:
            _check_room(driver)
            since[1] = time.monotonic()
        source.writer.on_bytes(done)

    url = store_client.in_thread(heard, lambda told: _write(driver, image_id, source, told))
    return url, store_client.metadata(driver)


def _check_room(driver: Any) -> None:
    """Raise `StorageFull` if the cluster, or the pool, takes no more."""
    command, said = json.dumps({"prefix": "osd dump", "format": "json"}), b""
    with contextlib.suppress(rados.Error), _cluster(driver, _STALLED) as cluster:
        _, said, _ = cluster.mon_command(command, b"")
    found = json.loads(said or b"{}")
    pools = [one for one in found.get("pools", ()) if one["pool_name"] == driver.pool]
    flags = ",".join([found.get("flags", ""), *(one["flags_names"] for one in pools)])
    if "full" in re.split("[,_]", flags):
        raise errors.StorageFull(f"{file_store.name(driver)} is full")


def _write(driver: Any, image_id: str, source: file_store.Told, heard: store_client.Heard) -> str:
    """Write an image beside its name, and rename it; runs in a thread, and leaves when `heard` raises."""
    with _cluster(driver) as cluster, cluster.open_ioctx(driver.pool) as ioctx:
        part = _part(ioctx, image_id, source.writer.attempt)
        order = int(math.log2(driver.WRITE_CHUNKSIZE))
        place = driver._create_image(cluster.get_fsid(), cluster, ioctx, part, source.length, order)
        try:
            with rbd.Image(ioctx, part) as image:
                _fill(driver, image, source, heard)
                _make_snapshot(image, _SNAPSHOT)
            heard(source.length)
            _place(ioctx, part, image_id, source.writer.ready)
        except BaseException:
            with contextlib.suppress(rbd.Error, rados.Error):
                _remove(ioctx, part)
            raise
    place.image = image_id
    return str(place.get_uri())


def _part(ioctx: Any, image_id: str, attempt: int) -> str:
    """Where an attempt writes; what earlier ones have left behind goes, if nobody has it open any more."""
    if not attempt:
        return f"{image_id}.{secrets.token_hex(4)}.part"
    parts = [f"{image_id}.{one:x}.part" for one in range(1, attempt + 1)]
    for part in parts[:-1]:
        with contextlib.suppress(rbd.ImageNotFound, rbd.ImageBusy):  # a dead client counts for 30 s
            _remove(ioctx, part)
    with contextlib.suppress(rbd.ImageNotFound):
        _remove(ioctx, parts[-1])
    return parts[-1]


def _fill(driver: Any, image: Any, source: file_store.Told, heard: store_client.Heard) -> None:
    done = 0
    with source.path.open("rb", buffering=0) as file:
        while piece := file.read(driver.WRITE_CHUNKSIZE):
            if not driver.thin_provisioning or any(piece):
                image.write(piece, done)
            done += len(piece)
            heard(done)
    if done != source.length:
        raise errors.Unavailable("The file was cut while it was copied")


def _place(ioctx: Any, part: str, name: str, ready: Callable[[], object]) -> None:
    """Give a complete image its name, if its writer still may; renaming never replaces anything."""
    ready()
    try:
        rbd.RBD().rename(ioctx, part, name)
    except rbd.ImageExists:  # an earlier attempt's, unless the next one has been quicker
        ready()
        _remove(ioctx, name)
        rbd.RBD().rename(ioctx, part, name)


def _make_snapshot(image: Any, snapshot: str) -> None:
    image.create_snap(snapshot)
    image.protect_snap(snapshot)


def _remove(ioctx: Any, name: str, snapshot: str = _SNAPSHOT) -> None:
    """Remove an image with its snapshot, which may not be there yet.

    One that somebody has made other snapshots of goes to Ceph's trash with them, as it does in Glance: its
    name is free then.

    Raises:
        rbd.ImageBusy: it is in use: opened for writing, or cloned. It stays as it was.
    """
    with rbd.Image(ioctx, name) as image:
        had_snapshot = _drop_snapshot(image, snapshot)
    try:
        try:
            rbd.RBD().remove(ioctx, name)
        except rbd.ImageHasSnapshots:
            rbd.RBD().trash_move(ioctx, name)
    except rbd.ImageBusy:  # only since a moment ago
        if had_snapshot:
            with rbd.Image(ioctx, name) as image:
                _make_snapshot(image, snapshot)
        raise


def _drop_snapshot(image: Any, snapshot: str) -> bool:
    """Remove the snapshot of an image that nobody else has open; whether there was one."""
    if _is_shared(image):
        raise rbd.ImageBusy("it is open elsewhere")
    try:
        with contextlib.suppress(rbd.InvalidArgument):  # it is not protected
            image.unprotect_snap(snapshot)
        image.remove_snap(snapshot)
    except rbd.ImageNotFound:
        return False
    return True


def _is_shared(image: Any) -> bool:
    """Whether somebody else has it open for writing too; whoever only reads is not seen."""
    return len(list(image.watchers_list())) > 1


def size(driver: Any, place: Any) -> int:
    """What `store_client.Client` says."""
    where = place.store_location
    with (
        _pool(driver, where.pool) as ioctx,
        rbd.Image(ioctx, where.image, snapshot=where.snapshot, read_only=True) as image,
    ):
        return int(image.size())


def read(driver: Any, place: Any, offset: int, length: int) -> Iterator[bytes]:
    """What `store_client.Client` says."""
    where = place.store_location

    def pieces() -> Iterator[bytes]:
        with (
            translated(driver),
            _pool(driver, where.pool) as ioctx,
            rbd.Image(ioctx, where.image, snapshot=where.snapshot, read_only=True) as image,
        ):
            yield b""
            for start in range(offset, offset + length, _READ):
                read = image.read(start, min(_READ, offset + length - start))
                for at in range(0, len(read), _PIECE):
                    yield read[at : at + _PIECE]

    return store_client.opened(pieces())


def delete(driver: Any, place: Any) -> None:
    """What `store_client.Client` says; not by the driver, which removes the snapshot of an image in use."""
    where = place.store_location
    with _pool(driver, where.pool) as ioctx:
        try:
            _remove(ioctx, where.image, where.snapshot or _SNAPSHOT)
        except rbd.ImageBusy as error:
            raise errors.Conflict("The image's data are in use") from error


def discard(driver: Any, image_id: str) -> None:
    """What `store_client.Client` says."""
    with _pool(driver) as ioctx:
        for name in rbd.RBD().list(ioctx):
            part = _PART.fullmatch(name)
            if image_id in (name, part and part[1]):
                with contextlib.suppress(rbd.ImageNotFound):
                    _remove(ioctx, name)


def found(driver: Any, digit: str) -> Iterator[store_client.Found]:
    """What `store_client.Client` says."""
    with _pool(driver) as ioctx:
        for name in rbd.RBD().list(ioctx):
            if name.startswith(digit):
                with contextlib.suppress(rbd.ImageNotFound):
                    yield _found(driver, ioctx, name)


def _found(driver: Any, ioctx: Any, name: str) -> store_client.Found:
    with rbd.Image(ioctx, name, read_only=True) as image:
        written = image.modify_timestamp().replace(tzinfo=UTC).timestamp()
    if part := _PART.fullmatch(name):
        return store_client.Found(part[1], written, name)
    return store_client.Found(name, written, name, (f"/{driver.pool}/{name}/", f"rbd://{name}"))


def remove(driver: Any, found: store_client.Found) -> None:
    """What `store_client.Client` says."""
    with _pool(driver) as ioctx, contextlib.suppress(rbd.ImageNotFound):
        _remove(ioctx, found.name)


def take_away(driver: Any, found: store_client.Found) -> None:
    """What `store_client.Client` says: to remove a large image takes its time, so it is renamed."""
    with _pool(driver) as ioctx, contextlib.suppress(rbd.ImageNotFound):
        rbd.RBD().rename(ioctx, found.name, f"{found.name}.{secrets.token_hex(4)}.part")
