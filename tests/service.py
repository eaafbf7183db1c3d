"""A whole Gantry for one test: a private broker, a state directory, and processes out of the Procfile."""

import atexit
import contextlib
import functools
import json
import os
import pathlib
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import psutil
import urllib3

from deploy import broker
from tests import rabbitmq, web

ROOT = pathlib.Path(__file__).parent.parent
#: Seconds that a process may take to come up or to go down on a busy machine.
PATIENCE = 60

T = TypeVar("T")


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(look: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """Look until there is something to see, and return it; fail with `what` after `seconds`."""
    end = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)
    return seen


def end(doomed: Sequence[psutil.Process]) -> None:
    """kill -9 of processes; when this returns, nothing of them runs any more.

    They need not be children of the test. Whoever adopts orphans may take seconds to notice that one is over,
    and until then its number is in use: so this looks at the processes themselves, not at their numbers.
    """
    with contextlib.ExitStack() as stack:
        watched = []
        for one in doomed:
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                watched.append(os.pidfd_open(one.pid))
                stack.callback(os.close, watched[-1])
                one.kill()
        until = time.monotonic() + PATIENCE
        for handle in watched:
            ending = select.poll()  # `select.select` knows no descriptor beyond 1023
            ending.register(handle, select.POLLIN)
            seen = ending.poll(max(0.0, until - time.monotonic()) * 1000)
            assert seen, f"a process lives {PATIENCE} s after kill -9"


def _sync(environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "images.commands.main", "db", "sync"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


@functools.cache
def empty_database() -> pathlib.Path:
    """What `gantry db sync` makes, which takes longer than to start a server; gone when the tests end."""
    room = tempfile.mkdtemp(prefix="empty-")
    atexit.register(shutil.rmtree, room)
    _sync(Service(pathlib.Path(room)).environment)
    return pathlib.Path(room) / "gantry.sqlite"


def request(
    http: urllib3.PoolManager, method: str, url: str, body: Any, headers: dict[str, str]
) -> urllib3.BaseHTTPResponse:
    """One request; a dict or list goes as JSON, bytes and files as they are."""
    if isinstance(body, dict | list):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    elif body is not None:
        headers.setdefault("Content-Type", "application/octet-stream")
    return http.request(method, url, body=body, headers=headers)


class Service:
    """Processes of the Procfile on a state directory of their own; each may be stopped and killed."""

    def __init__(
        self,
        state: pathlib.Path,
        server: str = "gunicorn",
        options: str = "",
        bus: str = "redis",
    ) -> None:
        self.state = state
        self.port, self.flower_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        #: Sent with every request that has no token of its own.
        self.token = ""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._server = server
        extra = state / "test.conf"
        extra.write_text(f"{web.LOOPBACK}\n{options}\n")
        self.environment = os.environ | {
            "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
            "OS_GLANCE_CONFIG_FILES": f"{ROOT / 'deploy/gantry.conf'};{extra}",
            "OS_GANTRY__STATE_PATH": str(state),
            "GANTRY_API_PORT": str(self.port),
            "FLOWER_PORT": str(self.flower_port),
            "FLOWER_BASIC_AUTH": "watcher:secret",
            "PYTHONWARNINGS": "ignore",
        }
        #: The broker where it is RabbitMQ; else it is the embedded default's Redis.
        self.rabbitmq = rabbitmq.RabbitMQ(state / "rabbitmq") if bus == "rabbitmq" else None
        if self.rabbitmq:
            self.environment["OS_GANTRY__BROKER_URL"] = self.rabbitmq.url
        self._http = urllib3.PoolManager(retries=False, timeout=PATIENCE, maxsize=16)

    # Processes

    def command(self, name: str) -> str:
        """The Procfile's line; for the API under uWSGI, the one that the documentation gives."""
        if name == "api" and self._server == "uwsgi":
            return "uwsgi --ini deploy/uwsgi.ini"
        lines = (ROOT / "Procfile").read_text().splitlines()
        return dict(line.split(": ", 1) for line in lines if ": " in line)[name]

    def start(self, *names: str) -> None:
        """Start processes by their names in the Procfile, and wait until they do their work."""
        for name in names:
            if name == "broker":
                self._start_broker()
            else:
                self._spawn(name, ["sh", "-c", f"exec {self.command(name)}"])
        if "api" in names:
            wait_for(self._api_answers, "the API to answer")
        if "worker" in names:
            wait_for(lambda: b" ready." in self.log("worker"), "the worker to be ready")

    def _start_broker(self) -> None:
        if self.rabbitmq:
            self._spawn("broker", self.rabbitmq.command())
            wait_for(self.rabbitmq.answers, "RabbitMQ to answer")
        else:
            self._spawn("broker", broker.command(self.state))
            answers = functools.partial(broker.answers, broker.socket_path(self.state))
            wait_for(answers, "the broker to answer")

    def start_worker(self, name: str, *options: str) -> None:
        """Start one more worker under a name of its own, its node's too; later options win."""
        line = self.command("worker").replace("worker@%h", f"{name}@%h")
        self._spawn(name, ["sh", "-c", f"exec {line} {shlex.join(options)}"])
        wait_for(lambda: b" ready." in self.log(name), f"{name} to be ready")

    def gantry(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the operators' commands."""
        command = [sys.executable, "-m", "images.commands.main", *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, check=False, capture_output=True, text=True
        )

    def sync(self) -> None:
        """Make the tables; those of the embedded default's SQLite have been made once, and are copied."""
        if self._is_default:
            shutil.copy(empty_database(), self.state / "gantry.sqlite")
        else:
            _sync(self.environment)

    @property
    def _is_default(self) -> bool:
        """Whether the database is the embedded default's, and is not there yet."""
        files = self.environment["OS_GLANCE_CONFIG_FILES"].split(";")
        has_other = "OS_DATABASE__CONNECTION" in self.environment or any(
            "[database]" in pathlib.Path(file).read_text() for file in files[1:]
        )
        return not has_other and not (self.state / "gantry.sqlite").exists()

    def kill(self, name: str) -> None:
        """kill -9 of every process that `name` stands for, children first seen included."""
        if name == "broker" and self.rabbitmq:
            # RabbitMQ 3.10 never elects a leader for a queue that was made half a second before.
            time.sleep(2)
        self._kill(name)

    def _kill(self, name: str) -> None:
        family = self.family(name)
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):  # what is left of one that died by itself
            os.killpg(process.pid, signal.SIGKILL)
        end(family)
        process.wait(PATIENCE)

    def stop(self, name: str) -> None:
        """SIGTERM, and kill -9 for what does not go."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop_all(self) -> None:
        """End everything that was started, the broker last."""
        for name in sorted(self.processes, key=lambda one: one == "broker"):
            self._kill(name)

    def family(self, name: str) -> list[psutil.Process]:
        """A process and its descendants; none where it has died."""
        try:
            top = psutil.Process(self.processes[name].pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, name: str, what: signal.Signals) -> None:
        """Send a signal to a process and all its descendants."""
        for one in self.family(name):
            one.send_signal(what)

    def log(self, name: str) -> bytes:
        """What a process has said so far."""
        return (self.state / f"{name}.log").read_bytes()

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self.state / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                # Tests that are killed themselves must not leave a service running.
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _api_answers(self) -> bool:
        assert self.processes["api"].poll() is None, self.log("api").decode(errors="replace")
        try:
            return self._http.request("GET", f"{self.url}/healthcheck").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    # Requests

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """One request; a dict or list goes as JSON, bytes and files as they are."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            named.setdefault("X-Auth-Token", self.token)
        return request(self._http, method, self.url + path, body, named)

    def create(self, **fields: Any) -> str:
        """A new image's id."""
        made = self.ask("POST", "/v2/images", {"container_format": "bare"} | fields)
        assert made.status == 201, made.data
        image_id: str = made.json()["id"]
        return image_id

    def image(self, image_id: str) -> dict[str, Any]:
        """An image's record."""
        record: dict[str, Any] = self.ask("GET", f"/v2/images/{image_id}").json()
        return record

    def task(self, image_id: str) -> dict[str, Any]:
        """An image's newest task."""
        tasks: list[dict[str, Any]] = self.ask("GET", f"/v2/images/{image_id}/tasks").json()[
            "tasks"
        ]
        return tasks[0]

    def stage(self, image_id: str, data: Any) -> None:
        """PUT /stage."""
        answer = self.ask("PUT", f"/v2/images/{image_id}/stage", data)
        assert answer.status == 204, answer.data

    def begin_import(self, image_id: str, method: str = "glance-direct", **fields: Any) -> None:
        """POST /import, which must be answered 202."""
        body = {"method": {"name": method} | fields}
        answer = self.ask("POST", f"/v2/images/{image_id}/import", body)
        assert answer.status == 202, answer.data

    def wait_for_task(self, image_id: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """The image's newest task once it has ended."""

        def ended() -> dict[str, Any] | None:
            task = self.task(image_id)
            return task if task["status"] in ("success", "failure") else None

        return wait_for(ended, f"the import of {image_id} to end", seconds)

    def left_over(self) -> list[str]:
        """Names of all files in staging and in the store."""
        found: list[str] = []
        for room in ("staging", "images"):
            if (self.state / room).exists():
                found += [f"{room}/{file.name}" for file in (self.state / room).iterdir()]
        return sorted(found)


@contextlib.contextmanager
def running(
    state: pathlib.Path,
    *names: str,
    server: str = "gunicorn",
    options: str = "",
    bus: str = "redis",
) -> Iterator[Service]:
    """A service with these processes and a broker; nothing of it is left when the block ends."""
    service = Service(state, server, options, bus)
    try:
        service.sync()
        service.start("broker", *names)
        yield service
    finally:
        service.stop_all()
