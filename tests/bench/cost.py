"""What a piece of work costs: seconds, processor time of each group of processes, and memory."""

import contextlib
import pathlib
import re
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Self

import psutil

#: Seconds between two looks at short-lived processes.
_LOOK = 0.1
_MIB = 1 << 20
#: Processors in the hands of strangers that do not matter, and seconds for which they are looked at.
_QUIET, _GLANCE = 0.2, 0.3


def family(top: psutil.Process) -> list[psutil.Process]:
    """A process and all its descendants; none where it has ended."""
    try:
        return [top, *top.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def spent(top: psutil.Process) -> float:
    """Processor seconds of a process and its descendants, those included that have ended."""
    total = 0.0
    for one in family(top):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


class Meter:
    """Measures the block inside `with`; the figures are there when it has ended."""

    def __init__(self, groups: Mapping[str, psutil.Process]) -> None:
        self._groups = groups
        self.seconds = 0.0
        #: Processor seconds of each group.
        self.cpu: dict[str, float] = {}
        #: Processors that strangers used meanwhile, on average.
        self.noise_cores = 0.0

    def __enter__(self) -> Self:
        self._before = self._read()
        self._began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.monotonic() - self._began
        before, after = self._before, self._read()
        used = {name: after[name] - before[name] for name in after}
        strangers = used.pop("machine") - used.pop("bench")
        self.noise_cores = round(max(0.0, strangers / self.seconds), 2)
        self.cpu = {name: round(max(0.0, value), 3) for name, value in used.items()}

    def _read(self) -> dict[str, float]:
        """Everything that the bench starts descends from it, so the rest of the machine is strangers."""
        machine = psutil.cpu_times()
        found = {name: spent(top) for name, top in self._groups.items()}
        found["bench"] = spent(psutil.Process())
        found["machine"] = machine.user + machine.nice + machine.system
        return found


class Calm:
    """Waits for other programs to leave the processors alone, so many seconds in all."""

    def __init__(self, patience: float) -> None:
        self._left = patience

    def wait(self) -> None:
        """Return once strangers are quiet, or when there is no patience left."""
        while self._left > 0:
            with Meter({}) as meter:
                time.sleep(_GLANCE)
            if meter.noise_cores < _QUIET:
                return
            self._left -= meter.seconds


# Memory


def peak_mib(processes: Iterable[psutil.Process]) -> float:
    """MiB of the process that has been the largest: RSS, as the kernel keeps its peak (VmHWM)."""
    largest = 0
    for one in processes:
        with contextlib.suppress(OSError):
            status = pathlib.Path(f"/proc/{one.pid}/status").read_text()
            found = re.search(r"VmHWM:\s+(\d+) kB", status)
            largest = max(largest, int(found[1]) if found else 0)
    return round(largest / 1024, 1)


def forget_peaks(processes: Iterable[psutil.Process]) -> None:
    """Let the kernel begin anew with the peaks."""
    for one in processes:
        with contextlib.suppress(OSError):
            pathlib.Path(f"/proc/{one.pid}/clear_refs").write_text("5")


class Tools:
    """The most memory of the qemu-img processes that are seen inside `with`, in MiB."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK):
            for one in family(psutil.Process()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if one.name() == "qemu-img":
                        size = one.memory_info().rss / _MIB
                        self.peak_mib = max(self.peak_mib, round(size, 1))
