"""A file store, written as glance_store names its files: linked or copied, fsynced, fenced.

glance_store's own driver copies piece by piece in Python; here a staged file of the same file system is taken
without being copied, and from elsewhere the kernel copies.
"""

import dataclasses
import errno
import io
import logging
import os
import pathlib
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

from images import errors, new_file, staging, store_options

LOG = logging.getLogger(__name__)

_configuring = threading.Lock()
_COPY_PIECE = 64 << 20
_READ_PIECE = 1 << 20
#: Linking is refused with these across file systems, and where a file system has no links.
_NO_LINK = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)
#: Copying by ranges is refused with these across file systems (by Linux 5.19 and later), and by some of them.
_NO_RANGE = (errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS)


def _nothing(*_: object) -> None:
    """What is called where nobody wants to know."""


@dataclasses.dataclass(frozen=True, slots=True)
class Writer:
    """Who puts a file into a store; what its functions raise ends it, and nothing is left."""

    #: Told the bytes done.
    on_bytes: Callable[[int], object] = _nothing
    #: Asked before anything appears under the image's name.
    ready: Callable[[], object] = _nothing
    #: The number of the lease; 0: no worker, but a request.
    attempt: int = 0


class Told(io.FileIO):
    """A staged file that tells its writer how far it has been read."""

    def __init__(self, path: pathlib.Path, writer: Writer) -> None:
        super().__init__(path)
        self.path, self.writer = path, writer
        #: Its bytes.
        self.length = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As any file, for a driver that stores what it reads."""
        piece = super().read(-1 if size is None else size) or b""
        self.writer.on_bytes(self.tell())
        return piece


def name(driver: Any) -> str:
    """How a text for people calls a store."""
    return f"The store {driver.backend_group}" if driver.backend_group else "The store"


def check_configured(driver: Any) -> None:
    """Raise `Misconfigured` if glance_store has found a driver's options too bad to write with them."""
    with _configuring:
        if not driver.is_capable(store_options.WRITE_ACCESS):
            _configure_again(driver)
    if not driver.is_capable(store_options.WRITE_ACCESS):
        raise errors.Misconfigured(
            f"{name(driver)} lacks an option, or has a wrong one: the log of this service's start says which"
        )


def _configure_again(driver: Any) -> None:
    """A mount may be back that was away at the start."""
    driver.set_capabilities(store_options.WRITE_ACCESS)
    try:
        driver.configure()
    except Exception:
        LOG.exception("%s cannot be used", name(driver))
        driver.unset_capabilities(store_options.WRITE_ACCESS)


def add(driver: Any, image_id: str, source: Told, *, link: bool) -> tuple[str, dict[str, str]]:
    """What `stores.add` does, for a file store.

    With `filesystem_thin_provisioning` a file is copied, never linked: it has holes where blocks are zeros.
    """
    check_configured(driver)
    target = pathlib.Path(driver._find_best_datadir(source.length)) / image_id
    part = _part(target, source.writer.attempt)
    thin = getattr(driver, "thin_provisioning", False)  # not every glance_store knows it
    try:
        is_copy = thin or not (link and _link_alone(source, part))
        if thin:
            _copy_thin(source, part, driver.WRITE_CHUNKSIZE)
        elif is_copy:
            _copy(source, part)
        mode = driver.store_conf.filesystem_store_file_perm
        if mode > 0:
            part.chmod(int(str(mode), 8))
        staging.sync(part)
        if is_copy:
            _compare(source, part)
        _place(part, target, source.writer.ready)
        staging.sync(target.parent)
    finally:
        part.unlink(missing_ok=True)
    metadata = dict(driver._get_metadata(str(target)))
    if driver.backend_group:
        metadata["store"] = driver.backend_group
    return f"file://{target}", metadata


def _part(target: pathlib.Path, attempt: int) -> pathlib.Path:
    """Where an attempt writes; what earlier ones have left behind goes.

    Each has a name of its own: a worker that is only paused then writes to a file that has no name any more.
    """
    if not attempt:
        return target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    part = target
    for one in range(1, attempt + 1):
        part = target.with_name(f".{target.name}.{one}.part")
        part.unlink(missing_ok=True)
    return part


def _place(part: pathlib.Path, target: pathlib.Path, ready: Callable[[], object]) -> None:
    """Give a complete file its name, if its writer still may.

    By linking, which never replaces anything: of two workers that believe to have the task, the one that has
    lost it fails to replace what the other one has stored.
    """
    ready()
    try:
        linked = _link(part, target)
    except FileExistsError:  # an earlier attempt's, unless the next one has been quicker
        ready()
        target.unlink(missing_ok=True)
        linked = _link(part, target)
    if not linked:
        part.rename(target)


def discard(driver: Any, image_id: str, attempt: int) -> None:
    """Remove what the attempts up to this one have left under an image's name, whole or partial."""
    for directory in directories(driver):
        _part(directory / image_id, attempt)
        (directory / image_id).unlink(missing_ok=True)


def read_range(path: pathlib.Path, offset: int, length: int) -> Iterator[bytes]:
    """`length` bytes of a file from `offset` on, in pieces of at most 1 MiB; it is opened at once.

    Raises:
        FileNotFoundError: it is gone.
    """
    file = path.open("rb", buffering=0)

    def pieces() -> Iterator[bytes]:
        nonlocal length
        with file:
            file.seek(offset)
            while length and (piece := file.read(min(_READ_PIECE, length))):
                length -= len(piece)
                yield piece

    return pieces()


def directories(driver: Any) -> list[pathlib.Path]:
    """Where a file store may have put files: `filesystem_store_datadir`, or several with priorities."""
    one, several = getattr(driver, "datadir", None), getattr(driver, "priority_data_map", {})
    return [pathlib.Path(name) for some in ([one], *several.values()) for name in some if name]


def _link_alone(source: Told, part: pathlib.Path) -> bool:
    """Link a file unless another store has: it is copied then, so that damage to one's bytes is not both's.

    Of several stores at the same time one may find that it was not the first, or each of them.
    """
    if os.fstat(source.fileno()).st_nlink > 1 or not _link(source.path, part):
        return False
    if os.fstat(source.fileno()).st_nlink == 2:  # noqa: PLR2004 - its own name, and this
        return True
    part.unlink()
    return False


def _link(file: pathlib.Path, target: pathlib.Path) -> bool:
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return False
    return True


def _copy(source: Told, target: pathlib.Path) -> None:
    done, size = 0, source.length
    with target.open("xb") as sink:
        while done < size:
            moved = _move(source.fileno(), sink.fileno(), min(_COPY_PIECE, size - done))
            if not moved:
                raise errors.Unavailable("The file was cut while it was copied")
            new_file.send_off(sink.fileno(), done, moved)
            done += moved
            source.writer.on_bytes(done)


def _copy_thin(source: Told, target: pathlib.Path, block: int) -> None:
    """Copy, but leave holes where blocks (of so many bytes) are zeros: they are read as zeros."""
    done, zeros = 0, bytes(block)
    with target.open("xb") as sink:
        while piece := os.pread(source.fileno(), block, done):
            if piece != zeros[: len(piece)]:
                sink.seek(done)
                sink.write(piece)
            done += len(piece)
            source.writer.on_bytes(done)
        sink.truncate(done)
    if done != source.length:
        raise errors.Unavailable("The file was cut while it was copied")


def _compare(source: Told, copy: pathlib.Path) -> None:
    """Read a copy back, and hold it against what was copied.

    What the page cache has of it is not read from the disk: that would take three times as long as the copy.
    """
    wanted, found, done = bytearray(_READ_PIECE), bytearray(_READ_PIECE), 0
    with copy.open("rb", buffering=0) as file:
        while count := os.preadv(source.fileno(), [wanted], done):
            if count < len(wanted):
                wanted, found = wanted[:count], bytearray(count)
            if file.readinto(found) != count or wanted != found:
                raise errors.Unavailable("The store does not give out what was copied to it")
            done += count
            source.writer.on_bytes(source.length)


def _move(source: int, sink: int, most: int) -> int:
    """Let the kernel copy from one file to another; how many bytes it has copied."""
    try:
        return os.copy_file_range(source, sink, most)  # by sharing blocks, where that can be done
    except OSError as error:
        if error.errno not in _NO_RANGE:
            raise
        return os.sendfile(sink, source, None, most)  # from where each of them stands
