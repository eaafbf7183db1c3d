"""The cells of the matrix: methods, plugins, types of stores and outcomes, and what each must come to.

What must be of a task, an image, its lists, its lock and its bytes is contract section 4.4.
"""

import dataclasses
import gzip
import hashlib
import itertools
import json
import pathlib
import random
import subprocess
from collections.abc import Iterator
from typing import Any

from tests import web

#: What the guest is to see, and what inject_image_metadata adds.
RAW = random.Random(6).randbytes(100_000) + bytes(200_000)  # noqa: S311 - any bytes will do
INJECTED = {"injected_by": "operator"}
REMOTE = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"
METHODS = ("glance-direct", "web-download", "glance-download")
PLUGINS = {
    "none": (),
    "decompression": ("image_decompression",),
    "injection": ("inject_image_metadata",),
    "conversion": ("image_conversion",),
    "all": ("image_decompression", "image_conversion", "inject_image_metadata"),
}
KINDS = ("file", "s3", "swift", "rbd")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What happens to an import into some stores, and what it must come to."""

    #: Stores that are asked for: `works`, and `wrong`, which fails.
    stores: tuple[str, ...] = ("works",)
    must_succeed: bool = True
    #: Of the task, and of the image after an import; a copy leaves the image active.
    task: str = "failure"
    image: str = "queued"
    #: Stores on the list of those that failed, and stores that have the bytes.
    failed: tuple[str, ...] = ("works",)
    holds: tuple[str, ...] = ()


_SUCCESS: Any = {"task": "success", "image": "active", "failed": (), "holds": ("works",)}
_BOTH: Any = {"stores": ("works", "wrong")}
#: By what happens.
OUTCOMES = {
    "success": Outcome(**_SUCCESS),
    "worker killed at the bytes": Outcome(**_SUCCESS),
    "worker killed at the store": Outcome(**_SUCCESS),
    "source gone": Outcome(),
    "bytes refused": Outcome(),
    "bytes damaged": Outcome(),
    "store fails": Outcome(stores=("wrong",), failed=("wrong",)),
    "one of two fails and must not": Outcome(**_BOTH, failed=("works", "wrong")),
    "one of two fails and may": Outcome(
        **_BOTH | _SUCCESS | {"must_succeed": False, "failed": ("wrong",)}
    ),
    "all fail and one would do": Outcome(stores=("wrong",), must_succeed=False, failed=("wrong",)),
    "image deleted": Outcome(image="deleted"),
}


@dataclasses.dataclass(frozen=True)
class Cell:
    """One combination."""

    kind: str
    method: str
    plugins: str
    outcome: str

    def __str__(self) -> str:
        return "-".join(dataclasses.astuple(self)).replace(" ", "_")

    @property
    def is_copy(self) -> bool:
        return self.method == "copy-image"

    @property
    def expected(self) -> Outcome:
        return OUTCOMES[self.outcome]


def cells() -> Iterator[Cell]:
    """All that can be; stores over the network, of which a plugin knows nothing, with none and with all."""
    methods = (*METHODS, "copy-image")
    for kind, method, plugins, outcome in itertools.product(KINDS, methods, PLUGINS, OUTCOMES):
        if (kind != "file" or method == "copy-image") and plugins not in ("none", "all"):
            continue
        if outcome == "bytes damaged" and plugins not in ("decompression", "conversion", "all"):
            continue  # nobody opens them
        if method == "copy-image" and outcome in ("bytes refused", "bytes damaged"):
            continue  # they were judged when they came
        yield Cell(kind, method, plugins, outcome)


def packed(cell: Cell, room: pathlib.Path) -> tuple[bytes, str]:
    """The bytes that the source has, and the disk format that the record declares."""
    if cell.plugins not in ("conversion", "all"):
        data, disk_format = RAW, "raw"
    else:
        (room / "raw").write_bytes(RAW.ljust(-(-len(RAW) // 512) * 512, b"\0"))
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "raw", "qcow2"]
        subprocess.run(command, cwd=room, check=True)
        data, disk_format = (room / "qcow2").read_bytes(), "qcow2"
    if cell.outcome == "bytes refused":
        data = b"KDMV" + bytes(1 << 16) if disk_format == "raw" else _with_backing_file(room)
    if cell.outcome == "bytes damaged" and disk_format == "qcow2":
        data = data[: len(data) // 2]
    if cell.plugins in ("decompression", "all"):
        data = gzip.compress(data, 1)
        if cell.outcome == "bytes damaged":
            data = data[:-9]
    return data, disk_format


def _with_backing_file(room: pathlib.Path) -> bytes:
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "/etc/hostname"]
    subprocess.run([*command, "backed", "1M"], cwd=room, check=True)
    return (room / "backed").read_bytes()


def stored(cell: Cell) -> tuple[bytes, str]:
    """What the image's data are in the end, and their format: conversion is to raw."""
    padded = cell.plugins in ("conversion", "all") and not cell.is_copy
    return (RAW.ljust(-(-len(RAW) // 512) * 512, b"\0") if padded else RAW), "raw"


def answers(data: bytes, disk_format: str) -> dict[str, web.Answer]:
    """A web server with the bytes, which is the image service of another region too."""
    record = {
        "id": REMOTE,
        "status": "active",
        "disk_format": disk_format,
        "container_format": "bare",
        "size": len(data),
        "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
    }
    path = f"/v2/images/{REMOTE}"
    return {
        "/image": web.whole(data),
        path: web.whole(json.dumps(record).encode()),
        f"{path}/file": web.whole(data),
    }
