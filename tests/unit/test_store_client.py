"""Work that is done in threads for a writer that may end it at any moment."""

import functools
import threading

import pytest

from images import errors, file_store, store_client


def writer(heard: list[int], stop_at: int | None = None) -> file_store.Writer:
    """A writer that writes down what it is told, and has enough at some point."""

    def on_bytes(done: int) -> None:
        heard.append(done)
        if stop_at is not None and done >= stop_at:
            raise errors.Stopped

    return file_store.Writer(on_bytes)


def test_results_come_in_the_order_of_the_work() -> None:
    heard: list[int] = []
    first = threading.Event()

    def wait() -> str:
        assert first.wait(30)
        return "a"

    def go() -> str:
        first.set()
        return "b"

    assert store_client.together(writer(heard), [(3, wait), (4, go)], 2) == ["a", "b"]
    assert heard[-1] == 7


def test_work_that_fails_ends_the_rest() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        raise errors.Unavailable(str(number))

    pieces = [(1, functools.partial(work, number)) for number in range(100)]
    with pytest.raises(errors.Unavailable):
        store_client.together(writer([]), pieces, 1)
    assert len(begun) < 100


def test_a_writer_that_has_enough_is_heard_while_nothing_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The thread that hangs is left alone; nothing is begun after it."""
    monkeypatch.setattr(store_client, "_FAREWELL", 0.1)
    hang, begun = threading.Event(), threading.Event()

    def mark() -> bool:
        begun.set()
        return True

    try:
        with pytest.raises(errors.Stopped):
            store_client.together(writer([], 0), [(1, hang.wait), (1, mark)], 1)
        assert not begun.is_set()
    finally:
        hang.set()


def test_a_thread_is_stopped_when_it_tells_of_its_bytes() -> None:
    left, ended = threading.Event(), threading.Event()

    def on_bytes(done: int) -> None:
        if done:
            left.set()
            raise errors.Stopped

    def work(heard: store_client.Heard) -> None:
        try:
            heard(1)
            assert left.wait(30)
            while True:
                heard(2)
        finally:
            ended.set()

    with pytest.raises(errors.Stopped):
        store_client.in_thread(on_bytes, work)
    assert ended.wait(30)


def test_a_failure_while_tidying_up_is_no_failure() -> None:
    def work() -> None:
        raise errors.Unavailable

    store_client.briefly(work)
