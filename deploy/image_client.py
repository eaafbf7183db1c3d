"""A small client of the Images API in plain HTTP, of the standard library only."""

import base64
import concurrent.futures
import hashlib
import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

_CHUNK = 4 * 1024 * 1024

#: Called with the bytes done and the bytes in all.
Watch = Callable[[int, int], None]


class AnswerError(RuntimeError):
    """The service answered something else than expected; the text holds its answer."""


class Digests(NamedTuple):
    """What tells one image's bytes from another's."""

    md5: str
    sha512: str
    size: int


class _Digester:
    """Both digests of a stream, each in a thread of its own while the next chunk is read."""

    def __init__(self) -> None:
        self._hashes = (hashlib.md5(usedforsecurity=False), hashlib.sha512())
        self._threads = concurrent.futures.ThreadPoolExecutor(len(self._hashes))
        self._running: list[concurrent.futures.Future[None]] = []
        self.size = 0

    def update(self, chunk: bytes) -> None:
        concurrent.futures.wait(self._running)
        self._running = [self._threads.submit(one.update, chunk) for one in self._hashes]
        self.size += len(chunk)

    def digests(self) -> Digests:
        self._threads.shutdown()
        md5, sha512 = (one.hexdigest() for one in self._hashes)
        return Digests(md5, sha512, self.size)


def digests_of(path: Path) -> Digests:
    """Digests of a file."""
    digester = _Digester()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digester.update(chunk)
    return digester.digests()


class Client:
    """Speaks to a service on a port of loopback."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._port = port

    def create(self, name: str, disk_format: str) -> str:
        """POST /v2/images; returns the image's id."""
        record = {"name": name, "disk_format": disk_format, "container_format": "bare"}
        _, body = self.ask("POST", "/v2/images", json.dumps(record).encode(), expect=201)
        image_id: str = json.loads(body)["id"]
        return image_id

    def image(self, image_id: str) -> dict[str, Any]:
        """GET /v2/images/{id}."""
        record: dict[str, Any] = json.loads(self.ask("GET", f"/v2/images/{image_id}")[1])
        return record

    def task(self, image_id: str) -> dict[str, Any]:
        """The one task of GET /v2/images/{id}/tasks."""
        tasks: list[dict[str, Any]] = json.loads(
            self.ask("GET", f"/v2/images/{image_id}/tasks")[1]
        )["tasks"]
        return tasks[0]

    def begin_import(self, image_id: str, method: dict[str, str]) -> None:
        """POST /v2/images/{id}/import."""
        body = json.dumps({"method": method}).encode()
        self.ask("POST", f"/v2/images/{image_id}/import", body, expect=202)

    def stage(self, image_id: str, path: Path, watch: Watch) -> None:
        """PUT /v2/images/{id}/stage, from a file."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(path.stat().st_size),
        }
        connection.request("PUT", f"/v2/images/{image_id}/stage", _watched(path, watch), headers)
        _read(connection, expect=204)

    def download(self, image_id: str, watch: Watch) -> Digests:
        """GET /v2/images/{id}/file; returns the digests of what came.

        Raises:
            AnswerError: no data, or fewer than announced.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("GET", f"/v2/images/{image_id}/file")
        answer = connection.getresponse()
        total = int(answer.headers.get("Content-Length", "0"))
        digester = _Digester()
        while chunk := answer.read(_CHUNK):
            digester.update(chunk)
            watch(digester.size, total)
        connection.close()
        if answer.status != http.HTTPStatus.OK or digester.size != total:
            raise AnswerError(
                f"the download answered {answer.status} and {digester.size} bytes of {total}"
            )
        return digester.digests()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        expect: int | None = 200,
        login: tuple[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One request; returns status and body.

        Raises:
            AnswerError: the status is not `expect` (None: any will do).
        """
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if login:
            headers["Authorization"] = (
                "Basic " + base64.b64encode(":".join(login).encode()).decode()
            )
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        connection.request(method, path, body, headers)
        return _read(connection, expect)


def _read(connection: http.client.HTTPConnection, expect: int | None) -> tuple[int, bytes]:
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    if expect is not None and answer.status != expect:
        text = body.decode(errors="replace")
        raise AnswerError(f"the service answered {answer.status}, not {expect}: {text}")
    return answer.status, body


def _watched(path: Path, watch: Watch) -> Iterator[bytes]:
    done, total = 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
            done += len(chunk)
            watch(done, total)
