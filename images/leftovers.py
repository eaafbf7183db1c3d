"""What a file store holds that no record points at: its writer died between the bytes and the record.

A store's directory may serve others too, so nothing is touched but files named by an image of our own
database; and nothing that the record may mean in some way. S3, Swift and RBD are `images.remote_leftovers`'
matter; stores of other types are not looked at, because their drivers list nothing.
"""

import dataclasses
import logging
import os
import pathlib
import re
import secrets
import time
import urllib.parse
import zlib
from collections.abc import Iterable, Iterator

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, models, statuses, stores

LOG = logging.getLogger(__name__)

_ID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_OBJECT = re.compile(_ID)
#: A file that is being written (`images.stores`).
_PART = re.compile(rf"\.({_ID})\.(?:.*\.)?part")
#: Seconds for which a file is left alone whatever the records say.
YOUNG = 600
#: Seconds after which nobody writes to a part any more, even if something is under way for its image.
_SILENT = 3600
#: Images of one directory that one run looks at; there may be a million.
_AT_ONCE = 5000
#: Images that one statement asks for.
_PIECE = 500
#: What a location points at.
_MEANT = ("active", "pending_delete")


@dataclasses.dataclass(slots=True)
class Known:
    """What the records say of an image whose name a file has."""

    status: str
    under_way: bool
    #: URLs of its locations.
    places: list[str]


def under_way() -> sa.ColumnElement[bool]:
    """Whether something is on its way for an image: an upload, or a task that is not done."""
    return sa.or_(models.Image.status.in_(statuses.BUSY), is_worked_on(models.Image.id))


def is_worked_on(image_id: orm.InstrumentedAttribute[str]) -> sa.ColumnElement[bool]:
    """Whether an image has a task that is not done."""
    task = orm.aliased(models.Task)  # a statement around this may look at tasks itself
    return sa.exists().where(task.image_id == image_id, task.status.in_(("pending", "processing")))


def discard(image_id: str) -> None:
    """Remove what file stores hold under the name of an image that has no data; nothing is an error.

    Call it only while nobody can begin to give the image data. Parts, and what cannot be removed, are left to
    `remove`: to find them takes a look at the whole directory.
    """
    for directory in _directories():
        try:
            (directory / image_id).unlink(missing_ok=True)
        except OSError as error:
            LOG.warning("Image %s may be left over in a store: %s", image_id, error.strerror)


def remove(now: float | None = None) -> int:
    """Remove the files of file stores that no record points at; how many there were.

    Files that are young at the time `now` (seconds since 1970, if it is another one) are left alone.
    """
    count = 0
    for directory in _directories():
        try:
            count += _clear(directory, now or time.time())
        except OSError as error:
            LOG.warning("A store's directory cannot be looked at: %s", error.strerror)
    return count


def _directories() -> Iterator[pathlib.Path]:
    for store_id in stores.writable():
        yield from stores.directories(store_id)


def _clear(directory: pathlib.Path, now: float) -> int:
    parts, objects = _names(directory)
    count = 0
    for some in known([*parts, *objects]):
        for image_id, image in some.items():
            for name in parts.get(image_id, ()):
                count += _end_part(directory / name, image, now)
            if image_id in objects and _is_nobodys(directory / image_id, image, now):
                count += _take_away(directory / image_id, _identity(directory / image_id), now)
    return count


def _names(directory: pathlib.Path) -> tuple[dict[str, list[str]], set[str]]:
    """The names of parts by their images, and those of whole objects whose turn it is."""
    parts: dict[str, list[str]] = {}
    objects: set[str] = set()
    for name in os.listdir(directory):  # noqa: PTH208 - a Path for each would cost more than the rest
        if found := _PART.fullmatch(name):
            parts.setdefault(found[1], []).append(name)
        elif _OBJECT.fullmatch(name):
            objects.add(name)
    turns = len(objects) // _AT_ONCE + 1
    turn = int(time.time() / config.CONF.gantry.upkeep_seconds) % turns
    return parts, {name for name in objects if zlib.crc32(name.encode()) % turns == turn}


def known(image_ids: Iterable[str]) -> Iterator[dict[str, Known]]:
    """What the records say of images, some at a time; those that they do not know are not in it."""
    left = sorted(set(image_ids))
    while left:
        piece, left = left[:_PIECE], left[_PIECE:]
        with db.reading() as session:
            yield {one: image for one, image in look(session, piece).items() if one in piece}


def look(session: orm.Session, image_ids: list[str]) -> dict[str, Known]:
    """What the records say of a few images; those that they do not know are not in it."""
    image, row = models.Image, models.ImageLocation
    query = (
        sa.select(image.id, image.status, under_way().label("under_way"), row.value)
        .outerjoin(row, sa.and_(row.image_id == image.id, row.status.in_(_MEANT)))
        .where(image.id.in_(image_ids))
    )
    found: dict[str, Known] = {}
    for one in session.execute(query):
        it = found.setdefault(one.id, Known(one.status, bool(one.under_way), []))
        if one.value is not None:
            it.places.append(one.value)
    return found


def _end_part(file: pathlib.Path, image: Known, now: float) -> bool:
    """Remove a part that nobody writes to."""
    if _age(file, now) <= (_SILENT if image.under_way else YOUNG):
        return False
    file.unlink(missing_ok=True)
    return True


def _is_nobodys(file: pathlib.Path, image: Known, now: float) -> bool:
    """Whether the records say for certain that nothing is meant to be here.

    They do not where an image has data, and none of its locations says where; nor where one of them names a
    file that is not there: a store's directory may have been moved, and this may be that very file.
    """
    if image.under_way or (image.status in ("active", "deactivated") and not image.places):
        return False
    if f"file://{file}" in image.places:
        return False
    local = [urllib.parse.urlsplit(url) for url in image.places]
    paths = [pathlib.Path(url.path) for url in local if url.scheme in ("file", "filesystem")]
    try:
        return not any(path.samefile(file) for path in paths) and _age(file, now) > YOUNG
    except OSError:
        return False


def _take_away(file: pathlib.Path, judged: tuple[int, ...], now: float) -> bool:
    """Remove the file that was `judged`, if the records still say that it is nobody's.

    The image's row is locked, so that nothing begins for it meanwhile. It is only renamed under the lock:
    removing a large file takes its time.
    """
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    with db.transaction() as session:
        statuses.hold_image(session, file.name)
        image = look(session, [file.name]).get(file.name)
        if image is None or not _is_nobodys(file, image, now):
            return False
        try:
            file.rename(aside)
        except FileNotFoundError:  # somebody else's upkeep was faster
            return False
        if _identity(aside) != judged:  # it was put there after we had looked
            aside.rename(file)
            return False
    LOG.info("A file of image %s that no record points at is removed", file.name)
    aside.unlink(missing_ok=True)
    return True


def _identity(file: pathlib.Path) -> tuple[int, ...]:
    try:
        status = file.stat()
    except FileNotFoundError:
        return ()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _age(file: pathlib.Path, now: float) -> float:
    """Seconds since a file was written to, or got its name, which may be later; 0 for one that is gone."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return 0.0
    return now - max(status.st_mtime, status.st_ctime)
