"""Streams with several takers: each gets everything in its order, and what one raises ends it."""

import contextlib
import os
import threading
import time

import pytest

from images import pipeline


def test_each_taker_gets_all_in_order() -> None:
    """Also one that is slow: no room is filled again before it has taken what is there."""
    quick: list[bytes] = []
    slow: list[bytes] = []

    def take_slowly(piece: pipeline.Piece) -> None:
        time.sleep(0.005)
        slow.append(bytes(piece))

    pieces = [b"%d" % number * 100 for number in range(20)]
    with pipeline.Pipeline([lambda piece: quick.append(bytes(piece)), take_slowly]) as line:
        for piece in pieces:
            room = line.room()
            room[: len(piece)] = piece
            line.send(room[: len(piece)])
        line.finish()
    assert quick == slow == pieces


def test_what_a_taker_raises_is_raised_and_no_thread_stays() -> None:
    def take(_: pipeline.Piece) -> None:
        raise OSError("full")

    def send() -> None:
        with pipeline.Pipeline([take, bytes]) as line:
            for _ in range(10):
                line.send(b"x")

    with pytest.raises(OSError, match="full"):
        send()
    assert not [one for one in threading.enumerate() if one.name.startswith("pipeline")]


def test_what_was_sent_is_taken_even_where_the_sender_fails() -> None:
    """A download that is handed on has all that had come."""
    taken: list[bytes] = []

    def take(piece: pipeline.Piece) -> None:
        time.sleep(0.02)
        taken.append(bytes(piece))

    def send() -> None:
        with pipeline.Pipeline([take]) as line:
            line.send(b"1")
            line.send(b"2")
            raise LookupError

    with pytest.raises(LookupError):
        send()
    assert taken == [b"1", b"2"]


def test_takers_stand_back() -> None:
    """A thread that digests is nicer than the one that answers requests."""
    found: list[int] = []
    mine = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with pipeline.Pipeline(
        [lambda _: found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))]
    ) as line:
        line.send(b"x")
        line.finish()
    assert found == [min(19, mine + 5)]


def test_one_stream_at_a_time_has_large_rooms() -> None:
    """And the next one has, once it has ended, also by an error; one that needs none keeps nobody from it."""
    for _ in range(2):
        with (
            contextlib.suppress(LookupError),
            pipeline.Pipeline([]) as none,
            pipeline.Pipeline([]) as first,
            pipeline.Pipeline([]) as second,
        ):
            none.send(b"x")
            assert len(first.room()) == 2 * pipeline.PIECE
            assert len(second.room()) == pipeline.PIECE
            raise LookupError
