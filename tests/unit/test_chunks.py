"""The chunked decoder: what is whole is read, what is cut or malformed is refused."""

from collections.abc import Callable

import pytest

from api import chunks
from images import errors


def reader(raw: bytes, step: int = 1 << 20) -> chunks.ChunkReader:
    """A reader of a connection that gives at most `step` bytes at once."""
    left = [raw]

    def receive(size: int) -> bytes:
        piece, left[0] = left[0][: min(size, step)], left[0][min(size, step) :]
        return piece

    return chunks.ChunkReader(receive)


def whole(body: chunks.ChunkReader, size: int = 1 << 20) -> bytes:
    return b"".join(iter(lambda: body.read(size), b""))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1 << 20])
@pytest.mark.parametrize("size", [1, 4, 1 << 20])
@pytest.mark.parametrize(
    ("raw", "data"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"5\r\nhello\r\n6\r\n world\r\n000\r\n\r\n", b"hello world"),
        (b"A\r\n0123456789\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n0\r\n\r\n", b"0123456789" + b"\r\n" * 5),
        (b'5;name=value;q="x y"\r\nhello\r\n0;last\r\n\r\n', b"hello"),
        (b"5 ;x\r\nhello\r\n0\r\nTrailer: one\r\nOther:\r\n\r\n", b"hello"),
        (b"00000005\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n", b"hello"),
    ],
)
def test_whole_bodies(raw: bytes, data: bytes, size: int, step: int) -> None:
    body = reader(raw, step)
    assert whole(body, size) == data
    assert body.finished
    assert body.read(1) == b""


WHOLE = b"5\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_every_cut_is_seen(length: int) -> None:
    body = reader(WHOLE[:length])
    with pytest.raises(errors.Invalid, match="cut"):
        whole(body)
    assert not body.finished


@pytest.mark.parametrize("step", [1, 1 << 20])
@pytest.mark.parametrize(
    "raw",
    [
        b"zz\r\nhello\r\n0\r\n\r\n",
        b"\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5;a\x00b\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\n0\n\n\r\n\r\n",
        b"5\r\nhelloworld\r\n0\r\n\r\n",
        b"7\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n\r\n",
        b"5\r\nhello\r\nxyz\r\n0\r\n\r\n",
        b"5\r\nhello\r\n0\r\nnot a header\r\n\r\n",
        b"1" * 17 + b"\r\n",
        b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
        b"0\r\n" + b"A: " + b"x" * 20000 + b"\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 10000 + b"\r\n",
    ],
)
def test_malformed_bodies(raw: bytes, step: int) -> None:
    body = reader(raw, step)
    with pytest.raises(errors.Invalid, match="Malformed"):
        whole(body)
    assert not body.finished


def test_an_endless_size_line_is_not_collected() -> None:
    asked: list[int] = []

    def receive(size: int) -> bytes:
        asked.append(size)
        return b"1" * size

    with pytest.raises(errors.Invalid):
        chunks.ChunkReader(receive).read(1)
    assert sum(asked) < 1 << 20


def test_a_chunk_longer_than_memory_is_streamed() -> None:
    size, piece = 8 << 40, b"x" * 65536
    body = chunks.ChunkReader(_after(b"%x\r\n" % size, piece))
    assert body.read(1 << 20) == piece * 16
    assert len(body._held) == len(piece)


def _after(head: bytes, piece: bytes) -> Callable[[int], bytes]:
    heads = [head]
    return lambda _size: heads.pop() if heads else piece


def test_what_the_connection_raises_passes_through() -> None:
    def receive(_size: int) -> bytes:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        chunks.ChunkReader(receive).read(1)
