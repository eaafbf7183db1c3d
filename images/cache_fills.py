"""How images come into the cache of this host: kept on their way to a client, or fetched by request.

One process at a time brings an image, with a lock on its incomplete file that ends with the process: what a
killed one has left is begun anew by the next one. An image goes in whole and verified, or not at all.
"""

import contextlib
import fcntl
import hashlib
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Self

from images import (
    cache,
    catalog,
    config,
    context,
    errors,
    locations,
    new_file,
    records,
    stores,
)

LOG = logging.getLogger(__name__)

#: Beside the images: whose date is young while images are being fetched.
_MARKER = ".prefetch"
#: Who fetches: the cache knows no policy, it is asked before anything is served.
EVERYTHING = context.Context("", "cache", "cache", (), is_admin=True, request_id="")


class Fill:
    """An image on its way into the cache: in the end it is `enter`ed, or nothing is left of it."""

    def __init__(self, image: records.Record, file: int) -> None:
        self._image, self._number = image, file
        self._file = os.fdopen(file, "wb")
        known = image.os_hash_value and image.os_hash_algo in hashlib.algorithms_available
        algorithm = (image.os_hash_algo if known else None) or "md5"
        self._expected = image.os_hash_value if known else image.checksum
        self._digest = hashlib.new(algorithm, usedforsecurity=False)
        self._size = 0

    @classmethod
    def begin(cls, image: records.Record) -> Self | None:
        """None where another process, or another request, is bringing this image, or has just brought it.

        Raises:
            OSError, Unavailable: the cache's directory, or the database, cannot be used.
        """
        path = cache.incomplete(image.id)
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _is_locked(file) or not cache.is_at(
            file, path
        ):  # the latter: somebody has removed it
            os.close(file)
            return None
        with contextlib.ExitStack() as stack:
            fill = cls(image, file)
            stack.callback(fill.close)
            if cache.holds(image):
                return None
            os.ftruncate(file, 0)
            stack.pop_all()
        return fill

    def write(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            OSError: it cannot be kept.
        """
        self._digest.update(piece)
        self._file.write(piece)
        new_file.send_off(self._number, self._size, len(piece))
        self._size += len(piece)

    def enter(self) -> bool:
        """All has come: into the cache with it; False where it is no longer wanted there.

        Raises:
            WrongData: it is not the image.
            Unavailable, OSError: it cannot be kept.
        """
        if self._size != self._image.size or self._digest.hexdigest() != self._expected:
            raise errors.WrongData(
                "the store gives other data than the image's size and digest say; compare them, and upload "
                "the image again"
            )
        self._file.flush()
        os.fsync(self._number)
        return cache.enter(self._image, self._number)

    def close(self) -> None:
        """Let go of it; what has not entered is removed."""
        try:
            with cache.alone():
                if cache.is_at(self._number, path := cache.incomplete(self._image.id)):
                    path.unlink()
        finally:
            with contextlib.suppress(OSError):  # a full disk has been told of already
                self._file.close()


def _is_locked(file: int) -> bool:
    """Whether an open file is now ours alone."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wants(image: records.Record, opened: stores.Opened) -> bool:
    """Whether an image that is about to be sent from a store is to be kept on its way.

    A file on the cache's own file system is not: it would be there twice, and be served no faster.
    """
    if not cache.is_on() or image.status != "active" or cache.why_never(image):
        return False
    return opened.path is None or not _is_near(opened.path)


def _is_near(path: pathlib.Path) -> bool:
    try:
        return path.stat().st_dev == cache.place().stat().st_dev
    except OSError:
        return True


def kept(image: records.Record, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces of a whole image as they are; whatever befalls the cache, they come."""
    keeper = _Keeper(image)
    try:
        for piece in pieces:
            keeper.write(piece)
            yield piece
        keeper.enter()
    finally:
        keeper.close()


class _Keeper:
    """A fill whose faults are only logged: it is given up then."""

    def __init__(self, image: records.Record) -> None:
        self._image = image
        self._fill: Fill | None = None
        with self._tried():
            self._fill = Fill.begin(image)

    @contextlib.contextmanager
    def _tried(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a download is not to fail because of its copy
            text = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
            expected = isinstance(error, OSError | errors.GantryError)
            LOG.warning("Image %s is not cached: %s", self._image.id, text, exc_info=not expected)
            self.close()

    def write(self, piece: bytes) -> None:
        if self._fill:
            with self._tried():
                self._fill.write(piece)

    def enter(self) -> None:
        if self._fill:
            with self._tried():
                self._fill.enter()

    def close(self) -> None:
        fill, self._fill = self._fill, None
        if fill:
            with self._tried():
                fill.close()


# By request


def enqueue(image: records.Record) -> None:
    """Let an image be fetched into the cache of this host.

    Raises:
        Invalid: it cannot be cached, now or ever; the text says why.
    """
    if image.status != "active":
        raise errors.Invalid("Only images with status active can be targeted for queueing")
    if reason := cache.why_never(image):
        raise errors.Invalid(f"Image {image.id} cannot be cached: {reason}")
    if not cache.holds(image):
        cache.enqueue(image.id)


def prefetch(is_over: Callable[[], bool]) -> int:
    """Fetch the images that wait for it, one after another; how many have come.

    One process of a host does it at a time. Another one that is told of an image meanwhile leaves it to that
    one, which looks again when it has let go. `is_over` is asked again and again whether this process is to
    end; what is not whole then waits for the next one.

    Raises:
        Unavailable: the cache or the database cannot be used.
    """
    tried: set[str] = set()
    count = 0
    while not is_over() and (new := [one for one in cache.queued() if one not in tried]):
        with _lock() as marker:
            if marker is None:
                break
            for image_id in new:
                tried.add(image_id)
                count += _fetch(image_id, _Beat(marker, is_over).look)
    return count


@contextlib.contextmanager
def _lock() -> Iterator[pathlib.Path | None]:
    path = cache.place(_MARKER)
    with path.open("a") as file:
        if not _is_locked(file.fileno()):
            yield None
            return
        yield path
        os.utime(path, (0, 0))


class _Beat:
    """Shows by a file's date that a process is at it."""

    def __init__(self, marker: pathlib.Path, is_over: Callable[[], bool]) -> None:
        self._marker, self._is_over = marker, is_over
        self._next = 0.0

    def look(self) -> bool:
        """Whether it is to end."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1
            os.utime(self._marker)
        return self._is_over()


def is_prefetching() -> bool:
    """Whether a process of this host fetches images, and gets on with it."""
    if not cache.is_on():
        return False
    try:
        silence = time.time() - cache.place(_MARKER).stat().st_mtime
    except FileNotFoundError:
        return False
    return bool(silence < config.CONF.gantry.lease_seconds)


def _fetch(image_id: str, is_over: Callable[[], bool]) -> bool:
    """Whether it is here now; it goes on waiting only where a later try may have better luck."""
    if is_over() or not cache.waits(image_id):
        return False
    try:
        image = catalog.show(EVERYTHING, image_id)
    except errors.NotFound:
        cache.dequeue(image_id)
        return False
    if image.status != "active" or cache.why_never(image) or cache.holds(image):
        cache.dequeue(image_id)
        return False
    for row in locations.ordered(image.locations):
        try:
            return _fill_from(image, row, is_over)
        except errors.WrongData as error:
            LOG.error("Image %s is not cached: %s", image_id, error)  # noqa: TRY400 - no trace helps
            cache.dequeue(image_id)
        except errors.GantryError as error:
            LOG.warning("Image %s waits to be cached, a location fails: %s", image_id, error)
    return False


def _fill_from(image: records.Record, row: records.Location, is_over: Callable[[], bool]) -> bool:
    """Whether it has entered; not where another process brings it, or this one is to end.

    Raises:
        NotFound, Unavailable: the store does not give it, or the cache cannot take it.
        WrongData: the store has something else.
    """
    try:
        fill = Fill.begin(image)
        if fill is None:
            return False
        with contextlib.closing(fill):
            for piece in stores.open_location(row).read_range(0, image.size or 0):
                fill.write(piece)
                if is_over():
                    return False
            return fill.enter()
    except OSError as error:
        text = f"the cache cannot take it: {os.strerror(error.errno or 0)}"
        raise errors.Unavailable(text) from error
