"""Clients that bring images in all the time, and remember what they were told of each."""

import contextlib
import dataclasses
import pathlib
import random
import subprocess
import threading
from collections.abc import Iterator

import urllib3

from tests import service
from tests.chaos import material

#: MiB of the files that they bring; those of qcow2 are what a guest would see.
_RAW = (1, 2, 3, 5, 8, 13, 24, 64)
_QCOW2 = (4, 16, 48)
#: Bytes a second of a slow download.
_SLOW = 10 << 20
#: The share of images whose download is slow.
_SLOWNESS = 0.5
#: How each client brings its images: two of them beside each other where it says so twice.
KINDS = ("upload", "upload", "direct", "direct", "download", "convert")


def make_shelf(directory: pathlib.Path, seed: int) -> list[material.Material]:
    """Files of contents that the seed alone decides."""
    dice, made = random.Random(seed), []  # noqa: S311
    for number, mib in enumerate(_RAW + _QCOW2):
        plain = directory / f"{number}.raw"
        plain.write_bytes(dice.randbytes(mib << 20))
        stored = material._raw(plain, plain)
        if number >= len(_RAW):
            packed = directory / f"{number}.qcow2"
            command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(plain), str(packed)]
            subprocess.run(command, check=True)
            stored = dataclasses.replace(stored, file=packed, disk_format="qcow2")
        made.append(stored)
    return made


@dataclasses.dataclass(slots=True)
class Image:
    """An image that a client has made, and what it was told of it."""

    image_id: str
    kind: str
    expected: material.Material
    #: Slow enough for the power to be cut in the middle of it.
    is_slow: bool
    #: The import was answered 202.
    is_accepted: bool = False
    #: PUT /file was answered 204, or GET has said so.
    is_active: bool = False


class Clients:
    """One thread for each of `KINDS`, and all images that they have made, each with what was said of it."""

    def __init__(self, shelf: list[material.Material], source: str, stores: list[str]) -> None:
        self._shelf, self._source, self._stores = shelf, source, stores
        self.images: list[Image] = []

    @contextlib.contextmanager
    def at_work(self, whole: service.Service, seed: str) -> Iterator[list[str]]:
        """They work until the block ends, or the service; what they have to complain of is in the list."""
        complaints: list[str] = []
        over = threading.Event()
        threads = [
            threading.Thread(
                target=self._work, args=(whole, kind, f"{seed} {number}", over, complaints)
            )
            for number, kind in enumerate(KINDS)
        ]
        for thread in threads:
            thread.start()
        try:
            yield complaints
        finally:
            over.set()
            for thread in threads:
                thread.join()

    def _work(
        self,
        whole: service.Service,
        kind: str,
        seed: str,
        over: threading.Event,
        complaints: list[str],
    ) -> None:
        dice = random.Random(seed)  # noqa: S311
        wanted = "qcow2" if kind == "convert" else "raw"
        shelf = [one for one in self._shelf if one.disk_format == wanted]
        try:
            while not over.is_set():
                expected = dice.choice(shelf)
                image_id = whole.create(disk_format=expected.disk_format)
                image = Image(image_id, kind, expected, dice.random() < _SLOWNESS)
                self.images.append(image)
                self.bring(whole, image)
        except (urllib3.exceptions.HTTPError, AssertionError, KeyError, ValueError) as error:
            complaints.append(f"{kind}: {error!r}")

    def bring(self, whole: service.Service, image: Image) -> None:
        """Bring an image's bytes in, until it is active; those that are staged already are gone on with.

        Raises:
            AssertionError: it was answered anything but what was expected, or the import has failed.
            HTTPError: the service is no more.
        """
        if image.kind == "upload":
            self._send(whole, image, "file")
            image.is_active = True
        else:
            self._import(whole, image)
            wait_for_import(whole, image)

    def _import(self, whole: service.Service, image: Image) -> None:
        method = {"name": "glance-direct"}
        if image.kind == "direct":
            if whole.image(image.image_id)["status"] == "queued":
                self._send(whole, image, "stage")
        else:
            rate = f"?rate={_SLOW}" if image.is_slow else ""
            uri = f"{self._source}/{image.expected.file.name}{rate}"
            method = {"name": "web-download", "uri": uri}
        body = {"method": method} | ({"stores": self._stores} if any(self._stores) else {})
        _expect(202, whole.ask("POST", f"/v2/images/{image.image_id}/import", body))
        image.is_accepted = True

    def _send(self, whole: service.Service, image: Image, where: str) -> None:
        with image.expected.file.open("rb") as data:
            _expect(204, whole.ask("PUT", f"/v2/images/{image.image_id}/{where}", data))


def wait_for_import(whole: service.Service, image: Image) -> None:
    """Wait until an import has ended, and the image is active.

    Raises:
        AssertionError: it has failed, or does not end.
    """
    what = f"the import of {image.image_id}"
    service.wait_for(lambda: whole.image(image.image_id)["status"] != "importing", what)
    if whole.image(image.image_id)["status"] != "active":
        raise AssertionError(f"its import has failed: {whole.task(image.image_id)['message']}")
    image.is_active = True


def wait_until_settled(whole: service.Service, image: Image) -> None:
    """Wait until an image is active, or bytes may be sent for it, or wait for an import.

    Raises:
        AssertionError: it stays as the power has left it.
    """

    def is_settled() -> bool:
        record = whole.image(image.image_id)
        image.is_active = record["status"] == "active"
        is_staged = record["status"] == "uploading" and record["size"] is not None
        return image.is_active or is_staged or record["status"] == "queued"

    service.wait_for(is_settled, f"{image.image_id} to be settled")


def _expect(status: int, answer: urllib3.BaseHTTPResponse) -> None:
    assert answer.status == status, (answer.status, answer.data)
