"""A client that costs little beside a service: the kernel moves the bytes of images."""

import http.client
import json
import pathlib
import socket
import time
import urllib.parse
from typing import Any

import urllib3

from tests.bench.trouble import Trouble

#: Seconds for one answer: an upload may have to wait for others.
_PATIENCE = 900.0
#: Seconds between two looks at an image that is being imported: more often would be work for the service.
_LOOK = 0.1
_MIB = 1 << 20
#: Tries of a DELETE: upstream may answer 500 right after an import, whose task still writes.
_DELETES = 5

Image = dict[str, Any]


class Client:
    """One user's requests to one service."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url, token
        where = urllib.parse.urlsplit(url)
        self._address = (where.hostname or "", where.port or 80)
        self._http = urllib3.PoolManager(retries=False, timeout=_PATIENCE, maxsize=32)

    # Documents

    def ask(self, method: str, path: str, body: Any = None) -> urllib3.BaseHTTPResponse:
        """One request, whatever is answered."""
        headers = {"X-Auth-Token": self.token}
        return self._http.request(method, self.url + path, json=body, headers=headers)

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """The document that a request brings.

        Raises:
            Trouble: it was refused.
        """
        answer = self.ask(method, path, body)
        _require(answer.status, f"{method} {path}", answer.data)
        return answer.json() if answer.data else None

    def create(self, name: str = "measured", **fields: Any) -> str:
        """The id of a new raw image."""
        kind = {"disk_format": "raw", "container_format": "bare"}
        made: Image = self.do("POST", "/v2/images", {"name": name} | kind | fields)
        return str(made["id"])

    def delete(self, image_id: str) -> None:
        """Remove an image, whether it is still there or not."""
        for _ in range(_DELETES):
            if self.ask("DELETE", f"/v2/images/{image_id}").status in (204, 404):
                return
            time.sleep(1)
        raise Trouble(f"image {image_id} cannot be deleted")

    def begin_import(self, image_id: str, **method: str) -> None:
        """Ask for an import; `method` has its name and, for a download, the `uri`."""
        self.do("POST", f"/v2/images/{image_id}/import", {"method": method})

    def wait_active(self, image_id: str) -> Image:
        """An image's record once its import has ended well."""
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            image: Image = self.do("GET", f"/v2/images/{image_id}")
            if is_ready(image):
                return image
            time.sleep(_LOOK)
        raise Trouble(f"image {image_id} is not active after {_PATIENCE:.0f} s")

    # Bytes

    def upload(self, path: str, file: pathlib.Path, size: int) -> None:
        """PUT the first `size` bytes of a file."""
        length = f"Content-Length: {size}\r\nContent-Type: application/octet-stream\r\n"
        with self._connected("PUT", path, length) as connection, file.open("rb") as source:
            try:
                connection.sendfile(source, count=size)
                answer = _answer(connection, "PUT")
                _require(answer.status, f"PUT {path}", answer.read())
            except (OSError, http.client.HTTPException) as error:
                raise Trouble(f"PUT {path}: the connection broke: {error!r}") from error

    def download(self, path: str) -> int:
        """GET a body and throw it away; its size."""
        room, size = bytearray(_MIB), 0
        with self._connected("GET", path) as connection:
            answer = _answer(connection, "GET")
            _require(answer.status, f"GET {path}", b"")
            while got := answer.readinto(room):
                size += got
        return size

    def _connected(self, method: str, path: str, fields: str = "") -> socket.socket:
        connection = socket.create_connection(self._address, timeout=_PATIENCE)
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._address[0]}\r\nConnection: close\r\n"
        connection.sendall(f"{head}X-Auth-Token: {self.token}\r\n{fields}\r\n".encode())
        return connection


def is_ready(image: Image) -> bool:
    """Whether an image's import is over.

    Raises:
        Trouble: it has failed.
    """
    if image["status"] in ("killed", "deleted") or image.get("os_glance_failed_import"):
        raise Trouble(f"the import of {image['id']} failed: {json.dumps(image)}")
    return image["status"] == "active" and not image.get("os_glance_importing_to_stores")


def _answer(connection: socket.socket, method: str) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(connection, method=method)
    answer.begin()
    return answer


def _require(status: int, what: str, body: bytes) -> None:
    if not 200 <= status < 300:
        raise Trouble(f"{what}: {status} {body[:300]!r}")
