"""A stream given piece by piece to several takers at once, each in a thread of its own.

Digests and writes let go of the interpreter's lock, so that a stream costs the time of its slowest taker, not
of all of them one after another.
"""

import collections
import concurrent.futures
import contextlib
import mmap
import os
import threading
import types
from collections.abc import Callable, Sequence
from typing import Self

#: Bytes that a room for one piece has at least; a stream holds `_DEPTH` of them. With 2 MiB it costs a sixth
#: more processor time, for handing over (docs/performance.md).
PIECE = 4 << 20
#: Bytes of the rooms of one stream at a time in a process: a tenth less time. If all had them, eight uploads
#: would take 64 MiB more of an API process's memory.
_LARGE = 8 << 20
#: What each piece but the last should be a multiple of: a file takes nothing else past the page cache.
BLOCK = 4096
#: Pieces at a time: one that is being filled, and one that is being taken.
_DEPTH = 2
#: How much lower than its process a taker's thread stands: whoever waits for an answer of the API, or is
#: drawn by the same two processors, comes before a digest.
_NICE = 5
#: Held by the stream whose rooms are large.
_large = threading.Lock()

Piece = bytes | memoryview


class Pipeline:
    """Takers of a stream; use it in a `with` block, which ends their threads whatever happens."""

    def __init__(self, takers: Sequence[Callable[[Piece], object]]) -> None:
        self._takers = [(_thread(), taker) for taker in takers]
        self._rooms: list[memoryview] = []
        self._sent: collections.deque[list[concurrent.futures.Future[object]]] = collections.deque()
        self._count = 0
        self._is_large = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: types.TracebackType | None,
    ) -> None:
        """Wait until what was sent is taken, also after an error: a part that is left has it all."""
        for thread, _taker in self._takers:
            thread.shutdown(wait=True)
        if self._is_large:
            _large.release()

    def room(self) -> memoryview:
        """Where the next piece may be put, `PIECE` bytes or more at the beginning of a page.

        It waits until all have taken what stood there before, and raises what a taker has raised.
        """
        self._settle(_DEPTH - 1)
        if not self._rooms:  # only now: who sends pieces of its own leaves the large ones to others
            self._is_large = _large.acquire(blocking=False)
        if len(self._rooms) < _DEPTH:
            self._rooms.append(memoryview(mmap.mmap(-1, _LARGE if self._is_large else PIECE)))
        return self._rooms[self._count % _DEPTH]

    def send(self, piece: Piece) -> None:
        """Give a piece, which nobody may change any more, to all takers; raises what `room` does."""
        self._settle(_DEPTH - 1)
        self._sent.append([thread.submit(taker, piece) for thread, taker in self._takers])
        self._count += 1

    def finish(self) -> None:
        """Wait until all have taken everything; raises what `room` does."""
        self._settle(0)

    def _settle(self, most: int) -> None:
        while len(self._sent) > most:
            for future in self._sent.popleft():
                future.result()


def _thread() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(1, "pipeline", initializer=_step_back)


def _step_back() -> None:
    me = threading.get_native_id()
    with contextlib.suppress(OSError):  # some sandboxes allow nobody to be nice
        os.setpriority(os.PRIO_PROCESS, me, os.getpriority(os.PRIO_PROCESS, me) + _NICE)
