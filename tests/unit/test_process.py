"""A program on hostile bytes: whatever it does, it is heard, ended, and nothing endless of it is kept."""

import contextlib
import os
import pathlib
import signal

import pytest

from flows import process
from images import errors

#: Seconds that none of these programs needs.
LONG = 60


def run(script: str, seconds: float = LONG) -> tuple[int, bytes, bytes]:
    """Exit code, output and complaint of a shell script."""
    with process.started(["sh", "-c", script]) as running:
        out, complaint = process.listen(running, seconds, lambda _: None)
    return running.returncode, out, complaint


def test_what_it_says() -> None:
    assert run("echo out; echo complaint >&2; exit 3") == (3, b"out\n", b"complaint\n")


def test_it_is_heard_while_it_speaks() -> None:
    """So that its progress can be told."""
    seen: list[bytes] = []
    with process.started(["sh", "-c", "echo one; sleep 0.2; echo two"]) as running:
        process.listen(running, LONG, seen.append)
    assert {b"one\n", b"one\ntwo\n"} <= set(seen)


@pytest.mark.parametrize("pipe", [1, 2])
def test_one_that_will_not_stop_talking(pipe: int) -> None:
    """qemu-img has a line for each of the faults that it finds, millions of them."""
    code, out, complaint = run(f"exec yes >&{pipe}")
    assert code == -signal.SIGKILL
    assert len(out) + len(complaint) < 2 << 20


@pytest.mark.parametrize("script", ["sleep 1000", "exec >&- 2>&-; sleep 1000"])
def test_one_that_hangs(script: str) -> None:
    """Also where its pipes are closed, which says nothing of it."""
    with pytest.raises(TimeoutError):
        run(script, 0.1)


@pytest.mark.parametrize("script", ["sleep 1000", "exec >&- 2>&-; sleep 1000"])
def test_one_that_nobody_wants_any_more(script: str) -> None:
    """What is raised by who hears it stops it."""

    def stop(_: bytes) -> None:
        raise errors.Stopped

    with (
        pytest.raises(errors.Stopped),
        process.started(["sh", "-c", script]) as running,
    ):
        process.listen(running, LONG, stop)
    assert running.returncode == -signal.SIGKILL


def test_one_that_leaves_another_behind(tmp_path: pathlib.Path) -> None:
    """In a session of its own it cannot be found; it is not waited for, though it has the pipes."""
    script = f"setsid sleep 1000 & echo $! > {tmp_path}/pid; echo said; exit 3"
    try:
        assert run(script) == (3, b"said\n", b"")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


def test_which_limit_was_passed() -> None:
    """By what qemu-img and its libraries say of it; a program that has ended well has passed none."""
    for complaint in (
        "qemu-img: Could not open '/source': Cannot allocate memory",
        "qemu-img: Could not open '/source': Unable to allocate memory for page table",
        "GLib-ERROR **: gmem.c:333: failed to allocate 17179869184 bytes",
        "qemu: qemu_thread_create: Resource temporarily unavailable",
    ):
        assert process.passed(1, complaint) == "memory"
        assert process.passed(0, complaint) == ""
    assert process.passed(1, "qemu-img: Could not open '/source': Invalid argument") == ""
