"""The imports of a round: every method, with and without conversion, into one store and into two."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import urllib3

from tests import service
from tests.chaos import cluster, material, records

#: Bytes a second of a download that is to be met in the middle.
SLOW = 6 << 20
#: Seconds that the API may take to answer 202, whatever is away.
_PROMPT = 6


@dataclasses.dataclass(slots=True)
class Import:
    """An import that was answered 202."""

    kind: str
    image_id: str
    task_id: str
    expected: material.Material
    #: File stores that must hold it in the end.
    stores: tuple[str, ...]
    #: Rows in image_locations that it must have in the end.
    locations: int
    #: It was deleted on purpose.
    deleted: bool = False
    #: Inode of its file in each store, when it was first seen to have ended well.
    inodes: dict[str, int] = dataclasses.field(default_factory=dict)


class Load:
    """Begins imports in a service; `rate` is that of its slow downloads."""

    def __init__(
        self, whole: cluster.Cluster, shelf: material.Shelf, source: str, rate: int = SLOW
    ) -> None:
        self._whole = whole
        self._shelf = shelf
        self._source = source
        self._rate = rate
        self._origin = ""
        self._makers: dict[str, Callable[[], Import]] = {
            "download": self._download,
            "rangeless": self._rangeless,
            "direct": self._direct,
            "convert": self._convert,
            "copy": self._copy,
            "legacy": self._legacy,
            "location": self._location,
            "region": self._region,
        }

    def begin(self, kind: str, watch: records.Records) -> Import:
        """POST, and the answer 202."""
        made = self._makers[kind]()
        watch.follow(image_id=made.image_id, task_id=made.task_id)
        return made

    @property
    def origin(self) -> str:
        """An image that is there all the time; made when it is first asked for."""
        if not self._origin:
            self._origin = self._uploaded(self._shelf.small)
        return self._origin

    # One for each kind

    def _download(self) -> Import:
        return self._from_web(self._shelf.raw, f"?rate={self._rate}", ("fast",))

    def _rangeless(self) -> Import:
        query = f"?rate={self._rate}&range=no"
        return self._from_web(self._shelf.small, query, ("cheap",), "rangeless")

    def _convert(self) -> Import:
        return self._from_web(self._shelf.qcow2, "", cluster.STORES, "convert")

    def _direct(self) -> Import:
        image_id = self._whole.create(disk_format="raw")
        with self._shelf.raw.file.open("rb") as data:
            self._whole.stage(image_id, data)
        body = {"method": {"name": "glance-direct"}, "stores": list(cluster.STORES)}
        return self._import("direct", image_id, body, self._shelf.raw, cluster.STORES)

    def _copy(self) -> Import:
        image_id = self._uploaded(self._shelf.raw)
        body = {"method": {"name": "copy-image"}, "stores": ["cheap"]}
        return self._import("copy", image_id, body, self._shelf.raw, cluster.STORES)

    def _region(self) -> Import:
        method = {
            "name": "glance-download",
            "glance_region": "self",
            "glance_image_id": self.origin,
            "glance_service_interface": "public",
        }
        image_id = self._whole.create(disk_format="raw")
        body = {"method": method, "stores": ["fast"]}
        return self._import("region", image_id, body, self._shelf.small, ("fast",))

    def _legacy(self) -> Import:
        document = {
            "import_from": f"{self._source}/small?rate={self._rate}",
            "import_from_format": "raw",
            "image_properties": {"disk_format": "raw", "container_format": "bare"},
        }
        answer = self._whole.ask("POST", "/v2/tasks", {"type": "import", "input": document})
        assert answer.status == 201, answer.data
        task_id = answer.json()["id"]
        return Import("legacy", "", task_id, self._shelf.small, ("fast",), 1)

    def _location(self) -> Import:
        image_id = self._whole.create(disk_format="raw")
        small = self._shelf.small
        said = {"os_hash_algo": "sha512", "os_hash_value": small.sha512}
        body = {"url": f"{self._source}/small?rate={self._rate}", "validation_data": said}
        self._accepted(f"/v2/images/{image_id}/locations", body)
        return Import("location", image_id, self._task(image_id), small, (), 1)

    # How

    def _from_web(
        self,
        what: material.Material,
        query: str,
        stores: tuple[str, ...],
        kind: str = "download",
    ) -> Import:
        image_id = self._whole.create(disk_format=what.disk_format)
        uri = f"{self._source}/{what.file.name}{query}"
        body = {"method": {"name": "web-download", "uri": uri}, "stores": list(stores)}
        return self._import(kind, image_id, body, what, stores)

    def _import(
        self,
        kind: str,
        image_id: str,
        body: dict[str, Any],
        what: material.Material,
        stores: tuple[str, ...],
    ) -> Import:
        self._accepted(f"/v2/images/{image_id}/import", body)
        return Import(kind, image_id, self._task(image_id), what, stores, len(stores))

    def _accepted(self, path: str, body: dict[str, Any]) -> None:
        began = time.monotonic()
        answer = self._whole.ask("POST", path, body)
        assert answer.status == 202, answer.data
        took = time.monotonic() - began
        assert took < _PROMPT, f"the 202 took {took:.1f} s"

    def _task(self, image_id: str) -> str:
        task_id: str = self._whole.task(image_id)["id"]
        return task_id

    def _uploaded(self, what: material.Material) -> str:
        image_id = self._whole.create(disk_format=what.disk_format)
        with what.file.open("rb") as data:
            answer = self._whole.ask("PUT", f"/v2/images/{image_id}/file", data)
        assert answer.status == 204, answer.data
        return image_id


KINDS = ("download", "rangeless", "direct", "convert", "copy", "legacy", "location", "region")


def patiently(whole: cluster.Cluster, method: str, path: str) -> urllib3.BaseHTTPResponse:
    """The answer of an API that may have been killed and may lack its database for a moment."""

    def asked() -> urllib3.BaseHTTPResponse | None:
        try:
            answer = whole.ask(method, path)
        except urllib3.exceptions.HTTPError:
            return None
        return None if answer.status == 503 else answer

    return service.wait_for(asked, f"an answer to {method} {path}")
