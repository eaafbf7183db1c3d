"""What oslo's inspectors miss: parts of other disks, containers that pass as raw, lies about sizes."""

import pathlib
import struct

import pytest

from images import errors, formats
from tests.conftest import Configure
from tests.unit import disks
from tests.unit.disks import MIB, inspect

pytestmark = pytest.mark.usefixtures("configure")

#: How files begin that qemu-img would open as another format, if it might guess.
FOREIGN = {
    "parallels": b"WithoutFreeSpace\x02\0\0\0",
    "parallels (new)": b"WithouFreSpacExt\x02\0\0\0",
    "bochs": b"Bochs Virtual HD Image\0",
    "cloop": b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop file=$0 && mount -r",
    "vmfs-sparse": b"COWD\x01\0\0\0",
    "vmfs-sparse (se)": struct.pack("<QQ", 0xCAFEBABE, 0x0000000200000001),
}
KOLY = struct.pack(">4sII", b"koly", 4, 512).ljust(512, b"\0")


def refusal(data: bytes, declared: str = "raw") -> str:
    """Why the bytes are not taken."""
    with pytest.raises(errors.UnacceptableFormat) as caught:
        formats.check(inspect(data), declared, "bare")
    return str(caught.value)


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("declared", ["raw", "qcow2", "iso", "aki"])
@pytest.mark.parametrize("match", ["true", "false"])
def test_containers_that_pass_as_raw(
    configure: Configure, kind: str, declared: str, match: str
) -> None:
    """Refused whatever is declared; the text says what was found and what was declared."""
    configure(f"[image_format]\nrequire_image_format_match = {match}")
    why = refusal(FOREIGN[kind].ljust(2 * MIB, b"\0"), declared)
    assert f"declared {declared}" in why
    assert f"data are {kind.split(maxsplit=1)[0]}" in why


@pytest.mark.parametrize("behind", [0, 100, 511])
@pytest.mark.parametrize("size", [512, MIB, 3 * MIB + 77])
def test_a_dmg_is_known_by_its_end(behind: int, size: int) -> None:
    """Wherever the last block of the stream begins, and with a few bytes behind the trailer."""
    data = b"\x01" * size + KOLY + bytes(behind)
    assert inspect(data, 70_000).format == "dmg"
    assert "data are dmg" in refusal(data)
    assert inspect(KOLY + bytes(2048)).format == "raw"


def test_a_ploop_may_be_one() -> None:
    """The record's ploop is what qemu calls parallels."""
    found = inspect(FOREIGN["parallels (new)"].ljust(MIB, b"\0"))
    assert formats.check(found, "ploop", "bare") is None


def test_differences(tmp_path: pathlib.Path) -> None:
    """Of a VHD, a VHDX and a VDI: what they lack would be zeros, or a refusal after all the work."""
    vhd = bytearray(disks.of(tmp_path, "vhd"))
    vhd[63] = 4
    vdi = bytearray(disks.of(tmp_path, "vdi"))
    vdi[0x4C] = 4
    linked = bytearray(disks.of(tmp_path, "vdi"))
    linked[0x1B8] = 1
    vhdx = disks.with_parent(disks.of(tmp_path, "vhdx"))
    for declared, data in (("vhd", vhd), ("vdi", vdi), ("vdi", linked), ("vhdx", vhdx)):
        why = refusal(bytes(data), declared)
        assert "parent: it is the difference from another file" in why


def test_a_vhdx_with_a_log_to_replay(tmp_path: pathlib.Path) -> None:
    """The text says what its owner can do."""
    data = disks.of(tmp_path, "vhdx")
    assert formats.check(inspect(data), "vhdx", "bare") == 64 * MIB
    assert "attach and detach it once" in refusal(disks.with_log(data), "vhdx")


def test_a_damaged_vhdx(tmp_path: pathlib.Path) -> None:
    """Its tables cannot be read: it is not taken on trust, as the library does."""
    data = bytearray(disks.of(tmp_path, "vhdx"))
    data[192 << 10 : (192 << 10) + 4] = b"xxxx"
    assert "structure: its header is damaged" in refusal(bytes(data), "vhdx")
    assert "structure" in refusal(disks.of(tmp_path, "vhdx")[: 100 << 10], "vhdx")


VMDK_TRICKS = {
    "parent": ("parentCID=ffffffff", 'parentCID=87654321\nparentFileNameHint="/etc/passwd"'),
    "parent ": ("parentCID=ffffffff", 'parentCID=ffffffff\nparentFileNameHint="other.vmdk"'),
    "extents": ('RW 2048 SPARSE "image.vmdk"', 'RW 2048 FLAT "image.vmdk" 0'),
    "extents ": ('RW 2048 SPARSE "image.vmdk"', 'RW 1 SPARSE "a"\nRW 2047 SPARSE "b"'),
    "create_type": (
        'createType="monolithicSparse"',
        'createtype="monolithicSparse"\ncreateType="monolithicFlat"',
    ),
}


@pytest.mark.parametrize("trick", VMDK_TRICKS)
def test_a_vmdk_that_reads_otherwise_in_qemu(trick: str) -> None:
    """A parent, data in other files, a second type further down: the library takes them all."""
    assert formats.check(inspect(disks.vmdk(disks.DESCRIPTOR)), "vmdk", "bare") == MIB
    text = disks.DESCRIPTOR.replace(*VMDK_TRICKS[trick])
    assert text != disks.DESCRIPTOR
    assert f"{trick.strip()}: " in refusal(disks.vmdk(text), "vmdk")


def test_a_vmdk_without_capacity() -> None:
    """qemu follows the text in it then, as if it were alone in the file."""
    assert "capacity: " in refusal(disks.vmdk(disks.DESCRIPTOR, sectors=0), "vmdk")


def test_types_of_vmdk_that_the_operator_does_not_take(configure: Configure) -> None:
    """At the gate already, and not only where something is converted."""
    configure("[image_format]\nvmdk_allowed_types = streamOptimized")
    assert "type monolithicsparse" in refusal(disks.vmdk(disks.DESCRIPTOR), "vmdk")


@pytest.mark.parametrize("padding", [b"", b"\0" * 2 * MIB, b"\xff" * MIB])
@pytest.mark.parametrize("before", ["# Disk DescriptorFile\n", "", "\r\n# x\n \n"])
def test_a_vmdk_of_text_passes_for_nothing_else(padding: bytes, before: str) -> None:
    """Whatever stands behind it: qemu reads the text, and opens what it names."""
    text = 'version=1\ncreateType="monolithicFlat"\nRW 4192256 FLAT "/etc/passwd" 0\n'
    data = (before + text).encode() + padding
    assert "data are vmdk" in refusal(data)
    assert "data are vmdk" in refusal(data, "vmdk")


@pytest.mark.parametrize("size", [1 << 54, 144115188042301952, (1 << 64) - 1])
@pytest.mark.parametrize("declared", ["qcow2", "raw"])
def test_sizes_that_no_disk_has(tmp_path: pathlib.Path, size: int, declared: str) -> None:
    """They would go into the record, and into what owners may have."""
    data = bytearray(disks.of(tmp_path, "qcow2"))
    struct.pack_into(">Q", data, 24, size)
    assert f"virtual_size: it claims {size} bytes" in refusal(bytes(data), declared)


def test_a_luks_that_ends_before_its_data() -> None:
    """The library says a size below zero."""
    header = bytearray(b"LUKS\xba\xbe\0\x01".ljust(MIB, b"\0"))
    struct.pack_into(">I", header, 104, 1 << 20)
    assert "virtual_size: it claims -" in refusal(bytes(header))


def test_several_formats_at_once(tmp_path: pathlib.Path) -> None:
    """Only the ISO that boots may be two things."""
    both = bytearray(disks.of(tmp_path, "qcow2"))
    struct.pack_into("<H", both, 510, 0xAA55)
    assert "several formats at once: gpt, qcow2" in refusal(bytes(both), "qcow2")
    iso = disks.mbr(bytearray(MIB))
    iso[32769:32774] = b"CD001"
    assert formats.check(inspect(bytes(iso)), "iso", "bare") == MIB
    assert "several formats at once: dmg, gpt, iso" in refusal(bytes(iso) + KOLY, "iso")


def test_a_vhd_of_fixed_size() -> None:
    """Known by its footer, also with a partition table in it; its bytes may be called raw as well."""
    empty, parted = bytes(3 * MIB), bytes(disks.mbr(bytearray(3 * MIB)))
    for data in (disks.fixed_vhd(empty), disks.fixed_vhd(parted)):
        assert formats.check(inspect(data), "vhd", "bare") == 3 * MIB
        assert formats.check(inspect(data), "raw", "bare") == 3 * MIB + 512
    assert inspect(disks.fixed_vhd(parted)[:-1] + b"x").format == "gpt"


def test_the_size_of_a_vhd_that_was_resized(tmp_path: pathlib.Path) -> None:
    """It is the present one."""
    data = bytearray(disks.of(tmp_path, "vhd"))
    struct.pack_into(">Q", data, 40, 5 * MIB)
    found = inspect(bytes(data))
    assert found.virtual_size == struct.unpack_from(">Q", data, 48)[0]


def test_raw_has_the_size_of_its_bytes(tmp_path: pathlib.Path) -> None:
    """Of a harmless qcow2, too (contract section 4.6)."""
    data = disks.of(tmp_path, "qcow2")
    assert formats.check(inspect(data), "raw", "bare") == len(data)


@pytest.mark.parametrize("disk_format", [*disks.QEMU, "text", "descriptor"])
def test_how_the_stream_is_cut_changes_nothing(tmp_path: pathlib.Path, disk_format: str) -> None:
    """A sender chooses the pieces; he must not choose the verdict with them."""
    data = {
        "text": b"a" * 600 + b"\xff" * 900,
        "descriptor": disks.DESCRIPTOR.encode().ljust(3 * MIB, b"\0"),
    }.get(disk_format) or disks.of(tmp_path, disk_format)
    whole = inspect(data, len(data))
    for first in (1, 63, 100, 511, 200_000, MIB - 1):
        inspector = formats.Inspector()
        for piece in (data[:first], data[first : first + 2 * MIB], data[first + 2 * MIB :]):
            inspector.feed(piece)
        assert inspector.finish() == whole
    assert inspect(data, 4096) == whole
