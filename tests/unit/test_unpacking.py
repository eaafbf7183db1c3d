"""Packed files as a stream: whole or refused, bounded, and heard while they are read."""

import gzip
import io
import lzma
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable

import pytest

from flows import unpacking
from images import errors, pipeline
from tests.conftest import Configure
from tests.packing import PACK, STREAMS, zipped

pytestmark = pytest.mark.usefixtures("configure")

#: More than two pieces of a pipeline; a part of it can be made smaller.
DATA = os.urandom(1 << 18) + bytes(4 << 20) + b"the end"
MIB = 1 << 20
#: How a frame begins that a zstd's reader skips; its length follows.
SKIPPED = b"\x5a\x2a\x4d\x18"

Unpack = Callable[[bytes], bytes]


def ignore(_: int) -> None:
    """Nobody listens."""


@pytest.fixture
def unpack(tmp_path: pathlib.Path) -> Unpack:
    """What comes out of a file with these bytes."""

    def out_of(packed: bytes) -> bytes:
        file = tmp_path / "packed"
        file.write_bytes(packed)
        kind = unpacking.kind_of(file, "bare")
        assert kind is not None
        seen = io.BytesIO()
        with (
            pipeline.Pipeline([seen.write]) as line,
            unpacking.opened(file, kind, ignore, ignore) as source,
        ):
            while size := source.readinto(room := line.room()):
                line.send(room[:size])
            line.finish()
        return seen.getvalue()

    return out_of


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("data", [DATA, b"x", b""], ids=["long", "short", "empty"])
def test_what_was_packed_comes_out(unpack: Unpack, kind: str, data: bytes) -> None:
    assert unpack(PACK[kind](data)) == data


@pytest.mark.parametrize("kind", [*PACK, "stored", "zip64", "described", "described64"])
def test_what_packs_badly_comes_out_of_rooms_of_either_size(unpack: Unpack, kind: str) -> None:
    """More than fills them, and more than is read at a time."""
    data = os.urandom((9 if kind in STREAMS else 17) * MIB + 1)
    packed = PACK[kind](data) if kind in PACK else _zipped_otherwise(kind, data)
    assert unpack(packed) == data
    with pipeline.Pipeline([]) as first:
        assert len(first.room()) > pipeline.PIECE
        assert unpack(packed) == data


def _zipped_otherwise(kind: str, data: bytes) -> bytes:
    """A zip whose member is not packed, has sizes of 64 bits, or says its sizes behind itself."""
    file = _Pipe() if kind.startswith("described") else io.BytesIO()
    method = zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED
    with (
        zipfile.ZipFile(file, "w", method) as archive,
        archive.open("disk.raw", "w", force_zip64=kind.endswith("64")) as member,
    ):
        member.write(data)
    return file.getvalue()


class _Pipe(io.BytesIO):
    """What nobody can go back in, so that sizes come behind what they are of."""

    def tell(self) -> int:
        raise OSError


@pytest.mark.parametrize("kind", STREAMS)
def test_streams_one_behind_the_other_are_one(unpack: Unpack, kind: str) -> None:
    """As gzip and xz say, and as the parallel packers write them."""
    pieces = [b"", DATA[:MIB], b"", DATA[MIB:], b"x"]
    assert unpack(b"".join(map(PACK[kind], pieces))) == DATA + b"x"


@pytest.mark.parametrize("length", [0, 4, 3 * MIB])
def test_a_zstd_with_frames_that_are_skipped(unpack: Unpack, length: int) -> None:
    """pzstd says in them how long the next one is; they may stand anywhere, and say anything."""
    frames = [SKIPPED + length.to_bytes(4, "little") + os.urandom(length) for _ in range(3)]
    first, second = PACK["zstd"](DATA), PACK["zstd"](b"x")
    assert unpack(frames[0] + frames[1] + first + frames[2] + second + frames[0]) == DATA + b"x"


def test_what_begins_with_frames_that_are_skipped_and_is_no_zstd(tmp_path: pathlib.Path) -> None:
    """LZ4 has them too; and nobody reads through millions of them to see."""
    lz4, empty = b"\x04\x22\x4d\x18", SKIPPED + bytes(4)
    for data in (
        empty + lz4 + bytes(100),
        empty,
        SKIPPED,
        SKIPPED + b"\xff" * 4,
        empty + PACK["gzip"](b"x"),
        empty * 1_000_000 + PACK["zstd"](b"x"),
    ):
        (tmp_path / "file").write_bytes(data)
        assert unpacking.kind_of(tmp_path / "file", "bare") is None


@pytest.mark.parametrize("kind", ["gzip", "xz"])
def test_zeros_may_fill_the_last_block(unpack: Unpack, kind: str) -> None:
    assert unpack(PACK[kind](DATA) + bytes(200000)) == DATA
    assert unpack(PACK[kind](b"a") + bytes(512) + PACK[kind](b"b")) == b"ab"


@pytest.mark.parametrize("kind", PACK)
def test_a_file_that_is_cut(unpack: Unpack, kind: str) -> None:
    """Wherever that is, the last byte included."""
    packed = PACK[kind](DATA)
    for left in (12, 100, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        with pytest.raises(errors.UnacceptableFormat, match=f"{kind} data are .*cut short"):
            unpack(packed[:left])


@pytest.mark.parametrize("kind", PACK)
def test_a_file_that_is_damaged(unpack: Unpack, kind: str) -> None:
    """Each format has a checksum, but zstd must have been asked for one."""
    packed = bytearray(PACK[kind](DATA))
    packed[len(packed) // 2] ^= 0xFF
    if kind == "zstd":
        packed = bytearray(PACK[kind](b"x" * 100))
        packed[6] = 0xFF
    with pytest.raises(errors.UnacceptableFormat, match=f"{kind} data are damaged"):
        unpack(bytes(packed))


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("garbage", [b"something else, of some length", b"x", b"\0x"])
def test_something_else_behind_it(unpack: Unpack, kind: str, garbage: bytes) -> None:
    """What it might be nobody knows: a second part, a signature, or bytes to be smuggled past a digest."""
    with pytest.raises(errors.UnacceptableFormat):
        unpack(PACK[kind](DATA) + garbage)


def test_something_before_a_zip(tmp_path: pathlib.Path) -> None:
    """Its directory stands at the end, and could speak of any part of the file."""
    file = tmp_path / "packed"
    file.write_bytes(b"PK\3\4" + zipped(b"data"))
    with (
        pytest.raises(errors.UnacceptableFormat, match="before or behind"),
        unpacking.opened(file, "zip", ignore, ignore),
    ):
        pass


@pytest.mark.parametrize("kind", ["zip", "described", "described64"])
def test_something_between_a_member_and_its_directory(unpack: Unpack, kind: str) -> None:
    """The directory's own place says nothing against it."""
    good = zipped(DATA) if kind == "zip" else _zipped_otherwise(kind, DATA)
    assert unpack(good) == DATA
    at, end, more = good.index(b"PK\1\2"), good.index(b"PK\5\6"), b"something else"
    bad = bytearray(good[:at] + more + good[at:])
    bad[end + len(more) + 16 : end + len(more) + 20] = (at + len(more)).to_bytes(4, "little")
    with pytest.raises(errors.UnacceptableFormat, match="something else stands in them"):
        unpack(bytes(bad))


def test_zips_that_are_not_one_image(unpack: Unpack) -> None:
    """Several members, a directory, a password, a method that nobody else knows."""
    with pytest.raises(errors.UnacceptableFormat, match="2 members"):
        unpack(zipped(b"one", b"two"))
    folder = io.BytesIO()
    with zipfile.ZipFile(folder, "w") as archive:
        archive.writestr("images/", b"")
    with pytest.raises(errors.UnacceptableFormat, match="a directory and no file"):
        unpack(folder.getvalue())
    locked = bytearray(zipped(b"data"))
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    with pytest.raises(errors.UnacceptableFormat, match="encrypted"):
        unpack(bytes(locked))
    with pytest.raises(errors.UnacceptableFormat, match="method"):
        unpack(zipped(b"data", method=zipfile.ZIP_BZIP2))
    assert unpack(zipped(DATA, method=zipfile.ZIP_STORED, comment=b"made by me")) == DATA


def test_a_zip_with_an_endless_directory(unpack: Unpack) -> None:
    """It is not read into memory: 5 MiB of it are refused, and so is the claim of 4 GiB."""
    good = zipped(b"data")
    end = good.index(b"PK\5\6")
    for size in (b"\xff\xff\xff\xf0", (5 << 20).to_bytes(4, "little")):
        bad = good[:end] + bytes(6 << 20) + good[end : end + 12] + size + good[end + 16 :]
        with pytest.raises(errors.UnacceptableFormat, match="damaged"):
            unpack(bad)


def test_an_xz_that_wants_all_memory(unpack: Unpack) -> None:
    """Its header asks for a dictionary of 4 GiB."""
    packed = bytearray(lzma.compress(b"data"))
    packed[16] = 40
    packed[20:24] = zlib.crc32(packed[12:20]).to_bytes(4, "little")
    with pytest.raises(errors.UnacceptableFormat, match="too much memory"):
        unpack(bytes(packed))


@pytest.mark.parametrize("kind", PACK)
def test_more_than_the_ratio_is_not_handed_on(
    configure: Configure, unpack: Unpack, kind: str
) -> None:
    """What is small anyway passes, and so does what is as large as it looks."""
    configure("decompression_ratio = 2")
    limit = unpacking.HARMLESS
    assert len(unpack(PACK[kind](bytes(limit)))) == limit
    with pytest.raises(errors.LimitExceeded, match="decompression_ratio"):
        unpack(PACK[kind](bytes(limit + 1)))
    configure("decompression_ratio = 0")
    assert len(unpack(PACK[kind](bytes(limit + 1)))) == limit + 1


def test_reading_is_heard_while_nothing_comes_out(tmp_path: pathlib.Path) -> None:
    """A file of empty members may be read for hours; whoever has deleted the image must not wait for it."""
    file = tmp_path / "packed"
    file.write_bytes(gzip.compress(b"") * 100000)
    heard: list[int] = []

    def stop(done: int) -> None:
        heard.append(done)
        if done > MIB:
            raise errors.Stopped

    room = memoryview(bytearray(pipeline.PIECE))
    with (
        unpacking.opened(file, "gzip", stop, ignore) as source,
        pytest.raises(errors.Stopped),
    ):
        source.readinto(room)
    assert len(heard) > 10
    assert max(heard) < MIB + (1 << 17)


def test_what_is_told_before_it_is_handed_on(tmp_path: pathlib.Path) -> None:
    """The quota is asked first."""
    file = tmp_path / "packed"
    file.write_bytes(PACK["gzip"](DATA))
    told: list[int] = []

    def refuse(total: int) -> None:
        told.append(total)
        raise errors.LimitExceeded

    with (
        unpacking.opened(file, "gzip", ignore, refuse) as source,
        pytest.raises(errors.LimitExceeded),
    ):
        source.readinto(memoryview(bytearray(pipeline.PIECE)))
    assert len(told) == 1


@pytest.mark.parametrize(
    "head",
    [b"", b"x", b"BZh9 is how it begins", b"\x1f\x8b", b"PK\5\6", b"#!/bin/sh\n", b"QFI\xfb"],
)
def test_what_is_not_packed(tmp_path: pathlib.Path, head: bytes) -> None:
    (tmp_path / "file").write_bytes(head)
    assert unpacking.kind_of(tmp_path / "file", "bare") is None


@pytest.mark.parametrize("kind", PACK)
def test_what_shall_stay_packed(tmp_path: pathlib.Path, kind: str) -> None:
    """The container format `compressed` says so."""
    (tmp_path / "file").write_bytes(PACK[kind](b"x"))
    assert unpacking.kind_of(tmp_path / "file", "compressed") is None
    assert unpacking.kind_of(tmp_path / "file", "ova") == kind
