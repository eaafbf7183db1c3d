"""The plugin image_conversion: every source, every target, every method; formats are forced, not guessed."""

import contextlib
import hashlib
import json
import os
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from flows import qemu_img
from flows.steps import convert
from images import config, errors, formats, imports, staging
from tests import web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from tests.unit import disks
from workers import engine, heartbeat

MIB = 1 << 20
DATA = os.urandom(MIB) + bytes(2 * MIB)
#: What qemu-img calls the record's formats.
QEMU = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vhd": "vpc", "vhdx": "vhdx", "vdi": "vdi"}
TARGETS = ("raw", "qcow2", "vmdk", "vhd")
REMOTE = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"


def options(target: str, region: str = "") -> str:
    return (
        "enabled_import_methods = [glance-direct,web-download,glance-download]\n"
        f"{web.LOOPBACK}"
        "[image_import_opts]\nimage_import_plugins = [image_conversion]\n"
        f"[image_conversion]\noutput_format = {target}\n"
        f"[gantry]\nremote_regions = two:{region}\n"
    )


def disk(room: pathlib.Path, disk_format: str, data: bytes = DATA) -> bytes:
    """A disk image with these data."""
    (room / "source.raw").write_bytes(data)
    if disk_format == "raw":
        return data
    made = room / f"source.{disk_format}"
    command = ["qemu-img", "convert", "-f", "raw", "-O", QEMU[disk_format]]
    size = ["-o", "force_size=on"] if disk_format == "vhd" else []
    subprocess.run([*command, *size, str(room / "source.raw"), str(made)], check=True)
    return made.read_bytes()


def contents(api: Api, room: pathlib.Path, image: dict[str, Any]) -> bytes:
    """What a guest would see of the image that is stored, told by its record alone."""
    stored, raw = room / "stored", room / "stored.raw"
    data = api.ask("GET", f"/v2/images/{image['id']}/file").data
    assert image["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert image["size"] == len(data)
    stored.write_bytes(data)
    known = QEMU[image["disk_format"]]
    command = ["qemu-img", "convert", "-f", known, "-O", "raw", str(stored), str(raw)]
    subprocess.run(command, check=True)
    return raw.read_bytes()


@contextlib.contextmanager
def another_region(data: bytes, disk_format: str) -> Iterator[str]:
    """An image service that has one image."""
    record = importing.FORMATS | {
        "id": REMOTE,
        "status": "active",
        "disk_format": disk_format,
        "size": len(data),
        "checksum": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "os_hash_algo": "sha512",
        "os_hash_value": hashlib.sha512(data).hexdigest(),
        "hw_disk_bus": "scsi",
    }
    path = f"/v2/images/{REMOTE}"
    answers = {path: web.whole(json.dumps(record).encode()), f"{path}/file": web.whole(data)}
    with web.serving(answers) as url:
        yield url


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("source", QEMU)
def test_each_source_becomes_each_target(
    caller: Caller, tmp_path: pathlib.Path, source: str, target: str
) -> None:
    api = caller(options=options(target))
    image_id = importing.staged(api, disk(tmp_path, source), disk_format=source)
    image = importing.imported(api, image_id)
    assert (image["disk_format"], image["container_format"]) == (target, "bare")
    assert image["virtual_size"] == len(DATA)
    assert contents(api, tmp_path, image) == DATA
    assert list(staging.path().iterdir()) == []


@pytest.mark.parametrize("target", TARGETS)
def test_by_web_download(caller: Caller, tmp_path: pathlib.Path, target: str) -> None:
    api = caller(options=options(target))
    source = "vdi"
    with web.serving({"/disk": web.whole(disk(tmp_path, source))}) as url:
        image_id = api.create(**(importing.FORMATS | {"disk_format": source}))
        method = {"name": "web-download", "uri": f"{url}/disk"}
        image = importing.imported(api, image_id, method)
    assert (image["disk_format"], image["virtual_size"]) == (target, len(DATA))
    assert contents(api, tmp_path, image) == DATA


@pytest.mark.parametrize("target", TARGETS)
def test_by_glance_download(caller: Caller, tmp_path: pathlib.Path, target: str) -> None:
    """The formats are first those of the other region; its properties come along all the same."""
    source = "qcow2" if target != "qcow2" else "vmdk"
    with another_region(disk(tmp_path, source), source) as url:
        api = caller(options=options(target, url))
        image_id = api.create(**importing.FORMATS)
        method = {"name": "glance-download", "glance_region": "two", "glance_image_id": REMOTE}
        image = importing.imported(api, image_id, method)
    assert (image["disk_format"], image["virtual_size"]) == (target, len(DATA))
    assert image["hw_disk_bus"] == "scsi"
    assert contents(api, tmp_path, image) == DATA


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "text",
    [
        b"#!/bin/sh\necho hello\n",
        b"<?xml version='1.0'?>\n<Parallels_disk_image>\n",
        b"version of 1\n",
    ],
    ids=["script", "xml", "words"],
)
def test_a_raw_disk_that_begins_with_text(
    caller: Caller, tmp_path: pathlib.Path, target: str, text: bytes
) -> None:
    """It stays what it is."""
    data = text.ljust(MIB, b"\0")
    api = caller(options=options(target))
    image = importing.imported(api, importing.staged(api, data))
    assert image["disk_format"] == target
    assert contents(api, tmp_path, image) == data


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "text",
    [
        b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\n'
        b'RW 4 FLAT "/etc/passwd" 0\n',
        b"WithoutFreeSpace",
    ],
    ids=["vmdk-descriptor", "parallels"],
)
def test_a_raw_disk_that_is_none(caller: Caller, target: str, text: bytes) -> None:
    """qemu-img, if it might guess, would take it for something else, and open what it names."""
    api = caller(options=options(target))
    why = importing.refused(api, importing.staged(api, text.ljust(MIB, b"\0")))
    assert "declared raw; the data are" in why
    assert list(staging.path().iterdir()) == []


def test_the_outcome_is_of_the_format_that_the_record_names(
    caller: Caller, tmp_path: pathlib.Path
) -> None:
    """Told by its bytes, too: qemu-img says vpc to what the record calls vhd."""
    api = caller(options=options("vhd"))
    image = importing.imported(api, importing.staged(api, DATA))
    inspector = formats.Inspector()
    data = api.ask("GET", f"/v2/images/{image['id']}/file").data
    inspector.feed(data)
    assert inspector.finish().format == "vhd"
    (tmp_path / "stored").write_bytes(data)
    assert qemu_img.info(tmp_path / "stored", "vpc").virtual_size == len(DATA)


@pytest.mark.parametrize("kind", ["monolithicSparse", "streamOptimized"])
def test_a_vmdk_is_of_a_type_that_is_accepted(
    caller: Caller, tmp_path: pathlib.Path, kind: str
) -> None:
    """Whichever qemu-img would make by itself."""
    allowed = f"[image_format]\nvmdk_allowed_types = {kind}\n"
    api = caller(options=options("vmdk") + allowed)
    image = importing.imported(api, importing.staged(api, DATA))
    assert contents(api, tmp_path, image) == DATA
    assert f'createType="{kind}"'.encode() in (tmp_path / "stored").read_bytes()[:MIB]
    again = importing.staged(api, (tmp_path / "stored").read_bytes(), disk_format="vmdk")
    assert importing.imported(api, again)["virtual_size"] == len(DATA)


@pytest.mark.parametrize("target", ["raw", "qcow2", "vhd"])
@pytest.mark.parametrize("source", ["raw", "qcow2", "vhd"])
def test_an_empty_disk(caller: Caller, tmp_path: pathlib.Path, source: str, target: str) -> None:
    """A size of 0 is never written down."""
    api = caller(options=options(target))
    image_id = importing.staged(api, disk(tmp_path, source, b""), disk_format=source)
    assert importing.imported(api, image_id)["virtual_size"] is None


def test_an_empty_disk_cannot_be_a_vmdk(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options=options("vmdk"))
    why = importing.refused(api, importing.staged(api, b""))
    assert why == "The image is an empty disk, and no VMDK can be one"


@pytest.mark.parametrize("container", ["bare", "ovf"])
@pytest.mark.parametrize("target", TARGETS)
def test_what_has_the_right_format_already(
    caller: Caller, tmp_path: pathlib.Path, target: str, container: str
) -> None:
    """It is left as it is; its virtual size is known whatever it is in."""
    api = caller(options=options(target))
    data = disk(tmp_path, target)
    image_id = importing.staged(api, data, disk_format=target, container_format=container)
    image = importing.imported(api, image_id)
    assert (image["container_format"], image["virtual_size"]) == (container, len(DATA))
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == data


def test_a_raw_disk_of_no_whole_sectors(caller: Caller) -> None:
    """What is left as it is has as many bytes as it has."""
    api = caller(options=options("raw"))
    assert importing.imported(api, importing.staged(api, bytes(1000)))["virtual_size"] == 1000


@pytest.mark.parametrize("kind", ["luks", "aes"])
def test_an_encrypted_qcow2(caller: Caller, tmp_path: pathlib.Path, kind: str) -> None:
    """Nobody here has its key: it is taken as it is, and cannot be made anything else."""
    file = tmp_path / "encrypted"
    disks.encrypted(file, kind)
    for plugins in ("[image_import_opts]\nimage_import_plugins = []\n", options("qcow2")):
        api = caller(options=plugins)
        image_id = importing.staged(api, file.read_bytes(), disk_format="qcow2")
        assert importing.imported(api, image_id)["virtual_size"] == MIB
    api = caller(options=options("raw"))
    image_id = importing.staged(api, file.read_bytes(), disk_format="qcow2")
    assert "is encrypted: without its key" in importing.refused(api, image_id)


def test_a_small_file_that_would_become_larger_than_any_may(
    caller: Caller, tmp_path: pathlib.Path
) -> None:
    """It is refused before qemu-img writes a byte."""
    api = caller(options=f"image_size_cap = {2 * MIB}\n" + options("raw"))
    empty = disk(tmp_path, "qcow2", bytes(3 * MIB))
    image_id = importing.staged(api, empty, disk_format="qcow2")
    assert f"image_size_cap is {config.CONF.image_size_cap}" in importing.refused(api, image_id)
    assert api.show(image_id)["status"] == "queued"
    assert not list(tmp_path.glob(f"*/{image_id}*"))


@pytest.mark.parametrize("limit", ["image_size_cap = 1000000", "user_storage_quota = 1MB"])
def test_a_disk_that_is_packed_in_its_format(
    caller: Caller, tmp_path: pathlib.Path, limit: str
) -> None:
    """Its outcome is stopped while it grows: how large it will be nothing says before."""
    api = caller(options=f"{limit}\n" + options("qcow2"))
    packed = disk(tmp_path, "qcow2", b"packs well, this. " * MIB)
    command = [
        "qemu-img",
        "convert",
        "-f",
        "qcow2",
        "-O",
        "vmdk",
        "-o",
        "subformat=streamOptimized",
    ]
    subprocess.run([*command, str(tmp_path / "source.qcow2"), str(tmp_path / "vmdk")], check=True)
    assert len(packed) > 10 * MIB
    image_id = importing.staged(api, (tmp_path / "vmdk").read_bytes(), disk_format="vmdk")
    plan = imports.begin(importing.asked(api, image_id), "worker")
    assert plan is not None
    output = tmp_path / "output"
    heard = convert.Convert()._heard(heartbeat.Heartbeat(plan), 1, output, len(packed))
    heard(0.0)  # nothing is written yet
    output.write_bytes(bytes(2 * MIB))
    with pytest.raises(errors.LimitExceeded, match=limit.split(" ", maxsplit=1)[0]):
        heard(0.5)
    with heartbeat.Heartbeat(plan) as watch, pytest.raises(errors.ImportFailed):
        engine.run(plan, watch)
    assert api.show(image_id)["status"] == "queued"
    assert not list(tmp_path.glob(f"*/{image_id}*"))
