"""A Gantry of the demo's own: `deploy.run` on free ports and a new state directory, gone at the end."""

import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy import broker, run, supervisor

#: File in the state directory with what all processes have said.
LOG = "run.log"

_PREFIX = "demo-"

#: Another program can take a free port before the service does: then other ports are tried.
_TRIES = 3

#: Seconds after which a state directory that nobody holds is one that was left behind.
_YOUNG = 60

#: Seconds for everything to stop; longer than the supervisor's own grace.
_STOP_LIMIT = 2 * supervisor.GRACE + 10


class ServiceError(RuntimeError):
    """The service did not start or left something behind; the text says what."""


@dataclass(frozen=True)
class Service:
    """A running service."""

    state: Path
    api_port: int
    flower_port: int

    @property
    def flower_password(self) -> str:
        """The password of Flower's user `gantry`."""
        return (self.state / "flower.password").read_text().strip()

    @property
    def log(self) -> Path:
        """What all its processes have said."""
        return self.state / LOG


@contextlib.contextmanager
def running(settings: str) -> Iterator[Service]:
    """Start a service with additional configuration; stop it and remove its state at the end.

    Raises:
        ServiceError: it could not be started, or a process outlived it.
    """
    supervisor.become_subreaper()  # whatever the service should lose becomes our child, and is found
    remove_leftovers()
    state = _new_state()
    runner = _Runner(state)
    try:
        (state / "demo.conf").write_text(settings)
        yield runner.start()
    finally:
        try:
            runner.stop()
        finally:
            shutil.rmtree(state, ignore_errors=True)


def _new_state() -> Path:
    var = run.ROOT / "var"
    var.mkdir(exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=var))
    try:
        broker.socket_path(state)
    except broker.BrokerError:  # a deep checkout: sockets need short paths
        state.rmdir()
        state = Path(tempfile.mkdtemp(prefix=f"gantry-{_PREFIX}"))
    return state


def remove_leftovers() -> None:
    """Remove the state of demos that were killed."""
    for state in (run.ROOT / "var").glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (state / "run.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: that demo is running
            if time.time() - state.stat().st_ctime > _YOUNG:
                shutil.rmtree(state, ignore_errors=True)


class _Runner:
    """The process that runs the service."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Service:
        """Start the service, on other ports when another program has been quicker."""
        for _ in range(_TRIES):
            service = Service(self._state, *_free_ports())
            self._process = _spawn(service)
            if _came_up(self._process, service):
                return service
            self.stop()
            if "Address already in use" not in service.log.read_text(errors="replace"):
                break
        raise ServiceError(f"the service did not start:\n{tail(self._state / LOG)}")

    def stop(self) -> None:
        """Stop the service, and make sure that nothing of it is left.

        Raises:
            ServiceError: something was left, or it did not stop in time; that has been killed.
        """
        if self._process is None:
            return
        process, self._process = self._process, None
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_LIMIT)
        in_time = process.poll() is not None
        process.kill()
        process.wait()
        lost = supervisor.children()
        supervisor.kill_descendants()
        if lost or not in_time:
            raise ServiceError(f"the service left processes, now killed: {lost or process.pid}")


def _free_ports() -> tuple[int, int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
    ):
        return one.getsockname()[1], two.getsockname()[1]


def _spawn(service: Service) -> subprocess.Popen[bytes]:
    # Nothing of the caller's own configuration: the demo shows the embedded default.
    env = {
        key: value for key, value in os.environ.items() if not key.startswith(("OS_", "FLOWER_"))
    }
    env |= {"GANTRY_API_PORT": str(service.api_port), "FLOWER_PORT": str(service.flower_port)}
    env["GANTRY_API_HOST"] = "127.0.0.1"
    # Should the demo be killed, the kernel tells the service to stop.
    command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "deploy.run"]
    with service.log.open("wb") as log:
        return subprocess.Popen(
            [*command, "--state", str(service.state), "--config", str(service.state / "demo.conf")],
            cwd=run.ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _came_up(process: subprocess.Popen[bytes], service: Service) -> bool:
    end = time.monotonic() + 2 * run.START_LIMIT
    while process.poll() is None and time.monotonic() < end:
        if run.UP in service.log.read_text(errors="replace"):
            return True
        time.sleep(0.1)
    return False


def tail(log: Path, lines: int = 40) -> str:
    """The last lines of a log."""
    return "\n".join(
        f"    {line}" for line in log.read_text(errors="replace").splitlines()[-lines:]
    )
