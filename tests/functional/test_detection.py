"""Images whose disk_format nobody has set: refused as by Glance, or, if the operator likes, found out."""

import pathlib

import pytest

from tests.functional import importing
from tests.functional.conftest import Caller
from tests.packing import PACK
from tests.unit import disks

OPTIONS = "[gantry]\ndetect_disk_format = true\n"
PLUGIN = "[image_import_opts]\nimage_import_plugins = [image_conversion]\n"


def test_without_the_option_it_is_refused(caller: Caller) -> None:
    """Contract section 2.5, row 10."""
    api = caller()
    image_id = api.create(container_format="bare")
    assert api.put(image_id, b"data", "stage").status_code == 204
    answer = api.ask("POST", f"/v2/images/{image_id}/import", {"method": importing.DIRECT})
    assert answer.status_code == 409
    assert "disk_format" in answer.text


@pytest.mark.parametrize("container", [None, "ova"])
def test_only_bare_images_are_found_out(caller: Caller, container: str | None) -> None:
    """What is in another container is not looked at, so there is nothing to find."""
    api = caller(options=OPTIONS)
    image_id = api.create(**({"container_format": container} if container else {}))
    assert api.put(image_id, b"data", "stage").status_code == 204
    answer = api.ask("POST", f"/v2/images/{image_id}/import", {"method": importing.DIRECT})
    assert answer.status_code == 409


@pytest.mark.parametrize("disk_format", [*disks.QEMU, "raw", "partitioned", "fixed vhd"])
def test_what_the_data_are(caller: Caller, tmp_path: pathlib.Path, disk_format: str) -> None:
    """The record says it once the image is active."""
    disk = disks.mbr(bytearray(disks.MIB))
    by_hand = {
        "raw": (b"some bytes", "raw"),
        "partitioned": (bytes(disk), "raw"),
        "fixed vhd": (disks.fixed_vhd(bytes(disk)), "vhd"),
    }
    if disk_format in by_hand:
        data, expected = by_hand[disk_format]
    else:
        data, expected = disks.of(tmp_path, disk_format), disk_format
    api = caller(options=OPTIONS)
    image_id = api.create(container_format="bare")
    assert api.put(image_id, data, "stage").status_code == 204
    assert api.show(image_id)["disk_format"] is None
    assert importing.imported(api, image_id)["disk_format"] == expected


def test_what_is_packed_cannot_be_converted_first(caller: Caller) -> None:
    """What it is comes to light when it is unpacked; who is to blame is said."""
    order = "[image_import_opts]\nimage_import_plugins = [image_conversion,image_decompression]\n"
    api = caller(options=OPTIONS + order)
    image_id = api.create(container_format="bare")
    assert api.put(image_id, PACK["gzip"](b"data"), "stage").status_code == 204
    assert "image_decompression must stand before" in importing.refused(api, image_id)


def test_it_is_converted_from_what_it_is(caller: Caller, tmp_path: pathlib.Path) -> None:
    """The conversion is told what was found."""
    api = caller(options=OPTIONS + PLUGIN)
    image_id = api.create(container_format="bare")
    assert api.put(image_id, disks.of(tmp_path, "vmdk"), "stage").status_code == 204
    image = importing.imported(api, image_id)
    assert (image["disk_format"], image["size"]) == ("raw", 64 * disks.MIB)


def test_what_is_refused_is_refused(caller: Caller, tmp_path: pathlib.Path) -> None:
    """Nothing is set then, and the text says what it is."""
    api = caller(options=OPTIONS)
    image_id = api.create(container_format="bare")
    data = disks.made(tmp_path, "qed")
    assert api.put(image_id, data, "stage").status_code == 204
    assert "data are qed" in importing.refused(api, image_id)
    record = api.show(image_id)
    assert (record["status"], record["disk_format"]) == ("queued", None)
