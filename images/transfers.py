"""A URL's bytes as one stream, whatever happens to the connection on the way.

A lost connection is made again after a pause, and the server is asked to go on where it was; a worker's
successor goes on behind what its predecessor has left. Where the server cannot go on in the middle, or has
another file by now, the stream begins anew: `StartOver`.
"""

import dataclasses
import time
import types
from collections.abc import Callable
from typing import Self

from images import answers, config, errors, partials, readahead

#: Longest pause between two tries, seconds.
_LONGEST_PAUSE = 60.0


class StartOver(Exception):
    """What has been read is not the beginning of what comes: throw it away, `rewind`, and read again."""


@dataclasses.dataclass(frozen=True, slots=True)
class Listener:
    """Whoever waits for the bytes."""

    #: Told the bytes done and in all, at least four times a second; what it raises passes at once.
    on_bytes: Callable[[int, int | None], object]
    #: Told of each fault that is tried again, in words.
    on_fault: Callable[[str], object]


class Transfer:
    """The stream, a `staging.Source`; use it in a `with` block, which lets go of the connection.

    `keeper` is told of what comes, and asked for what an earlier attempt has left.
    """

    def __init__(
        self,
        wanted: answers.Wanted,
        listener: Listener,
        keeper: partials.Keeper | None = None,
    ) -> None:
        self._wanted, self._listener, self._keeper = wanted, listener, keeper
        self._kept = keeper.inherit(wanted.size) if keeper else None
        self._version = self._kept.version if self._kept else None
        self._position = 0
        self._answer: answers.Answer | None = None
        self._ahead: readahead.ReadAhead | None = None
        self._is_met = self._is_announced = False
        self._held: bytes | None = None
        self._tries = _Tries()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._let_go()
        if self._kept:
            self._kept.file.close()

    @property
    def total(self) -> int | None:
        """The bytes in all, as far as they are known yet."""
        total = self._version.total if self._version else None
        return self._wanted.size if total is None else total

    def rewind(self) -> None:
        """Begin anew, after `StartOver`."""
        if self._kept:
            self._kept.file.close()
        self._position, self._kept, self._is_announced = 0, None, False

    def read(self, size: int, /) -> bytes:
        """The next piece; none at the end, which is the end of the whole.

        Raises:
            StartOver: what has been read so far is worth nothing.
            ImportFailed: the bytes cannot be had; the text says why, and how often that was tried.
            SizeMismatch: they are not as many as is wanted.
            OSError: the staging area cannot be used.
        """
        if self._kept and self._position < self._kept.size:
            piece = self._inherited(self._kept, size)
        else:
            piece = self._received()
        self._announce()
        self._position += len(piece)
        return piece

    def readinto(self, room: memoryview, /) -> int:
        """`read` for who has a place for the piece."""
        piece = self.read(len(room))
        room[: len(piece)] = piece
        return len(piece)

    # From an earlier attempt

    def _inherited(self, kept: partials.Kept, size: int) -> bytes:
        piece = kept.file.read(min(size, kept.size - self._position))
        if not piece:  # somebody has cut it
            raise StartOver
        self._tries.furthest = self._position + len(piece)
        return piece

    def _announce(self) -> None:
        """Tell what is coming, once it is known."""
        if self._is_announced or self._version is None:
            return
        self._is_announced = True
        if self._keeper:
            self._keeper.begin(self._version, self._kept.size if self._kept else 0)
        self._tick()

    # From the network

    def _received(self) -> bytes:
        while True:
            if self._held is not None:
                piece, self._held = self._held, None
                return piece
            if self._ahead is None and self._is_whole():
                return b""
            try:
                return self._next()
            except answers.Fault as fault:
                self._try_again(fault)

    def _is_whole(self) -> bool:
        """Whether an earlier attempt had all but the last word."""
        return self._version is not None and self._position == self._version.total

    def _next(self) -> bytes:
        answer, ahead = self._ask() if self._ahead is None else (self._answer, self._ahead)
        piece = ahead.read()
        if answer is None or self._is_met:
            return piece
        self._is_met, self._version = True, answer.version
        if answer.begins == self._position:
            return piece
        self._held = piece
        self._listener.on_fault("the server cannot go on in the middle, or the file has changed")
        raise StartOver

    def _ask(self) -> tuple[answers.Answer, readahead.ReadAhead]:
        self._is_met = False
        self._answer = answers.Answer(self._wanted, self._position, self._version)
        self._ahead = readahead.ReadAhead(self._answer, self._wait)
        return self._answer, self._ahead.__enter__()

    def _try_again(self, fault: answers.Fault) -> None:
        """Wait for the next try, if there is one."""
        self._let_go()
        pause = self._tries.pause_after(fault, self._position)
        self._listener.on_fault(fault.cause)
        ends = time.monotonic() + pause
        while (left := ends - time.monotonic()) > 0:
            time.sleep(min(left, readahead.TICK))
            self._tick()
        if self._position and self._version and not self._version.resumable:
            raise StartOver

    def _let_go(self) -> None:
        if self._ahead:
            self._ahead.__exit__(None, None, None)
        self._ahead = self._answer = None

    def _tick(self) -> None:
        self._listener.on_bytes(self._position, self.total)

    def _wait(self) -> None:
        self._tick()
        if self._answer:
            self._answer.check_time()


class _Tries:
    """How often a transfer has been tried, and how often it may be still."""

    def __init__(self) -> None:
        #: The byte that was reached at most: what comes a second time is no progress.
        self.furthest = 0
        self._made = self._in_vain = 0

    def pause_after(self, fault: answers.Fault, position: int) -> float:
        """Seconds until the next try, after one that has come as far as `position`.

        One that got on gives as many tries again; trickling is not getting on.

        Raises:
            ImportFailed: it was the last one.
        """
        conf = config.CONF.gantry
        self._made += 1
        if position - self.furthest >= max(1, conf.minimum_rate * conf.read_timeout):
            self._in_vain = 0
        else:
            self._in_vain += 1
        self.furthest = max(self.furthest, position)
        if self._in_vain >= conf.tries:
            times = "once" if self._made == 1 else f"{self._made} times"
            raise errors.ImportFailed(f"{fault}; it was tried {times}") from fault
        backoff = min(conf.retry_pause * 2.0 ** max(0, self._in_vain - 1), _LONGEST_PAUSE)
        return float(max(backoff, fault.pause))


def document(wanted: answers.Wanted, listener: Listener, most: int) -> bytes:
    """A short answer as a whole, or its first bytes if it has more than `most`.

    Raises:
        ImportFailed: it cannot be had.
    """
    heard = dataclasses.replace(listener, on_bytes=lambda *_: listener.on_bytes(0, None))
    with Transfer(wanted, heard) as source:
        while True:
            try:
                return _read(source, most)
            except StartOver:
                source.rewind()


def _read(source: Transfer, most: int) -> bytes:
    read = b""
    while len(read) <= most and (piece := source.read(most)):
        read += piece
    return read
