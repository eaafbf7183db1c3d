"""Reading ahead: a thread of its own waits for bytes, so that whoever takes them is never deaf.

A read of a socket, or of a file system of the network, may last for minutes, and so may looking a name up.
While that goes on an import must hear that it is cancelled, or that its worker is to end. A small queue
stands between the two; it also lets the network and the disk work at the same time.
"""

import contextlib
import queue
import threading
import types
from collections.abc import Callable, Iterator
from typing import Protocol, Self

#: Seconds after which whoever waits is asked whether to go on.
TICK = 0.25
#: Pieces that wait to be taken: with the one that is being taken and the one that is coming, four in memory.
_DEPTH = 2


class Blocking(Protocol):
    """Bytes that are waited for."""

    def pieces(self) -> Iterator[bytes]:
        """The bytes, in pieces of at most `pipeline.PIECE`, none of them empty; the thread runs this."""

    def stop(self) -> None:
        """Make `pieces` end soon, whatever it is waiting for; nobody wants its bytes any more."""


class Pieces:
    """Anything that is made by a call and gives pieces, as something to be read ahead.

    It can be stopped between two pieces only: in time it must end by itself.
    """

    def __init__(self, begin: Callable[[], Iterator[bytes]]) -> None:
        self._begin = begin

    def pieces(self) -> Iterator[bytes]:
        """What the call gives."""
        yield from filter(None, self._begin())

    def stop(self) -> None:
        """Nothing to wake."""


class ReadAhead:
    """What a source gives, as a `staging.Source`; use it in a `with` block, which lets go of the thread.

    The thread does nothing but read: whatever comes after the block has been left is thrown away.
    """

    def __init__(self, source: Blocking, on_wait: Callable[[], object]) -> None:
        """`on_wait` is called every `TICK` seconds while nothing comes; what it raises passes at once."""
        self._source, self._on_wait = source, on_wait
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(_DEPTH)
        self._left = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="readahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: types.TracebackType | None,
    ) -> None:
        self._left.set()
        self._source.stop()

    def read(self, _: int = -1, /) -> bytes:
        """The next piece as it came, whatever size is asked for; none at the end.

        What the source raises is raised here, once.
        """
        while not self._ended:
            try:
                found = self._queue.get(timeout=TICK)
            except queue.Empty:
                self._on_wait()
                continue
            if isinstance(found, BaseException):
                self._ended = True
                raise found
            self._ended = not found
            return found
        return b""

    def readinto(self, room: memoryview, /) -> int:
        """`read` for who has a place for the piece."""
        piece = self.read()
        room[: len(piece)] = piece
        return len(piece)

    def _run(self) -> None:
        end: bytes | BaseException = b""
        try:
            for piece in self._source.pieces():
                if not self._put(piece):
                    return
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever reads
            end = error
        self._put(end)

    def _put(self, found: bytes | BaseException) -> bool:
        """Hand over; False where nobody is there any more to take it."""
        while not self._left.is_set():
            with contextlib.suppress(queue.Full):
                self._queue.put(found, timeout=TICK)
                return True
        return False
