"""Packed files, taken apart while they are read: gzip, bzip2, xz, zstd, and a zip with one member.

The bytes are a stranger's. What they are is told by how they begin, not by a name. What comes out is bounded
before it is handed on, and so is the memory that it takes. A file is unpacked whole or refused: one that is
cut, damaged, encrypted, or followed by something else says so. No name inside a file is looked at, but for
whether it is a directory's.
"""

import bz2
import contextlib
import io
import lzma
import pathlib
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from images import config, errors, staging

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: How a file of each kind begins. bzip2's first four bytes may be any text's: those of its first block count
#: too, or of its end where it has none.
_BEGINNINGS = {
    "gzip": rb"\x1f\x8b\x08",
    "zip": rb"PK\x03\x04",
    "xz": rb"\xfd7zXZ\x00",
    "bzip2": rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)",
    "zstd": rb"\x28\xb5\x2f\xfd",
}
_LONGEST = 10
#: How a frame begins that is skipped: its length follows. `pzstd` writes one before each other one; LZ4 has
#: them as well. A stranger's file may have millions of them: behind so many nobody looks.
_SKIPPED, _MOST_SKIPPED = rb"[\x50-\x5f]\x2a\x4d\x18", 64
#: Bytes that are read of a packed stream at a time; between two of them the reader hears.
_CHUNK = 64 << 10
#: Bytes that a zip's reader gets at a time: of its directory no more than that, which is far too many, and of
#: its member as many as have room, again and again.
_MOST = 4 << 20
#: `xz -9` needs 65 MiB; a header may ask for 4 GiB. zstd's own limit is 128 MiB, of which `zstd` makes use.
_XZ_MEMORY = 100 << 20
#: So much may come out of any file, however small; what is sparse and tiny is no bomb.
HARMLESS = 16 << 20
#: Kinds behind which zeros may stand: what writes to tapes fills the last block.
_PADDED = ("gzip", "xz")
_ENCRYPTED = 0x1
_ZIP_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: The record that ends a zip, and its length without the comment that may follow.
_ZIP_END, _ZIP_END_LENGTH = b"PK\x05\x06", 22
#: The length of a member's header, but for its name and more, whose lengths are the last four bytes.
_ZIP_HEADER = 30
#: A member whose sizes were not known before has so many bytes behind it that say them.
_SIZES_FOLLOW, _SIZES = 0x8, (0, 12, 16, 20, 24)


class _Engine(Protocol):
    """A decompressor of one stream, as bz2, lzma and zstd have it."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more comes out without more input."""

    @property
    def unused_data(self) -> bytes:
        """What stood behind the end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Take in `data`, give at most so many bytes."""


class _Gunzip:
    """zlib's decompressor, as one that looks like the others'."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._zlib.eof

    @property
    def unused_data(self) -> bytes:
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)
        self.needs_input = len(piece) < max_length and not self._zlib.unconsumed_tail
        return piece


def _unxz() -> _Engine:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


_ENGINES: dict[str, Callable[[], _Engine]] = {
    "gzip": _Gunzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": _unxz,
    "zstd": zstd.ZstdDecompressor,
}


def kind_of(file: pathlib.Path, container_format: str | None) -> str | None:
    """How a staged file is packed; None where it is not, or shall stay so: that is what `compressed` says.

    Raises:
        OSError: it cannot be read.
    """
    if container_format == "compressed":
        return None
    with file.open("rb") as source:
        head = source.read(_LONGEST)
        if re.match(_SKIPPED, head):
            return "zstd" if re.match(_BEGINNINGS["zstd"], _behind_skipped(source, head)) else None
    return next((kind for kind, begins in _BEGINNINGS.items() if re.match(begins, head)), None)


def _behind_skipped(source: BinaryIO, head: bytes) -> bytes:
    """How a file goes on behind the frames that are skipped at its beginning."""
    begin = 0
    for _ in range(_MOST_SKIPPED):
        if not re.match(_SKIPPED, head):
            break
        begin += 8 + int.from_bytes(head[4:8], "little")
        source.seek(begin)
        head = source.read(_LONGEST)
    return head


@contextlib.contextmanager
def opened(
    file: pathlib.Path,
    kind: str,
    on_read: Callable[[int], object],
    on_unpacked: Callable[[int], object],
) -> Iterator[staging.Source]:
    """What is in a packed file of a `kind`, as a stream.

    `on_read` is told how far the packed file has been read, each time before more of it is read;
    `on_unpacked` how many bytes have come out, before they are handed on. What they raise passes at once.

    Raises:
        UnacceptableFormat: it is no such file, or not as it should be; reading may raise it, too.
        LimitExceeded: while reading: more comes out than `[gantry] decompression_ratio` allows.
    """
    with _Packed(file, on_read) as packed:
        inner = _member(packed) if kind == "zip" else _Streams(packed, kind)
        yield _Bounded(inner, kind, _most(file), on_unpacked)


def _most(file: pathlib.Path) -> int | None:
    """How many bytes may come out of a file; None where the operator has set no ratio."""
    ratio = config.CONF.gantry.decompression_ratio
    return max(HARMLESS, ratio * file.stat().st_size) if ratio else None


class _Packed(io.FileIO):
    """The packed file: whoever reads it is heard, and gets no more than he should hold in memory."""

    def __init__(self, file: pathlib.Path, on_read: Callable[[int], object]) -> None:
        super().__init__(file, "rb")
        self._on_read = on_read

    def read(self, size: int | None = -1, /) -> bytes:
        """As `FileIO.read`, but never very much at a time; a directory that is cut so is no directory."""
        self._on_read(self.tell())
        return super().read(_MOST if size is None or size < 0 else min(size, _MOST)) or b""


class _Streams:
    """One compressed stream, or several one behind the other, which are one then (gzip's rule, and xz's)."""

    def __init__(self, packed: _Packed, kind: str) -> None:
        self._packed, self._kind = packed, kind
        self._engine = _ENGINES[kind]()
        self._input = b""
        self._is_first = True

    def readinto(self, room: memoryview, /) -> int:
        """The next bytes that come out, a whole room of them: what is written in whole blocks is quicker."""
        done = 0
        while done < len(room) and self._has_more():
            piece = self._engine.decompress(self._input, len(room) - done)
            self._input = b""
            room[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def _has_more(self) -> bool:
        """Put at hand what the decompressor needs next, a new one where another stream begins."""
        if self._engine.eof:
            self._input = self._behind()
            if not self._input:
                return False
            self._engine, self._is_first = _ENGINES[self._kind](), False
        elif self._engine.needs_input:
            self._input = self._packed.read(_CHUNK)
            if not self._input:
                raise (
                    EOFError if self._is_first else ValueError("what follows is cut, or no stream")
                )
        return True

    def _behind(self) -> bytes:
        """What follows a stream, without the zeros that may fill a block."""
        rest = self._engine.unused_data or self._packed.read(_CHUNK)
        if self._kind in _PADDED:
            while rest and not (rest := rest.lstrip(b"\0")):
                rest = self._packed.read(_CHUNK)
        return rest


def _member(packed: _Packed) -> staging.Source:
    """The one member of a zip."""
    try:
        archive = zipfile.ZipFile(packed)
        members = archive.infolist()
        _check_zip(archive, packed)
        return archive.open(members[0])  # type: ignore[return-value]  # io's older readinto
    except (errors.GantryError, MemoryError):
        raise
    except Exception as error:  # a stranger's directory breaks zipfile in many ways
        raise errors.UnacceptableFormat("The zip data are damaged, or cut short") from error


def _check_zip(archive: zipfile.ZipFile, packed: _Packed) -> None:
    members = archive.infolist()
    if len(members) != 1:
        raise errors.UnacceptableFormat(f"The zip has {len(members)} members; pack the image alone")
    member = members[0]
    if member.filename.endswith("/"):
        raise errors.UnacceptableFormat("The zip has a directory and no file; pack the image alone")
    if member.flag_bits & _ENCRYPTED:
        raise errors.UnacceptableFormat("The zip is encrypted; pack the image without a password")
    if member.compress_type not in _ZIP_METHODS:
        raise errors.UnacceptableFormat("The zip's method is not known here; use deflate")
    packed.seek(-_ZIP_END_LENGTH - len(archive.comment), io.SEEK_END)
    if member.header_offset or packed.read(len(_ZIP_END)) != _ZIP_END:
        raise errors.UnacceptableFormat("Something else stands before or behind the zip")
    packed.seek(0)
    lengths = struct.unpack("<HH", packed.read(_ZIP_HEADER)[-4:])
    between = archive.start_dir - _ZIP_HEADER - sum(lengths) - member.compress_size
    if between not in (_SIZES if member.flag_bits & _SIZES_FOLLOW else (0,)):
        raise errors.UnacceptableFormat(
            "The zip data are damaged, or something else stands in them"
        )


class _Bounded:
    """What comes out, counted before it is handed on; the libraries' complaints in our words."""

    def __init__(
        self,
        source: staging.Source,
        kind: str,
        most: int | None,
        on_unpacked: Callable[[int], object],
    ) -> None:
        self._source, self._kind, self._most = source, kind, most
        self._on_unpacked = on_unpacked
        self._total = 0

    def readinto(self, room: memoryview, /) -> int:
        """The next bytes."""
        try:
            size = self._source.readinto(room) or 0
        except EOFError as error:
            raise errors.UnacceptableFormat(f"The {self._kind} data are cut short") from error
        except (zlib.error, lzma.LZMAError, zstd.ZstdError, zipfile.BadZipFile) as error:
            raise self._refusal(error) from error
        except (OSError, ValueError) as error:  # bz2 says OSError, but without a number
            if getattr(error, "errno", None):
                raise
            raise self._refusal(error) from error
        self._total += size
        if self._most is not None and self._total > self._most:
            raise errors.LimitExceeded(
                f"More than {self._most} bytes come out of the {self._kind} data; [gantry] "
                "decompression_ratio allows no more for a file of this size"
            )
        if size:
            self._on_unpacked(self._total)
        return size

    def _refusal(self, complaint: Exception) -> errors.UnacceptableFormat:
        if "memory" in str(complaint).lower():
            return errors.UnacceptableFormat(
                f"The {self._kind} data take too much memory to unpack; use a smaller dictionary or window"
            )
        return errors.UnacceptableFormat(
            f"The {self._kind} data are damaged, or something else stands behind them"
        )
