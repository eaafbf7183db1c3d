"""Images that a cache is to keep, a server that they lie on, and a look at what is kept."""

import hashlib
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from images import cache
from tests import web
from tests.functional.conftest import Api

DATA = os.urandom(3 << 20) + b"the end"
FORMATS = {"disk_format": "raw", "container_format": "bare"}
SHOWN = "show_multiple_locations = true\n"
ALLOW = web.LOOPBACK


class Shop:
    """A web server that images lie on; what it was asked is written down."""

    def __init__(self) -> None:
        self.answers: dict[str, web.Answer] = {}
        self.url = ""

    def offer(self, name: str, data: bytes) -> web.Ranged:
        """Have it give out some data."""
        self.answers[f"/{name}"] = offered = web.Ranged(data)
        return offered


def placed(api: Api, shop: Shop, name: str = "one", data: bytes = DATA, **fields: Any) -> str:
    """An active image whose bytes are at the shop."""
    shop.answers.setdefault(f"/{name}", web.whole(data))
    known = {
        "checksum": hashlib.md5(data).hexdigest(),  # noqa: S324 - Glance's checksum
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
    }
    image_id = api.create(**FORMATS, **fields)
    place = {"url": f"{shop.url}/{name}", "metadata": {}, "validation_data": known}
    answer = api.patch(image_id, {"op": "add", "path": "/locations/-", "value": place})
    assert answer.status_code == 200, answer.text
    return image_id


def download(api: Api, image_id: str, **headers: str) -> Any:
    return api.ask("GET", f"/v2/images/{image_id}/file", headers=headers)


class Begun:
    """A download of which some pieces have come."""

    def __init__(self, api: Api, image_id: str, pieces: int = 1) -> None:
        answer: Any = api.client.open(f"/v2/images/{image_id}/file")
        self._answer = answer
        self._pieces: Iterator[bytes] = iter(answer.response)
        self._data = b"".join(next(self._pieces) for _ in range(pieces))
        assert len(self._data) < len(DATA)

    def finish(self) -> bytes:
        """The rest comes; all of it."""
        self._data += b"".join(self._pieces)
        self.stop()
        return self._data

    def stop(self) -> None:
        """The client goes away."""
        self._answer.close()


def said(answer: Any) -> dict[str, str]:
    """An answer's headers but the request's id."""
    return {k: v for k, v in answer.headers.items() if k.lower() != "x-openstack-request-id"}


def names(room: pathlib.Path) -> list[str]:
    """All files in the cache but its locks."""
    found = (file for file in room.rglob("*") if file.is_file() and file.name[0] != ".")
    return sorted(str(file.relative_to(room)) for file in found)


def listed() -> list[tuple[str, int, int]]:
    """What the books have: image, bytes, hits."""
    return [(row.image_id, row.size, row.hits) for row in cache.entries()]
