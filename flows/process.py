"""A program that is run on hostile bytes: heard while it works, ended in time, and nothing of it left."""

import contextlib
import logging
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import IO, Literal

LOG = logging.getLogger(__name__)

#: Seconds between two looks at whether it should go on.
_TICK = 0.5
#: Bytes that it may say on either pipe: qemu-img has a line for each fault that it finds.
_MOST_SAID, _PIECE = 1 << 20, 64 << 10
#: Seconds that what was killed may take to be gone.
_DYING = 5
#: By default each thread reserves 64 MiB of addresses, which would count as memory that it has used: a
#: conversion has up to twenty threads.
_ENVIRONMENT = {"LC_ALL": "C", "MALLOC_ARENA_MAX": "2"}


@contextlib.contextmanager
def started(words: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, of which nothing is left when the block ends.

    Without a box, a program that was taken over could leave that session; then this waits no longer than
    some seconds for it.
    """
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT},
    )
    try:
        yield process
    finally:
        _kill(process)
        process.wait()
        ends = time.monotonic() + _DYING
        for pipe in (process.stdout, process.stderr):
            if pipe and not _is_closed(pipe, ends):
                LOG.warning("A process that qemu-img has started could not be ended")


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _is_closed(pipe: IO[bytes], ends: float) -> bool:
    """Close a pipe; whether the last process that could write to it is gone in time."""
    speaking = select.poll()
    speaking.register(pipe, select.POLLIN)
    with pipe:
        while (left := ends - time.monotonic()) > 0:
            if speaking.poll(left * 1000) and not os.read(pipe.fileno(), _PIECE):
                return True
    return False


def listen(
    process: subprocess.Popen[bytes], seconds: float, heard: Callable[[bytes], object]
) -> tuple[bytes, bytes]:
    """Wait for a program to end; what it has said on its output, and what it has complained of.

    `heard` is told the output so far at least twice a second, and what it raises passes. One that says more
    than a MiB is killed.

    Raises:
        TimeoutError: it takes longer than so many seconds.
    """
    ends, ears, has_ended = time.monotonic() + seconds, _Ears(process), False
    # Once it has ended, what it had to say lies in the pipes; others that have them open are not waited for.
    while ears.have_heard(0 if has_ended else _TICK) or not has_ended:
        if ears.are_full:
            _kill(process)
        if time.monotonic() > ends:
            raise TimeoutError
        heard(bytes(ears.out))
        has_ended = process.poll() is not None
    return bytes(ears.out), bytes(ears.complaint)


class _Ears:
    """What a process says on its two pipes, the first MiB of each."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.out, self.complaint = bytearray(), bytearray()
        #: Whether it has said more than anybody wants to know.
        self.are_full = False
        self._process = process
        self._open: dict[int, bytearray] = {}
        self._speaking = select.poll()  # `select.select` knows no descriptor beyond 1023
        for pipe, said in ((process.stdout, self.out), (process.stderr, self.complaint)):
            if pipe:
                self._open[pipe.fileno()] = said
                self._speaking.register(pipe, select.POLLIN)

    def have_heard(self, seconds: float) -> bool:
        """Wait for more, or until the process has ended; whether there was more."""
        if not self._open:  # it may be at work all the same
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            return False
        has_heard = False
        for pipe, _ in self._speaking.poll(seconds * 1000):
            if piece := os.read(pipe, _PIECE):
                has_heard, said = True, self._open[pipe]
                said += piece if len(said) <= _MOST_SAID else b""
                self.are_full = self.are_full or len(said) > _MOST_SAID
            else:
                self._speaking.unregister(pipe)
                del self._open[pipe]
        return has_heard


#: What the kernel refuses, or sends, whoever passes a limit.
Limit = Literal["time", "size", "memory", ""]
_SIGNALS: dict[int, Limit] = {signal.SIGXCPU: "time", signal.SIGXFSZ: "size"}
#: How qemu-img, its libraries, and other programs say that they were given no memory, or no thread's stack.
_NO_MEMORY = re.compile(
    r"allocate memory|[Ff]ailed to allocate|[Mm]emory exhausted|[Oo]ut of memory|qemu_thread_create"
)


def passed(code: int, complaint: str) -> Limit:
    """Which limit has ended a process, told by its exit code: a signal's, or what bubblewrap makes of it."""
    if "File too large" in complaint:
        return "size"
    if code and _NO_MEMORY.search(complaint):
        return "memory"
    return _SIGNALS.get(-code) or _SIGNALS.get(code - 128, "")
