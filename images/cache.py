"""The image cache of this host: whole images in a directory, sent without asking a store (contract 2.13).

`image_cache_dir` switches it on. The directory is laid out as Glance's is: `<image id>` is a whole image,
`incomplete/<image id>` one that is on its way (`images.cache_fills`), `queue/<image id>` the wish to have
one, oldest first. The books are Glance's tables `cached_images` and `node_reference`, where this host is
known by its URL or its name.

A file counts only together with a row of this host that has the image's size and checksum, and whoever adds
or removes one holds the directory's lock. So a process may be killed anywhere: what it leaves behind is never
served, and goes with the next image that comes in, or with upkeep.
"""

import contextlib
import fcntl
import logging
import os
import pathlib
import re
import tempfile
import time
from collections.abc import Collection, Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, errors, hosts, models, records, stores

LOG = logging.getLogger(__name__)

_ROW, _NODE, _IMAGE = models.CachedImage, models.NodeReference, models.Image
#: Ids that are names of files; others, which only the v1 era let pass, are not cached.
_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_INCOMPLETE, _QUEUE, _INVALID = "incomplete", "queue", "invalid"
#: Ids in one statement.
_PIECE = 500
#: What tells an image's data.
_FACTS: tuple[sa.ColumnElement[Any] | orm.InstrumentedAttribute[Any], ...]
_FACTS = _IMAGE.id, _IMAGE.size, _IMAGE.checksum
_UNSEEN = {"synchronize_session": False}


def is_on() -> bool:
    """Whether this host has a cache."""
    return bool(config.CONF.image_cache_dir)


def prepare() -> None:
    """Make the directories, so that a fault in the option is seen when the service starts.

    Raises:
        SystemExit: they cannot be made, or not be written to.
    """
    if not is_on():
        return
    try:
        for part in ("", _INCOMPLETE, _QUEUE, _INVALID):
            place(part).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place(_INCOMPLETE)):
            pass
    except OSError as error:
        raise SystemExit(
            "gantry: the configuration cannot be used: image_cache_dir cannot be written to: "
            f"{os.strerror(error.errno or 0)}"
        ) from error


def place(name: str = "") -> pathlib.Path:
    """A file or directory of the cache, or the whole."""
    return pathlib.Path(config.CONF.image_cache_dir) / name


def incomplete(image_id: str) -> pathlib.Path:
    """Where an image's bytes are while they are on their way."""
    return place(_INCOMPLETE) / image_id


def node() -> str:
    """What this host is called in the books."""
    return str(config.CONF.worker_self_reference_url or hosts.name())


def why_never(image: records.Record) -> str | None:
    """Why an image can never be in the cache, in a line; None if it can."""
    if not _ID.fullmatch(image.id) or image.size is None or not image.checksum:
        return "it has no size and checksum by which cached data could be recognised"
    if image.size > config.CONF.image_cache_max_size:
        return f"it is larger than image_cache_max_size, {config.CONF.image_cache_max_size} bytes"
    return None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Nobody else on this host adds or removes anything meanwhile; it is over when the process is.

    Raises:
        Unavailable: the directory cannot be used.
    """
    try:
        with place(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise _unusable(error) from error


def _unusable(error: OSError) -> errors.Unavailable:
    return errors.Unavailable(f"The image cache cannot be used: {os.strerror(error.errno or 0)}")


# Reading


def find(image: records.Record) -> stores.Opened | None:
    """An active image's bytes, if they are here; that counts as a hit.

    Whether the caller may have them has been decided before (OSSA-2013-027): the cache knows no policy.
    """
    if not is_on() or image.status != "active" or not _has_file(image):
        return None
    hit = sa.update(_ROW).where(*_entry_of(image))
    try:
        with db.transaction() as session:
            counted = session.execute(
                hit.values(hits=_ROW.hits + 1, last_accessed=db.now()), execution_options=_UNSEEN
            )
    except errors.Unavailable as error:
        LOG.warning("Image %s is not served from the cache: %s", image.id, error)
        return None
    if not counted.rowcount:  # type: ignore[attr-defined]
        return None
    return stores.open_file(place(image.id), image.size or 0)


def holds(image: records.Record) -> bool:
    """Whether an image is here, as it is now."""
    return _has_file(image) and bool(db.fetch(sa.select(_ROW.id).where(*_entry_of(image))))


def _has_file(image: records.Record) -> bool:
    try:
        return bool(_ID.fullmatch(image.id)) and place(image.id).stat().st_size == image.size
    except OSError:
        return False


def _here() -> sa.ColumnElement[bool]:
    """Whether a row is this host's."""
    mine = sa.select(_NODE.node_reference_id).where(_NODE.node_reference_url == node())
    return _ROW.node_reference_id == mine.scalar_subquery()


def _entry_of(image: records.Record) -> tuple[sa.ColumnElement[bool], ...]:
    same = _ROW.size == image.size, _ROW.checksum == image.checksum
    return _ROW.image_id == image.id, _here(), *same


def entries() -> list[models.CachedImage]:
    """What this host's books have, the one that was used longest ago first."""
    with db.reading() as session:
        return _entries(session)


def _entries(session: orm.Session) -> list[models.CachedImage]:
    return list(
        session.scalars(sa.select(_ROW).where(_here()).order_by(_ROW.last_accessed, _ROW.id))
    )


def nodes(image_id: str) -> list[str]:
    """The hosts that have an image in their cache."""
    statement = sa.select(_NODE.node_reference_url).join(
        _ROW, _ROW.node_reference_id == _NODE.node_reference_id
    )
    statement = statement.where(_ROW.image_id == image_id)
    return [url for (url,) in db.fetch(statement.order_by(_NODE.node_reference_id))]


def knows(image_id: str) -> bool:
    """Whether there is anything of an image in the cache, or in its queue."""
    if not _ID.fullmatch(image_id):
        return False
    files = place(image_id), incomplete(image_id), place(_QUEUE) / image_id
    mine = sa.select(_ROW.id).where(_ROW.image_id == image_id, _here())
    return any(file.exists() for file in files) or bool(db.fetch(mine))


# The queue


def queued() -> list[str]:
    """The images that wait to be cached, in their order."""
    waiting = [(_changed(file), file.name) for file in _files(place(_QUEUE))]
    return [name for _, name in sorted(waiting)]


def enqueue(image_id: str) -> None:
    """Let an image wait to be cached; one that waits already keeps its turn."""
    file, now = place(_QUEUE) / image_id, time.time_ns()
    with alone(), contextlib.suppress(FileExistsError):
        file.touch(exist_ok=False)
        os.utime(file, ns=(now, now))  # the clock of files may stand for 4 ms: whose turn is it?


def waits(image_id: str) -> bool:
    """Whether an image is in the queue."""
    return (place(_QUEUE) / image_id).exists()


def dequeue(image_id: str) -> None:
    """The image does not wait any more."""
    (place(_QUEUE) / image_id).unlink(missing_ok=True)


def empty_queue() -> int:
    """No image waits any more; how many did."""
    waiting = queued()
    for image_id in waiting:
        dequeue(image_id)
    return len(waiting)


# Adding and removing


def enter(image: records.Record, file: int) -> bool:
    """Take in an image that is whole, verified and on the disk as its `incomplete` file, opened as `file`.

    False where it is no longer wanted: that file was removed, or the image was deleted or changed.

    Raises:
        Unavailable: it cannot be done now.
    """
    part, now = incomplete(image.id), db.now()
    with alone():
        if not is_at(file, part) or not _is_current(image):
            return False
        _shrink(config.CONF.image_cache_max_size - (image.size or 0), sparing=image.id)
        part.rename(place(image.id))
        with db.transaction() as session:
            session.execute(_delete([image.id]), execution_options=_UNSEEN)
            session.add(
                _ROW(
                    image_id=image.id,
                    last_accessed=now,
                    last_modified=now,
                    size=image.size,
                    hits=0,
                    checksum=image.checksum,
                    node_reference_id=_node_id(session),
                )
            )
        dequeue(image.id)
    return True


def is_at(file: int, path: pathlib.Path) -> bool:
    """Whether an open file is still what a path leads to."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _is_current(image: records.Record) -> bool:
    same = _IMAGE.status == "active", _IMAGE.size == image.size, _IMAGE.checksum == image.checksum
    return bool(db.fetch(sa.select(_IMAGE.id).where(_IMAGE.id == image.id, *same)))


def _node_id(session: orm.Session) -> int:
    """This host's number in the books; it is given one the first time."""
    find_it = sa.select(_NODE.node_reference_id).where(_NODE.node_reference_url == node())
    known = session.scalars(find_it).first()
    if known is not None:
        return known
    row = _NODE(node_reference_url=node())
    session.add(row)
    session.flush()
    return row.node_reference_id


def _delete(image_ids: Collection[str]) -> sa.Delete:
    return sa.delete(_ROW).where(_ROW.image_id.in_(image_ids), _here())


def _remove(image_id: str) -> None:
    """The row first: a file without one is nobody's, and goes with the next look."""
    with db.transaction() as session:
        session.execute(_delete([image_id]), execution_options=_UNSEEN)
    place(image_id).unlink(missing_ok=True)


def drop(image_id: str) -> None:
    """Remove all that there is of an image, what is on its way and its place in the queue too.

    Raises:
        Unavailable: the cache or the database cannot be used.
    """
    if not knows(image_id):
        return
    with alone():
        dequeue(image_id)
        incomplete(image_id).unlink(missing_ok=True)
        _remove(image_id)


def forget(image_id: str) -> None:
    """`drop` for an image that has just been deleted; what cannot be removed now is upkeep's."""
    if not is_on():
        return
    try:
        drop(image_id)
    except errors.Unavailable as error:
        LOG.warning("Image %s waits for upkeep to leave the cache: %s", image_id, error)


def clear() -> int:
    """Remove all images, and what is on its way; how many images there were."""
    with alone():
        for file in _files(place(_INCOMPLETE)):
            file.unlink(missing_ok=True)
        return len(_shrink(-1))


def prune() -> tuple[int, int]:
    """Keep image_cache_max_size: what was used longest ago goes; how many images and bytes that were."""
    with alone():
        sizes = _shrink(config.CONF.image_cache_max_size)
    return len(sizes), sum(sizes)


def _shrink(most: int, *, sparing: str = "") -> list[int]:
    """Leave images of at most `most` bytes together, that of `sparing` not counted; the sizes of the others.

    The lock is held: so a file without a row is what a killed process has left behind.
    """
    sizes = {file.name: _size(file) for file in _files(place()) if file.name != sparing}
    rows = [row.image_id for row in entries() if row.image_id != sparing]
    for name in sizes.keys() - set(rows):
        place(name).unlink(missing_ok=True)
        del sizes[name]
    total, removed = sum(sizes.values()), []
    for image_id in rows:
        if total <= most:
            break
        _remove(image_id)
        size = sizes.get(image_id, 0)
        total -= size
        removed.append(size)
    return removed


def clean() -> int:
    """Remove what has stalled or was left behind, and images that are not what they were; how many.

    On its way is what a process writes to: of what has no writer any more nothing is kept, of a writer that
    gives no byte for `image_cache_stall_time` neither.
    """
    doomed = _files(place(_INVALID))  # Glance's failures
    stalled = time.time() - config.CONF.image_cache_stall_time
    doomed += [f for f in _files(place(_INCOMPLETE)) if _changed(f) < stalled or _is_orphan(f)]
    for file in doomed:
        file.unlink(missing_ok=True)
    with alone():
        files = {file.name: _size(file) for file in _files(place())}
        rows = {row.image_id: row for row in entries()}
        valid = {one for one in _current(rows.values()) if files.get(one) == rows[one].size}
        left = (files.keys() | rows.keys()) - valid
        for image_id in left:
            _remove(image_id)
    return len(doomed) + len(left)


def _is_orphan(file: pathlib.Path) -> bool:
    """Whether nobody writes to an incomplete file; one that has just been begun may lose it, and notices."""
    try:
        with file.open("rb+") as opened:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


def _current(rows: Collection[models.CachedImage]) -> set[str]:
    """The images among them that still have the data which the books say."""
    said = {row.image_id: (row.size, row.checksum) for row in rows}
    ids, found = list(said), set()
    columns = sa.select(*_FACTS)
    there = _IMAGE.status.in_(("active", "deactivated"))
    for begin in range(0, len(ids), _PIECE):
        wanted = columns.where(_IMAGE.id.in_(ids[begin : begin + _PIECE]), there)
        found |= {one for one, *facts in db.fetch(wanted) if said.get(one) == tuple(facts)}
    return found


def _files(directory: pathlib.Path) -> list[pathlib.Path]:
    """What is named by an image's id."""
    try:
        return [pathlib.Path(one.path) for one in os.scandir(directory) if _ID.fullmatch(one.name)]
    except OSError as error:
        raise _unusable(error) from error


def _changed(file: pathlib.Path) -> float:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_mtime
    return time.time()


def _size(file: pathlib.Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return file.stat().st_size
    return 0
