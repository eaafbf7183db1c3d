"""A store that is reached through its own library, because glance_store's driver reads no ranges.

What one of these is: `s3_store`, `swift_store` and `rbd_store` are modules with the functions of `Client`.
Options, location URIs and object names stay glance_store's: its driver gives the first two.
"""

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, Protocol, TypeVar

from images import errors, file_store, readahead

LOG = logging.getLogger(__name__)

T = TypeVar("T")
#: Is told the bytes done; what it raises ends the work.
Heard = Callable[[int], None]

#: Seconds that threads have to end what they are sending, once nobody wants it any more.
_FAREWELL = 5


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """Something in a store that bears an image's name."""

    image_id: str
    #: Seconds since 1970 at which it was written, or begun.
    written: float
    #: What the store calls it.
    name: str
    #: Each location that means it has one of these in its URL; none does where it was never finished.
    marks: tuple[str, ...] = ()


class Client(Protocol):
    """The way to stores of one type. Call its functions within `translated`."""

    def translated(self, driver: Any) -> Any:
        """A context in which the library's errors become ours; no path or credential passes."""

    def add(
        self, driver: Any, image_id: str, source: file_store.Told
    ) -> tuple[str, dict[str, str]]:
        """Store a file under an image's name, whatever is there; the URI and metadata of its location.

        Nothing appears under the name before `source.writer.ready` has been asked.
        """

    def size(self, driver: Any, place: Any) -> int:
        """The bytes behind a location."""

    def read(self, driver: Any, place: Any, offset: int, length: int) -> Iterator[bytes]:
        """`length` bytes from `offset` on; faults that can be seen at once come before the first piece.

        Whoever drops it, before the first piece or later, keeps nothing open.
        """

    def delete(self, driver: Any, place: Any) -> None:
        """Remove what is behind a location; it may be gone already."""

    def discard(self, driver: Any, image_id: str) -> None:
        """Remove all that bears an image's name, finished or not."""

    def found(self, driver: Any, digit: str) -> Iterator[Found]:
        """What bears the name of an image whose id begins with `digit`, finished or not."""

    def remove(self, driver: Any, found: Found) -> None:
        """Remove what was never finished; it may be gone already."""

    def take_away(self, driver: Any, found: Found) -> None:
        """Make a finished one's name free, at once: a row is locked. What is left has then no `marks`."""


def metadata(driver: Any) -> dict[str, str]:
    """What a new location says of its store."""
    return {"store": driver.backend_group} if driver.backend_group else {}


def together(
    writer: file_store.Writer, work: Sequence[tuple[int, Callable[[], T]]], threads: int
) -> list[T]:
    """Do pieces of work in threads, each given with its bytes; their results in the same order.

    The writer is told of the bytes done, several times a second even while nothing moves, so that it can end
    the work: what it raises, or a piece of work does, passes, and no further piece is begun.
    """
    pool = futures.ThreadPoolExecutor(threads, "store")
    pieces = {pool.submit(one): size for size, one in work}
    left, done = set(pieces), 0
    try:
        while left:
            ended, left = futures.wait(left, readahead.TICK, futures.FIRST_EXCEPTION)
            for piece in ended:
                piece.result()  # raises what has gone wrong
                done += pieces[piece]
            writer.on_bytes(done)
        return [piece.result() for piece in pieces]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        futures.wait([piece for piece in left if not piece.cancelled()], _FAREWELL)


def alone(writer: file_store.Writer, work: Callable[[], T], done: int = 0) -> T:
    """Do one thing that may wait for the store; the writer, who has `done` bytes, can end it."""
    told = dataclasses.replace(writer, on_bytes=lambda _: writer.on_bytes(done))
    return together(told, [(0, work)], 1)[0]


def in_thread(on_bytes: Callable[[int], object], work: Callable[[Heard], T]) -> T:
    """Do something in a thread, which tells what it is given how many bytes it has done; what it returns.

    `on_bytes` is told of them several times a second. Where it raises, that passes, and the thread is stopped
    when it tells of its bytes the next time.
    """
    done, has_left = 0, threading.Event()

    def heard(total: int) -> None:
        nonlocal done
        done = total
        if has_left.is_set():
            raise errors.Stopped

    pool = futures.ThreadPoolExecutor(1, "store")
    future = pool.submit(work, heard)
    try:
        while futures.wait([future], readahead.TICK).not_done:
            on_bytes(done)
        return future.result()
    finally:
        has_left.set()
        pool.shutdown(wait=False)
        futures.wait([future], _FAREWELL)


def opened(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """A generator whose first piece is empty, and comes when what it reads from is open.

    From then on the generator itself closes that, however it ends; one that has not begun closes nothing.
    """
    next(pieces)
    return pieces


def briefly(work: Callable[[], object]) -> None:
    """Try to tidy up for a few seconds: a silent store must not keep anybody, and upkeep comes after."""

    def tried() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever it is, what has gone wrong before counts
            LOG.warning("Something may be left over in a store: %s", type(error).__name__)

    thread = threading.Thread(target=tried, name="tidy", daemon=True)
    thread.start()
    thread.join(_FAREWELL)
