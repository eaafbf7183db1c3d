"""Passwords and tokens are planted wherever there are some, and looked for wherever there must be none."""

import base64
import contextlib
import json
import pathlib
import socket
import threading
from collections.abc import Iterator

import pytest
import redis
import urllib3

from deploy import broker
from tests import service, web
from tests.integration import databases

URL_USER, URL_PASSWORD, TOKEN = "planted-user", "planted-password", "planted-token"
DATABASE, BROKER = "planted-database", "planted-broker"
DATA = bytes(range(256)) * 256
OPTIONS = """
[DEFAULT]
debug = true
[gantry]
sweep_seconds = 1
tries = 2
retry_pause = 0.1
"""
#: Pages of Flower that show anything of jobs, workers or the broker.
PAGES = ("/", "/workers", "/tasks", "/broker", "/api/workers?refresh=1", "/api/tasks", "/metrics")


class Tap:
    """Stands between RabbitMQ and its clients, and keeps all that is said."""

    def __init__(self, port: int) -> None:
        self.heard = bytearray()
        self._to = port
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while said := one.recv(1 << 16):
                self.heard += said
                other.sendall(said)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End all; what the service says then is heard by nobody."""
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            one.close()


@pytest.fixture(params=["redis", "rabbitmq"])
def bus(request: pytest.FixtureRequest) -> str:
    """Both brokers."""
    name: str = request.param
    return name


@contextlib.contextmanager
def overheard(whole: service.Service) -> Iterator[bytearray]:
    """What the broker is told and says, from now on; its clients must be started within the block."""
    if whole.rabbitmq:
        tap = Tap(whole.rabbitmq.port)
        port = f":{whole.rabbitmq.port}/"
        whole.environment["OS_GANTRY__BROKER_URL"] = whole.rabbitmq.url.replace(
            port, f":{tap.port}/"
        )
        try:
            yield tap.heard
        finally:
            tap.close()
        return
    path = broker.socket_path(whole.state)
    with redis.Redis(unix_socket_path=str(path)) as client:
        client.config_set("requirepass", BROKER)
        whole.environment["OS_GANTRY__BROKER_URL"] = f"redis+socket://:{BROKER}@{path}"
    heard = bytearray()
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(path))
        monitor.sendall(f"AUTH {BROKER}\r\nMONITOR\r\n".encode())

        def listen() -> None:
            with contextlib.suppress(OSError):
                while said := monitor.recv(1 << 16):
                    heard.extend(said)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        try:
            yield heard
        finally:
            monitor.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def ask_flower(whole: service.Service, path: str) -> bytes:
    known = base64.b64encode(whole.environment["FLOWER_BASIC_AUTH"].encode()).decode()
    url = f"http://127.0.0.1:{whole.flower_port}{path}"
    return urllib3.request("GET", url, headers={"Authorization": f"Basic {known}"}, retries=20).data


def run_imports(whole: service.Service) -> list[str]:
    """One that ends well, one that fails at once, one that fails again and again, one that is cut."""
    answers = {
        f"/good?token={TOKEN}": web.whole(DATA),
        f"/cut?token={TOKEN}": web.cut(DATA, len(DATA) * 2),
        f"/away?token={TOKEN}": web.redirect(f"http://{URL_USER}:{URL_PASSWORD}@127.0.0.1:1/"),
    }
    images = []
    with web.serving(answers) as url:
        known = url.replace("//", f"//{URL_USER}:{URL_PASSWORD}@")
        for path, ends in (
            ("good", "success"),
            ("cut", "failure"),
            ("away", "failure"),
            ("no", "failure"),
        ):
            image_id = whole.create(disk_format="raw", name=path)
            uri = f"{known}/{path}?token={TOKEN}"
            whole.begin_import(image_id, "web-download", uri=uri)
            assert whole.wait_for_task(image_id)["status"] == ends, path
            images.append(image_id)
    return images


def answers_of(whole: service.Service, images: list[str]) -> bytes:
    """All that the API says of these images; of their tasks, what is not the owner's own input."""
    said = [whole.ask("GET", "/v2/images").data]
    for image_id in images:
        said.append(whole.ask("GET", f"/v2/images/{image_id}").data)
        task = whole.task(image_id)
        task.pop("input", None)
        said.append(json.dumps(task).encode())
    return b"\n".join(said)


def test_no_secret_is_anywhere(bus: str, tmp_path: pathlib.Path) -> None:
    with databases.postgresql() as url, contextlib.ExitStack() as stack:
        whole = service.Service(tmp_path, options=OPTIONS, bus=bus)
        stack.callback(whole.stop_all)
        whole.environment["OS_DATABASE__CONNECTION"] = url.replace(
            "gantry@/", f"gantry:{DATABASE}@/"
        )
        whole.environment["GANTRY_LOG_LEVEL"] = "DEBUG"
        whole.sync()
        whole.start("broker")
        heard = stack.enter_context(overheard(whole))
        whole.start("api", "worker", "beat", "flower")
        ask_flower(whole, "/")  # waits until it is there, to hear of every job
        images = run_imports(whole)
        places = {
            "the API": answers_of(whole, images),
            **{f"Flower's {page}": ask_flower(whole, page) for page in PAGES},
            **{f"the log of {name}": whole.log(name) for name in whole.processes},
        }
        password = whole.rabbitmq.password if whole.rabbitmq else BROKER
        assert b"run-import" in heard
        assert b"run-import" in places["Flower's /api/tasks"]
        assert b"DEBUG" in places["the log of worker"]
        for secret in (URL_USER, URL_PASSWORD, TOKEN, DATABASE):
            assert secret.encode() not in heard, f"{secret} went through the broker"
        for secret in (URL_USER, URL_PASSWORD, TOKEN, DATABASE, password):
            for place, said in places.items():
                assert secret.encode() not in said, f"{secret} is in {place}"
