"""Packed files that are after a worker's memory, time or disk; bytes of which little is written by hand."""

import gzip
import lzma
import random
import struct
import zlib

from tests.packing import PACK, STREAMS, zipped

__all__ = ["PACK", "STREAMS"]

MIB = 1 << 20
#: More than any file may become that is as small as these.
_TOO_MUCH = 64 * MIB
#: What does not shrink: as much of it as makes a bomb's ratio one that is allowed.
NOISE = random.Random(8).randbytes(MIB)  # noqa: S311 - nobody's secret
_ZSTD_BLOCK = 128 << 10


def bomb(kind: str) -> bytes:
    """64 MiB of zeros."""
    return PACK[kind](bytes(_TOO_MUCH))


def late_bomb(kind: str) -> bytes:
    """Thousands of streams without data, and a bomb behind them."""
    return PACK[kind](b"x") + PACK[kind](b"") * 5000 + bomb(kind)


def cut(kind: str) -> bytes:
    """A file that ends within its last part."""
    return PACK[kind](NOISE)[:-900]


def nested() -> bytes:
    """A gzip in a gzip in a gzip, of which one layer is taken off."""
    return gzip.compress(gzip.compress(bomb("gzip")))


def named_at_length() -> bytes:
    """A gzip whose name is 8 MiB long."""
    plain = gzip.compress(b"x")
    return plain[:3] + b"\x08" + plain[4:10] + b"n" * (8 * MIB) + b"\0" + plain[10:]


def xz(dictionary: int, mib: int) -> bytes:
    """So many MiB, with a dictionary that the header says: 0 to 40 stand for 4 KiB to 4 GiB."""
    packed = bytearray(lzma.compress(NOISE + bytes((mib - 1) * MIB), preset=0))
    packed[16] = dictionary
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    return bytes(packed)


def zstd(window: int, mib: int) -> bytes:
    """So many MiB, with a window of 2 to the power of `window` bytes."""
    blocks = [
        _zstd_block(0, _ZSTD_BLOCK) + NOISE[at : at + _ZSTD_BLOCK]
        for at in range(0, MIB, _ZSTD_BLOCK)
    ]
    run = _zstd_block(1, _ZSTD_BLOCK) + b"\0"
    blocks += [run] * ((mib - 1) * MIB // _ZSTD_BLOCK)
    return b"\x28\xb5\x2f\xfd\x00" + bytes([(window - 10) << 3]) + b"".join(blocks) + b"\1\0\0"


def _zstd_block(kind: int, size: int) -> bytes:
    return (size << 3 | kind << 1).to_bytes(3, "little")


def zstd_in_one() -> bytes:
    """A frame that claims to be one segment of 1 TiB, all of which is to be held at once."""
    size = struct.pack("<Q", 1 << 40)
    return b"\x28\xb5\x2f\xfd\xe0" + size + _zstd_block(1, 1000) + b"\0\1\0\0"


def zip_of_many() -> bytes:
    """A zip whose directory is nearly 4 MiB long, of members without data."""
    names = range(80_000)
    entry = struct.Struct("<4s6H3I5H2I")
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    directory = b"".join(
        entry.pack(b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0)
        + name.to_bytes(4, "big")
        for name in names
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0, 0, len(directory), len(local), 0)
    return local + directory + end


def zip64(entries: int, directory: int) -> bytes:
    """A zip whose 64-bit records claim so many members, in a directory of so many bytes."""
    good = zipped(b"data")
    at = good.index(b"PK\5\6")
    begins = good.index(b"PK\1\2")
    record = struct.pack(
        "<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, directory, begins
    )
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, at, 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return good[:at] + record + locator + end


def zip_claiming(size: int) -> bytes:
    """A zip whose one member claims, in 64 bits, to become so many bytes."""
    good = bytearray(zipped(b"data"))
    entry = good.index(b"PK\1\2")
    struct.pack_into("<I", good, entry + 24, 0xFFFFFFFF)
    (length,) = struct.unpack_from("<H", good, entry + 28)
    extra = struct.pack("<HHQ", 1, 8, size)
    struct.pack_into("<H", good, entry + 30, len(extra))
    good[entry + 46 + length : entry + 46 + length] = extra
    end = good.index(b"PK\5\6")
    struct.pack_into("<I", good, end + 12, end - entry)
    return bytes(good)


def zip_overlapping() -> bytes:
    """A zip whose many members are the same bytes, each of them a bomb."""
    good = zipped(bytes(_TOO_MUCH))
    entry, end = good.index(b"PK\1\2"), good.index(b"PK\5\6")
    directory = good[entry:end] * 20_000
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 20_000, 20_000, len(directory), entry, 0)
    return good[:entry] + directory + tail
