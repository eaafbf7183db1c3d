"""What a worker and the programs that it starts take of the machine, as the kernel counts it."""

import contextlib
import os
import pathlib
import threading
import time
import types
from typing import Self

_PROC = pathlib.Path("/proc")
#: Seconds between two looks at what a worker has started.
_TICK = 0.005


def peak(pid: int) -> int:
    """The most memory that a process has held, KiB; since `forget`, if that was called."""
    return _number(pid, "status", "VmHWM:")


def forget(pid: int) -> None:
    """Begin anew with the process's peak: what it holds now (proc(5), clear_refs)."""
    (_PROC / str(pid) / "clear_refs").write_text("5")


def children(pid: int) -> list[int]:
    """Processes that a process, and those, have started; whichever thread it was."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it is gone
        for thread in os.listdir(_PROC / str(pid) / "task"):  # noqa: PTH208 - thousands of times
            with contextlib.suppress(OSError):
                listed = (_PROC / str(pid) / "task" / thread / "children").read_text()
                found += [int(child) for child in listed.split()]
    return found + [grandchild for child in found for grandchild in children(child)]


def name(pid: int) -> str:
    """What the kernel calls its program; "" where it is gone."""
    try:
        return (_PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


class Onlooker:
    """Sees how much memory each program takes that a worker starts; use it in a `with` block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        #: KiB, by the program's name: the most that one process had, and what they were allowed.
        self.peaks: dict[str, int] = {}
        self.limits: dict[str, set[int]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: types.TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.is_set():
            for pid in children(self._pid):
                with contextlib.suppress(OSError, LookupError):  # it is gone
                    self._note(pid)
            time.sleep(_TICK)

    def _note(self, pid: int) -> None:
        program, taken = name(pid), peak(pid)
        limit = _number(pid, "limits", "Max address space") >> 10
        if program == name(pid):  # it has not become another one between the looks
            self.peaks[program] = max(taken, self.peaks.get(program, 0))
            self.limits.setdefault(program, set()).add(limit)


def _number(pid: int, file: str, label: str) -> int:
    text = (_PROC / str(pid) / file).read_text()
    value = text.split(label, 1)[1].split(None, 1)[0]
    return -1 if value == "unlimited" else int(value)
