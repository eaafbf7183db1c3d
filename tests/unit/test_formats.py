"""What files really are, with files that qemu-img made, and what that means against a declared format."""

import pathlib
import struct
import subprocess
import time

import pytest

from images import errors, formats
from tests.conftest import Configure
from tests.unit.disks import MIB, inspect, made

pytestmark = pytest.mark.usefixtures("configure")


@pytest.mark.parametrize("disk_format", ["qcow2", "vmdk", "vhdx", "vdi"])
def test_formats_of_qemu_img(tmp_path: pathlib.Path, disk_format: str) -> None:
    """Found, safe, with the size that a guest would see; whatever the pieces."""
    options = ["-o", "subformat=streamOptimized"] if disk_format == "vmdk" else []
    data = made(tmp_path, disk_format, *options)
    found = inspect(data)
    assert (found.format, found.virtual_size, found.unsafe) == (disk_format, 64 * MIB, {})
    assert inspect(data, 512) == found
    assert formats.check(found, disk_format, "bare") == 64 * MIB


def test_an_iso_that_boots(iso: pathlib.Path) -> None:
    """It has a partition table too, and is an iso all the same."""
    found = inspect(iso.read_bytes())
    assert found.format == "iso"
    assert formats.check(found, "iso", "bare") == iso.stat().st_size


@pytest.mark.parametrize("data", [b"", b"x", b"plain text\n" * 1000, bytes(3 * MIB)])
def test_anything_else_is_raw(data: bytes) -> None:
    """Its size is the number of bytes, and nothing is said of no bytes."""
    found = inspect(data)
    assert (found.format, found.virtual_size) == ("raw", len(data) or None)
    assert formats.check(found, "raw", "bare") == (len(data) or None)


def unsafe_images(directory: pathlib.Path) -> dict[str, bytes]:
    """Images that would make qemu-img open another file."""
    secret = directory / "secret"
    secret.write_bytes(bytes(MIB))
    backed = directory / "backed.qcow2"
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        str(secret),
        str(backed),
    ]
    subprocess.run(command, check=True)
    outside = ("-o", f"data_file={directory / 'data'},data_file_raw=on")
    return {
        "a backing file": backed.read_bytes(),
        "a data file": made(directory, "qcow2", *outside),
        "a flat vmdk": made(directory, "vmdk", "-o", "subformat=monolithicFlat"),
    }


@pytest.mark.parametrize("kind", ["a backing file", "a data file"])
@pytest.mark.parametrize("declared", ["qcow2", "raw", "vmdk"])
@pytest.mark.parametrize("match", ["true", "false"])
def test_references_to_other_files_are_refused(
    configure: Configure, tmp_path: pathlib.Path, kind: str, declared: str, match: str
) -> None:
    """Whatever is declared, and whatever require_image_format_match says."""
    configure(f"[image_format]\nrequire_image_format_match = {match}")
    found = inspect(unsafe_images(tmp_path)[kind])
    with pytest.raises(errors.UnacceptableFormat):
        formats.check(found, declared, "bare")


def test_a_flat_vmdk_is_no_image(tmp_path: pathlib.Path) -> None:
    """It is only a description of another file."""
    found = inspect(unsafe_images(tmp_path)["a flat vmdk"])
    with pytest.raises(errors.UnacceptableFormat):
        formats.check(found, "vmdk", "bare")


@pytest.mark.parametrize("filler", [b"\n", b" ", b" \n", b"rw ", b"parentcid"])
def test_a_long_description_is_read_in_no_time(filler: bytes) -> None:
    """16 KiB of line ends took a second, and four times as long each time that they are twice as many."""
    size = 64 << 10
    numbers = (1, 3, 2048, 128, 1, size // 512, 512, 0, 21)
    head = struct.pack("<4sIIQQQQIQQ", b"KDMV", *numbers).ljust(512, b"\0")
    text = (b'createType="monolithicSparse"\n' + filler * size)[:size]
    began = time.process_time()
    inspect(head + text + bytes(512))
    assert time.process_time() - began < 2


def test_a_vhd_that_is_only_a_difference(tmp_path: pathlib.Path) -> None:
    """qemu-img converts it without its parent and says nothing: what the guest misses would be zeros."""
    data = bytearray(made(tmp_path, "vpc"))
    assert formats.check(inspect(bytes(data)), "vhd", "bare")
    data[63] = 4
    with pytest.raises(errors.UnacceptableFormat, match="difference from another file"):
        formats.check(inspect(bytes(data)), "vhd", "bare")


def test_another_format_than_declared(configure: Configure, tmp_path: pathlib.Path) -> None:
    """Refused with both names; accepted, its size unknown, where the operator does not mind."""
    found = inspect(made(tmp_path, "qcow2"))
    with pytest.raises(errors.UnacceptableFormat, match=r"vdi.*qcow2"):
        formats.check(found, "vdi", "bare")
    configure("[image_format]\nrequire_image_format_match = false")
    assert formats.check(found, "vdi", "bare") is None


@pytest.mark.parametrize("disk_format", ["aki", "ari", "ami", "ploop"])
def test_a_kernel_may_look_like_a_broken_disk(disk_format: str) -> None:
    """A boot signature with nonsense in the table is refused for raw, and no matter for a kernel."""
    kernel = bytearray(b"\xeb" * 4 * MIB)
    struct.pack_into("<H", kernel, 510, 0xAA55)
    found = inspect(bytes(kernel))
    assert found.format == "gpt"
    with pytest.raises(errors.UnacceptableFormat):
        formats.check(found, "raw", "bare")
    assert formats.check(found, disk_format, "bare") is None


def test_a_kernel_that_is_a_qcow2(tmp_path: pathlib.Path) -> None:
    """What can be recognised as something else is not taken for a kernel."""
    with pytest.raises(errors.UnacceptableFormat):
        formats.check(inspect(made(tmp_path, "qcow2")), "aki", "bare")


def test_other_containers_are_not_looked_into(tmp_path: pathlib.Path) -> None:
    """Contract section 4.6: only bare ones are."""
    found = inspect(unsafe_images(tmp_path)["a backing file"])
    assert formats.check(found, "qcow2", "ova") is None


def test_the_operator_may_refuse_every_vmdk(configure: Configure, tmp_path: pathlib.Path) -> None:
    """An empty vmdk_allowed_types."""
    configure("[image_format]\nvmdk_allowed_types =")
    found = inspect(made(tmp_path, "vmdk", "-o", "subformat=streamOptimized"))
    with pytest.raises(errors.UnacceptableFormat):
        formats.check(found, "vmdk", "bare")
