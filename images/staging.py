"""Where bytes wait for their import: one directory that the API and the workers both see.

A staged image is a file named by the image's id; beside it stand `<id>.facts` (what was found out
while it was written), `<id>.part` (a file that is still being written) and `<id>.<format>` (the
outcome of a conversion). Whoever writes, writes beside and renames, so that a name means a whole file.
"""

import contextlib
import dataclasses
import errno
import json
import os
import pathlib
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from images import config, digests, errors, formats

#: The reserved store whose directory is the staging area where several stores are configured.
RESERVED_STORE = "os_glance_staging_store"


class Source(Protocol):
    """Bytes that arrive."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; none at the end."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a staged file, and of which file exactly it is known."""

    path: str
    size: int
    #: Inode, modification and change time: a digest counts only for the very file it was made of.
    identity: tuple[int, int, int]
    inspection: formats.Inspection
    #: None where the file is going to be converted, which makes a digest of it worthless.
    digest: digests.Digest | None


def directory() -> pathlib.Path:
    """The staging directory.

    Raises:
        Unavailable: it is not there and cannot be made.
    """
    if config.CONF.enabled_backends:
        path = pathlib.Path(config.CONF[RESERVED_STORE].filesystem_store_datadir)
    else:
        path = pathlib.Path(urllib.parse.urlsplit(config.CONF.node_staging_uri).path)
    with _translated():
        path.mkdir(parents=True, exist_ok=True)
    return path


def path(image_id: str, suffix: str = "") -> pathlib.Path:
    """Where an image's staged bytes (or what `suffix` names beside them) are or will be."""
    return directory() / f"{image_id}{suffix}"


def is_stored_as_it_is(disk_format: str | None) -> bool:
    """Whether an import stores a file of this format unconverted, so that a digest of it is worth while."""
    if "image_conversion" not in config.CONF.image_import_opts.image_import_plugins:
        return True
    return disk_format in (config.CONF.image_conversion.output_format, "iso")


def receive(
    image_id: str, source: Source, *, digest: bool, on_bytes: Callable[[int], None] | None = None
) -> Facts:
    """Write a stream into staging in one pass: store, inspect and (if `digest`) digest each piece.

    `on_bytes` is told how many bytes have arrived; what it raises ends the reception. Nothing is left
    behind where this raises.

    Raises:
        Gone: the image was deleted while its bytes arrived.
        LimitExceeded: the stream is longer than `image_size_cap`.
        StorageFull, Unavailable: the staging directory cannot take it.
    """
    part = path(image_id, ".part")
    inspector = formats.Inspector()
    try:
        with _translated(), part.open("wb", buffering=0) as file, _hasher(digest=digest) as hasher:
            for piece, total in _pieces(source):
                _write(file.fileno(), piece)
                inspector.feed(piece)
                if hasher:
                    hasher.update(piece)
                if on_bytes:
                    on_bytes(total)
            made = hasher.finish() if hasher else None
        final = path(image_id)
        try:
            part.rename(final)
        except FileNotFoundError as error:  # a delete has emptied the staging area meanwhile
            raise errors.Gone(f"Image {image_id} was deleted while its data arrived") from error
        return _remember(final, inspector.finish(), made)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _pieces(source: Source) -> Iterator[tuple[bytes, int]]:
    total, cap = 0, config.CONF.image_size_cap
    while piece := source.read(digests.PIECE):
        total += len(piece)
        if total > cap:
            raise errors.LimitExceeded(f"The image is larger than image_size_cap, {cap} bytes")
        yield piece, total


def _write(descriptor: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(descriptor, view) :]


def _hasher(*, digest: bool) -> contextlib.AbstractContextManager[digests.Hasher | None]:
    if not digest:
        return contextlib.nullcontext()
    return digests.Hasher(config.CONF.hashing_algorithm)


def inspect(
    file: pathlib.Path, *, digest: bool, on_bytes: Callable[[int], None] | None = None
) -> Facts:
    """Read a file that is in staging already and find out about it what `receive` finds out.

    Raises:
        Unavailable: it cannot be read.
    """
    inspector, total = formats.Inspector(), 0
    with _translated(), file.open("rb", buffering=0) as source, _hasher(digest=digest) as hasher:
        while piece := source.read(digests.PIECE):
            total += len(piece)
            inspector.feed(piece)
            if hasher:
                hasher.update(piece)
            if on_bytes:
                on_bytes(total)
        made = hasher.finish() if hasher else None
    return _remember(file, inspector.finish(), made)


def facts(file: pathlib.Path) -> Facts | None:
    """What was found out about this very file; None where it was changed since, or never inspected."""
    try:
        kept = json.loads(_facts_file(file).read_text())
        if kept["identity"] != list(_identity(file)) or kept["size"] != file.stat().st_size:
            return None
        digest = digests.Digest(**kept["digest"]) if kept["digest"] else None
        found = formats.Inspection(**kept["inspection"])
        return Facts(str(file), kept["size"], _identity(file), found, digest)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remove(image_id: str) -> None:
    """Remove all that staging holds of an image; nothing is an error."""
    for file in directory().glob(f"{image_id}*"):
        file.unlink(missing_ok=True)


def _remember(
    file: pathlib.Path, found: formats.Inspection, digest: digests.Digest | None
) -> Facts:
    known = Facts(str(file), file.stat().st_size, _identity(file), found, digest)
    content: dict[str, Any] = dataclasses.asdict(known)
    beside = _facts_file(file)
    temporary = beside.with_name(beside.name + ".part")
    with _translated():
        temporary.write_text(json.dumps(content))
        temporary.rename(beside)
    return known


def _facts_file(file: pathlib.Path) -> pathlib.Path:
    return file.with_name(file.name + ".facts")


def _identity(file: pathlib.Path) -> tuple[int, int, int]:
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Errors of the file system as errors that a stranger may read: no path in them."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise errors.StorageFull("The staging area is full") from error
        if error.filename is None:  # not ours: the source failed, and its reader says how
            raise
        raise errors.Unavailable(
            f"The staging area cannot be used: {os.strerror(error.errno or 0)}"
        ) from error
