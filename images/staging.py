"""Where bytes wait for their import: one directory that the API and the workers both see.

A staged image is a file named by the image's id, or `<id>.<attempt>` where a worker has brought it in;
beside it stand `<name>.facts` (what was found out while it was written), `<name>.part` (a file that is still
being written), `<name>.kept` (`images.partials`) and `<id>.<attempt>.<format>` (what a plugin has made of
it). Whoever writes, writes beside, syncs and renames, so that a name means a whole file, after a power cut
too; and nobody writes to a file that another one has opened, so a process that was paused, or is late, spoils
nothing.
"""

import dataclasses
import errno
import json
import logging
import operator
import os
import pathlib
import secrets
import urllib.parse
from collections.abc import Callable, Collection
from typing import BinaryIO, Protocol

from images import config, digests, errors, formats, new_file, pipeline

LOG = logging.getLogger(__name__)

#: What tells one file from another, and from itself after a change.
_identity = operator.attrgetter("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
#: So much of it stays the same when a file gets another link.
_LINKED = 3
_GONE = "Image {} was deleted while its data arrived, or these came too late"


class Source(Protocol):
    """Bytes that arrive."""

    def readinto(self, room: memoryview, /) -> int | None:
        """Put bytes into a room of a `pipeline`, and say how many; none at the end."""


class Sink(Protocol):
    """Where bytes go."""

    def write(self, piece: pipeline.Piece, /) -> object:
        """Take all of it; called in a thread."""


class Keep(Protocol):
    """Whoever names a part, and decides whether it is left for another process to go on with."""

    part: pathlib.Path
    final: pathlib.Path

    def sink(self, file: BinaryIO) -> Sink:
        """What to write to instead of the new part, which is this file."""

    def done(self, tick: Callable[[], object]) -> None:
        """All has been written; `tick` is called from time to time, and may raise."""

    def leave(self) -> bool:
        """Whether the part stays, now that this process abandons it."""

    def forget(self) -> None:
        """The part is removed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a staged file, and of which file exactly it is known."""

    path: str
    size: int
    #: What `_identity` says: a digest counts only for the very file it was made of.
    identity: tuple[int, ...]
    inspection: formats.Inspection
    #: The record's three columns; None where the file will be converted, and its digest worthless.
    digest: dict[str, str] | None
    #: Every digest that was made, in hex, by hashlib's names: those of the record, and what was asked for.
    made: dict[str, str] = dataclasses.field(default_factory=dict)


def path(image_id: str = "", suffix: str = "") -> pathlib.Path:
    """Where an image's staged bytes (or what `suffix` names beside them) are or will be.

    Without an image it is the directory, which is made if it is not there.

    Raises:
        Unavailable: the directory cannot be made.
    """
    if config.CONF.enabled_backends:
        named = config.CONF[config.STAGING_STORE].filesystem_store_datadir
        # glance_store's driver takes the option's default away when it is made.
        directory = pathlib.Path(named or f"/var/lib/glance/{config.STAGING_STORE}")
    else:
        directory = pathlib.Path(urllib.parse.urlsplit(config.CONF.node_staging_uri).path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _translated(error) from error
    return directory / f"{image_id}{suffix}"


def check() -> None:
    """Make sure that the directory can be written to, by writing to it.

    Raises:
        Unavailable: it cannot.
    """
    probe = path(f"{secrets.token_hex(8)}.probe")
    try:
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise _translated(error) from error


def is_stored_as_it_is(disk_format: str | None) -> bool:
    """Whether an import stores a file of this format unconverted: then a digest of it is worth while."""
    if "image_conversion" not in config.CONF.image_import_opts.image_import_plugins:
        return True
    return disk_format in (config.CONF.image_conversion.output_format, "iso")


def receive(
    image_id: str,
    source: Source,
    *,
    digest: bool,
    algorithms: Collection[str] = (),
    size: int | None = None,
    on_bytes: Callable[[int], object] | None = None,
    keep: Keep | None = None,
) -> Facts:
    """Write a stream into staging in one pass: store, inspect and (if `digest`) digest each piece.

    `algorithms` (hashlib's names) are those of further digests that are wanted (`Facts.made`). `size` is what
    the stream must come to, where that is known. `on_bytes` is told how many bytes have arrived; what it
    raises ends the reception. Nothing is left behind where this raises, but for what `keep` wants to keep of
    a reception that is `Abandoned`.

    Raises:
        SizeMismatch: more or fewer bytes than `size` arrived.
        LimitExceeded: the stream is longer than `image_size_cap`, or is known to become so.
        Gone: the image was deleted while its bytes arrived, or others have taken their place.
        StorageFull, Unavailable: the staging directory cannot take it.
    """
    part = keep.part if keep else path(image_id, f".{secrets.token_hex(8)}.part")
    final = keep.final if keep else path(image_id)
    record = config.CONF.hashing_algorithm if digest else ""  # whatever SIGHUP changes meanwhile
    conf = config.CONF
    kinds = [*config.public_stores(conf).values()] or [conf.glance_store.default_store]
    if size is not None:
        admit(size)
    try:
        part.unlink(missing_ok=True)
        with new_file.NewFile(part, cached=not digest or kinds != ["file"]) as file:
            sink = keep.sink(file) if keep else file
            seen = _read(source, algorithms, record, sink=sink, on_bytes=on_bytes)
            os.fsync(file.fileno())
            inode = os.fstat(file.fileno()).st_ino
        if size not in (None, total := part.stat().st_size):
            raise errors.SizeMismatch(f"The request promised {size} bytes, but {total} arrived")
        if keep:
            keep.done(lambda: on_bytes and on_bytes(total))
        part.rename(final)
        sync(final.parent)  # before a client is told that they are here
        return _remember(final, inode, *seen, record)
    except BaseException as error:
        _drop(part, keep, error)
        if isinstance(error, OSError):
            raise _lost(image_id, error) from error
        raise


def _lost(image_id: str, error: OSError) -> Exception:
    """Why a stream has not become a staged file; a delete may have emptied the staging area meanwhile."""
    if isinstance(error, FileNotFoundError):
        return errors.Gone(_GONE.format(image_id))
    return _translated(error)


def _drop(part: pathlib.Path, keep: Keep | None, error: BaseException) -> None:
    """Remove a part that does not become whole, unless it is left for another process."""
    if isinstance(error, errors.Abandoned) and keep and keep.leave():
        return
    part.unlink(missing_ok=True)
    if keep:
        keep.forget()


def digested(
    file: pathlib.Path,
    algorithms: Collection[str] = (),
    *,
    digest: bool,
    on_bytes: Callable[[int], object] | None = None,
) -> Facts:
    """What is known of a file in staging, these digests with it; it is read only where something is missing.

    Raises:
        Gone, Unavailable: as `inspect`.
    """
    known = facts(file)
    if known and digest and known.digest:
        # Recorded is the algorithm in force when the data are stored (contract section 4.8).
        digest = known.digest["os_hash_algo"] != config.CONF.hashing_algorithm
    if known and not digest and known.made.keys() >= set(algorithms):
        return known
    digest = digest or bool(known and known.digest)  # what is known already stays known
    return inspect(file, digest=digest, algorithms=algorithms, on_bytes=on_bytes)


def inspect(
    file: pathlib.Path,
    *,
    digest: bool,
    algorithms: Collection[str] = (),
    on_bytes: Callable[[int], object] | None = None,
) -> Facts:
    """Read a file that is in staging already and find out about it what `receive` finds out.

    Raises:
        Gone: it was replaced meanwhile.
        Unavailable: it cannot be read.
    """
    try:
        with new_file.open_past_cache(file) if digest else file.open("rb", buffering=0) as source:
            record = config.CONF.hashing_algorithm if digest else ""
            seen = _read(source, algorithms, record, on_bytes=on_bytes)
            return _remember(file, os.fstat(source.fileno()).st_ino, *seen, record)
    except OSError as error:
        raise _translated(error) from error


def _read(
    source: Source,
    algorithms: Collection[str],
    record: str,
    *,
    sink: Sink | None = None,
    on_bytes: Callable[[int], object] | None = None,
) -> tuple[formats.Inspection, dict[str, str]]:
    """The one pass over a stream."""
    inspector, total, cap = formats.Inspector(), 0, config.CONF.image_size_cap
    made = digests.Digests(*(digests.of_record(record) if record else ()), *algorithms)
    takers = [*made.takers, *([sink.write] if sink else ())]
    with pipeline.Pipeline(takers) as line:
        while size := source.readinto(room := line.room()):
            total += size
            if total > cap:
                raise _over_cap()
            piece = room[:size]
            inspector.feed(piece)
            line.send(piece)
            if on_bytes:
                on_bytes(total)
        line.finish()
    return inspector.finish(), made.values()


def facts(file: pathlib.Path, *, linked: bool = False) -> Facts | None:
    """What was found out about this very file; None where it was changed since, or never inspected.

    That a store has linked it changes it, too, unless that may be (`linked`): then only its bytes count.
    """
    try:
        kept = json.loads(file.with_name(f"{file.name}.facts").read_text())
        kept["inspection"] = formats.Inspection(**kept["inspection"])
        known = Facts(**kept | {"identity": tuple(kept["identity"])})
        count = _LINKED if linked else None
        return known if known.identity[:count] == _identity(file.stat())[:count] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def create(file: pathlib.Path) -> None:
    """Make a new, empty file in staging.

    Raises:
        StorageFull, Unavailable: there is no room for it, or the staging area cannot be used.
    """
    try:
        file.touch(exist_ok=False)
    except OSError as error:
        raise _translated(error) from error


def admit(size: int) -> None:
    """Refuse a stream that is known to be too long, before a byte of it is written.

    Raises:
        LimitExceeded: `size` is more than `image_size_cap`.
        StorageFull, Unavailable: as `check_room`.
    """
    if size > config.CONF.image_size_cap:
        raise _over_cap()
    check_room(size)


def check_room(size: int) -> None:
    """Refuse what staging has no room for, before a byte of it is written.

    Raises:
        StorageFull: `size` bytes are more than are free.
        Unavailable: the staging area cannot be used.
    """
    free = free_bytes()
    if size > free:
        raise errors.StorageFull(
            f"The staging area is full: {size} bytes are needed, {free} are free"
        )


def free_bytes() -> int:
    """How many bytes the staging area could take now.

    Raises:
        Unavailable: it cannot be used.
    """
    try:
        there = os.statvfs(path())
    except OSError as error:
        raise _translated(error) from error
    return there.f_bavail * there.f_frsize


def _over_cap() -> errors.LimitExceeded:
    cap = config.CONF.image_size_cap
    return errors.LimitExceeded(f"The image is larger than image_size_cap, {cap} bytes")


def sync(what: pathlib.Path) -> None:
    """Wait until a file's bytes, or a directory's names, are on the disk for good."""
    descriptor = os.open(what, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(image_id: str) -> None:
    """Remove all that staging holds of an image; nothing is an error.

    Neither is a staging area that cannot be used: the record must be put right all the same, and what is
    left over there is upkeep's.
    """
    try:
        for file in path().glob(f"{image_id}*"):
            file.unlink(missing_ok=True)
    except (OSError, errors.Unavailable) as error:
        LOG.warning("Staging of image %s may be left over: %s", image_id, error)


@dataclasses.dataclass
class KeepsNothing:
    """A `Keep` that only names the files."""

    part: pathlib.Path
    final: pathlib.Path

    def sink(self, file: BinaryIO) -> Sink:
        """The file itself."""
        return file

    def done(self, tick: Callable[[], object]) -> None:
        """There is nothing to wait for."""

    def leave(self) -> bool:
        """Nobody could go on in the middle."""
        return False

    def forget(self) -> None:
        """There is nothing beside the part."""


@dataclasses.dataclass
class Upload(KeepsNothing):
    """The files of one upload.

    By them it knows, when it has failed, whether it was given back for dead, and others are at work by now.
    """

    _inode: int = 0

    @classmethod
    def of(cls, image_id: str) -> "Upload":
        """Those of the upload that begins now."""
        return cls(path(image_id, f".{secrets.token_hex(8)}.part"), path(image_id))

    def done(self, tick: Callable[[], object]) -> None:
        """Remember which file has arrived whole."""
        self._inode = self.part.stat().st_ino

    def is_superseded(self) -> bool:
        """Whether staging holds bytes of another upload, all of them or those that have come so far."""
        try:
            for file in self.final.parent.glob(f"{self.final.name}*"):
                is_other_part = file.suffix == ".part" and file != self.part
                if is_other_part or (file == self.final and file.stat().st_ino != self._inode):
                    return True
        except OSError as error:
            LOG.warning("Staging of image %s cannot be looked at: %s", self.final.name, error)
        return False


def _remember(
    file: pathlib.Path,
    inode: int,
    found: formats.Inspection,
    made: dict[str, str],
    record: str,
) -> Facts:
    """Write down what is known of the file that was read, which must still have its name."""
    status = file.stat()
    if status.st_ino != inode:
        raise errors.Gone("Other data of the image have taken the place of these")
    columns = digests.columns(made, record) if record else None
    known = Facts(str(file), status.st_size, _identity(status), found, columns, made)
    beside = file.with_name(f"{file.name}.facts")
    temporary = beside.with_name(f"{beside.name}.{secrets.token_hex(8)}")
    temporary.write_text(json.dumps(dataclasses.asdict(known)))
    temporary.rename(beside)
    return known


def _translated(error: OSError) -> Exception:
    """An error of the file system as one that a stranger may read: no path in it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return errors.StorageFull("The staging area is full")
    why = os.strerror(error.errno) if error.errno else type(error).__name__
    return errors.Unavailable(f"The staging area cannot be used: {why}")
