"""SIGHUP to API and workers: a new hashing_algorithm and log level, and nothing that is under way is cut."""

import functools
import hashlib
import http.client
import http.server
import os
import pathlib
import signal
import threading
import urllib.parse
from collections.abc import Iterator

import pytest

from tests import service, web

DATA = os.urandom(1 << 20)
#: More than the sockets' buffers hold.
LARGE = os.urandom(24 << 20)
READ_AGAIN = b"The configuration was read again; hashing_algorithm is "
REFUSED = b"The configuration stays as it was"
SERVICES = ("api", "worker", "beat")


@pytest.fixture(params=["gunicorn", "uwsgi"])
def running(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[service.Service]:
    with service.running(tmp_path, *SERVICES, server=request.param) as whole:
        yield whole


def configure(running: service.Service, lines: str) -> None:
    """Change the file, and tell the first process of each service, as systemd does."""
    file = running.state / "test.conf"
    base = file.read_text().partition("[DEFAULT]")[0]
    file.write_text(f"{base}[DEFAULT]\n{lines}\n")
    for name in SERVICES:
        running.processes[name].send_signal(signal.SIGHUP)


def wait_for_lines(running: service.Service, line: bytes) -> None:
    """Wait until each service has said it; the API's processes look before each request."""

    def said(name: str) -> bool:
        running.ask("GET", "/v2/images")
        return line in running.log(name)

    for name in SERVICES:
        service.wait_for(functools.partial(said, name), f"{name} to say {line!r}")


def uploaded(running: service.Service) -> str:
    """The algorithm of a new image's hash, which is right."""
    image_id = running.create(disk_format="raw")
    assert running.ask("PUT", f"/v2/images/{image_id}/file", DATA).status == 204
    return algorithm_of(running, image_id)


def algorithm_of(running: service.Service, image_id: str) -> str:
    record = running.image(image_id)
    assert record["status"] == "active"
    algorithm = str(record["os_hash_algo"])
    assert record["os_hash_value"] == hashlib.new(algorithm, DATA).hexdigest()
    return algorithm


def imported(running: service.Service) -> str:
    image_id = running.create(disk_format="raw")
    running.stage(image_id, DATA)
    running.begin_import(image_id)
    assert running.wait_for_task(image_id)["status"] == "success"
    return algorithm_of(running, image_id)


class Held:
    """A download of which an import gets half, and the rest when the test says so."""

    def __init__(self) -> None:
        self.asked, self.release = threading.Event(), threading.Event()

    def __call__(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(DATA)))
        handler.end_headers()
        handler.wfile.write(DATA[: len(DATA) // 2])
        self.asked.set()
        self.release.wait(service.PATIENCE)
        handler.wfile.write(DATA[len(DATA) // 2 :])


def test_r18_sighup_takes_a_new_algorithm(running: service.Service) -> None:
    old = running.create(disk_format="raw")
    assert running.ask("PUT", f"/v2/images/{old}/file", DATA).status == 204
    large = running.create(disk_format="raw")
    assert running.ask("PUT", f"/v2/images/{large}/file", LARGE).status == 204
    before = {name: {one.pid for one in running.family(name)} for name in SERVICES}
    held = Held()
    line = http.client.HTTPConnection(urllib.parse.urlsplit(running.url).netloc)
    with web.serving({"/held": held}) as source:
        slow = running.create(disk_format="raw")
        running.begin_import(slow, "web-download", uri=f"{source}/held")
        assert held.asked.wait(service.PATIENCE)
        line.request("GET", f"/v2/images/{large}/file")
        download = line.getresponse()
        start = download.read(1 << 16)

        configure(running, "hashing_algorithm = sha256\ndebug = true")
        wait_for_lines(running, READ_AGAIN + b"sha256")
        held.release.set()
        assert running.wait_for_task(slow)["status"] == "success"
    assert start + download.read() == LARGE
    line.close()
    algorithm_of(running, slow)
    assert uploaded(running) == "sha256"
    assert imported(running) == "sha256"
    assert algorithm_of(running, old) == "sha512"
    assert {name: {one.pid for one in running.family(name)} for name in SERVICES} == before

    # A value that cannot be changes nothing.
    configure(running, "hashing_algorithm = nonsense")
    wait_for_lines(running, REFUSED)
    assert (uploaded(running), imported(running)) == ("sha256", "sha256")


def test_r18_sighup_takes_a_new_log_level(running: service.Service) -> None:
    configure(running, "debug = true")
    wait_for_lines(running, READ_AGAIN + b"sha512")
    uploaded(running)
    service.wait_for(lambda: b"DEBUG" in running.log("api"), "a line for debugging")
