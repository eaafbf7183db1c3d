"""Runs several programs as one: each in its own session, its lines prefixed, restarted when it ends.

A stop is graceful first (SIGTERM to each program, which ends its own children), then final (SIGKILL to the
whole process group), and nothing that they started is left behind, whatever session it moved to.
"""

import collections
import contextlib
import ctypes
import datetime
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from honcho import colour, printer

#: Seconds that a program gets between SIGTERM and SIGKILL.
GRACE = 15.0

#: The same while they are being started: nothing is under way then, and a server that is still loading may
#: not hear the signal at all.
START_GRACE = 3.0

#: Seconds to wait before a program that ended is started again; doubled each time up to the last.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0

#: A program that ran for so many seconds is taken as healthy: its pause begins anew.
HEALTHY_AFTER = 60.0

_PR_SET_CHILD_SUBREAPER = 36


class StartError(RuntimeError):
    """A program could not be started; the text names it and holds its last lines."""


class Output:
    """What the programs say, one line at a time, and the last lines of each."""

    def __init__(self, width: int) -> None:
        self._printer = printer.Printer(sys.stdout, width=width)
        self._colours = colour.get_colours()
        self._colour_of: dict[str, str] = {}
        self._lock = threading.Lock()
        self._last: dict[str, collections.deque[str]] = collections.defaultdict(
            lambda: collections.deque(maxlen=20)
        )

    def line(self, name: str, text: str) -> None:
        """Print a line of the program `name`."""
        with self._lock, contextlib.suppress(OSError):  # nobody reads any more: stopping goes on
            self._last[name].append(text)
            if name not in self._colour_of:
                self._colour_of[name] = next(self._colours)
            now = datetime.datetime.now().astimezone()
            self._printer.write(printer.Message("line", text, now, name, self._colour_of[name]))

    def block(self, text: str) -> None:
        """Print lines that belong to no program."""
        with self._lock, contextlib.suppress(OSError):
            print(text, flush=True)

    def said(self, name: str, text: str) -> bool:
        """Whether one of the last lines of a program holds `text`."""
        with self._lock:
            return any(text in line for line in self._last[name])

    def last_lines(self, name: str) -> str:
        """The last lines of a program, indented."""
        return "\n".join(f"    {line}" for line in self._last[name])


class Program:
    """One program: its command, and the process that runs it at the moment."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], directory: Path
    ) -> None:
        self.name = name
        self.started = 0.0
        self._command = command
        self._env = env
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self, output: Output) -> None:
        """Start it, as the leader of a new session."""
        # Should this supervisor be killed, the kernel tells the program to stop.
        tied = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
        self._process = subprocess.Popen(
            [*tied, *self._command],
            env=self._env,
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.started = time.monotonic()
        self._reader = threading.Thread(
            target=self._read, args=(self._process, output), daemon=True
        )
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes], output: Output) -> None:
        assert process.stdout is not None  # noqa: S101  it was asked for as a pipe
        for line in process.stdout:
            output.line(self.name, line.decode(errors="replace").rstrip())

    @property
    def pid(self) -> int | None:
        """Process id, which is the id of its process group too."""
        return self._process.pid if self._process else None

    def ended(self) -> int | None:
        """Exit status (negative: the signal that killed it), or None while it runs."""
        return self._process.poll() if self._process else None

    def signal(self, number: int) -> None:
        """Send a signal to the program itself, if it still runs."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def kill_group(self) -> None:
        """Kill it and every process that it left in its group, and read its last words."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._reader:
            self._reader.join(timeout=1)


class Supervisor:
    """Keeps programs running until it is told to stop."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.stopping = False
        self._grace = START_GRACE
        self._programs: list[Program] = []
        self._restart_at: dict[str, float] = {}
        self._pause: dict[str, float] = {}
        become_subreaper()

    def on_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP stop; a second one does not wait for the grace period."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        if self.stopping:
            for program in self._programs:
                program.signal(signal.SIGKILL)
        self.stopping = True

    def start(self, program: Program) -> None:
        """Start a program and keep it running from now on."""
        self._programs.append(program)
        program.start(self.output)

    def wait_until(
        self, ready: Callable[[], bool], what: str, seconds: float, pause: float = 0.2
    ) -> None:
        """Wait until `ready()`; in this time a program that ends is a failed start.

        Raises:
            StartError: a program ended, or `seconds` are over; `what` says what was waited for.
        """
        end = time.monotonic() + seconds
        while not self.stopping and not ready():
            self._raise_for_ended()
            if time.monotonic() > end:
                raise StartError(f"{what} did not answer within {seconds:.0f} s")
            time.sleep(pause)

    def run_once(self, program: Program) -> None:
        """Run a program to its end.

        Raises:
            StartError: it failed.
        """
        program.start(self.output)
        while (status := program.ended()) is None and not self.stopping:
            self._raise_for_ended()
            time.sleep(0.02)
        program.kill_group()
        if status:
            raise StartError(self._failure(program, status))

    def _raise_for_ended(self) -> None:
        for program in self._programs:
            status = program.ended()
            if status is not None:
                program.kill_group()
                raise StartError(self._failure(program, status))

    def _failure(self, program: Program, status: int) -> str:
        return (
            f"{program.name} could not be started: it ended with {describe(status)}. "
            f"Its last lines:\n{self.output.last_lines(program.name)}"
        )

    def watch(self) -> None:
        """Start again what ends, until told to stop."""
        if not self.stopping:
            self._grace = GRACE
        while not self.stopping:
            for program in self._programs:
                if program.ended() is not None:
                    self._start_again(program)
            time.sleep(0.1)

    def _start_again(self, program: Program) -> None:
        now = time.monotonic()
        due = self._restart_at.get(program.name)
        if due is None:
            pause = self._next_pause(program.name, now - program.started)
            self._restart_at[program.name] = now + pause
            status = describe(program.ended() or 0)
            self.output.line(
                program.name, f"ended with {status}; starting it again in {pause:.0f} s"
            )
            program.kill_group()  # its children may still hold its port
        elif now >= due:
            del self._restart_at[program.name]
            program.start(self.output)

    def _next_pause(self, name: str, ran: float) -> float:
        before = self._pause.get(name)
        fresh = before is None or ran > HEALTHY_AFTER
        self._pause[name] = FIRST_PAUSE if fresh or not before else min(before * 2, LONGEST_PAUSE)
        return self._pause[name]

    def stop(self) -> None:
        """Stop all programs, the first started last, and leave no process behind."""
        self.stopping = True
        first, rest = self._programs[:1], self._programs[1:]
        for group in (rest, first):  # the others may still want to tell the broker something
            _stop(group, self._grace)
        kill_descendants()


def _stop(programs: Sequence[Program], grace: float) -> None:
    for program in programs:
        program.signal(signal.SIGTERM)
    end = time.monotonic() + grace
    while any(p.pid and p.ended() is None for p in programs) and time.monotonic() < end:
        time.sleep(0.05)
    for program in programs:
        program.kill_group()


def describe(status: int) -> str:
    """An exit status in words."""
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def become_subreaper() -> None:
    """Make orphans of this process' descendants its own children, so that none can get lost."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_descendants() -> None:
    """Kill every process that still descends from this one."""
    for _ in range(100):
        found = children()
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in found:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def children() -> list[int]:
    """Ids of this process' children, orphans that it took over among them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # pid (name) state parent ...: the name may hold blanks and parentheses.
            if int(entry.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.append(int(entry.parent.name))
    return found
