"""Disk images that are built by qemu-img or by hand, and what the gate for files says of bytes."""

import pathlib
import struct
import subprocess

from images import formats

MIB = 1 << 20
#: What qemu-img calls the record's formats, with what the record's format needs to be one.
QEMU = {
    "qcow2": ["qcow2"],
    "vmdk": ["vmdk", "-o", "subformat=streamOptimized"],
    "vhd": ["vpc"],
    "vhdx": ["vhdx"],
    "vdi": ["vdi"],
}
_PARAMETERS = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")


def made(room: pathlib.Path, disk_format: str, *options: str) -> bytes:
    """An image of 64 MiB in a format of qemu-img."""
    file = room / f"image.{disk_format}"
    command = ["qemu-img", "create", "-q", "-f", disk_format, *options, str(file), "64M"]
    subprocess.run(command, check=True, cwd=room)
    return file.read_bytes()


def of(room: pathlib.Path, disk_format: str) -> bytes:
    """An image of 64 MiB in a format of the record."""
    return made(room, *QEMU[disk_format])


def encrypted(file: pathlib.Path, kind: str, *options: str) -> None:
    """Make a qcow2 of 1 MiB that nobody here has the key of; `kind` is luks or aes."""
    how = f"encrypt.format={kind},encrypt.key-secret=key"
    how += ",encrypt.iter-time=10" if kind == "luks" else ""
    command = ["qemu-img", "create", "-q", "--object", "secret,id=key,data=a password"]
    command += ["-f", "qcow2", "-o", how, *options, str(file), "1M"]
    for _ in range(
        50
    ):  # it measures its processor time, of which some machines keep coarse account
        if subprocess.run(command, check=False).returncode == 0:
            return
    raise AssertionError("qemu-img makes no encrypted image here")


def inspect(data: bytes, piece: int = 300_000) -> formats.Inspection:
    """Feed the data piece by piece."""
    inspector = formats.Inspector()
    for at in range(0, len(data), piece):
        inspector.feed(data[at : at + piece])
    return inspector.finish()


def with_parent(vhdx: bytes) -> bytes:
    """The same VHDX, as the difference from another one."""
    changed = bytearray(vhdx)
    entry = changed.index(_PARAMETERS)
    region = changed.index(b"metadata")
    (offset,) = struct.unpack_from("<I", changed, entry + 16)
    changed[region + offset + 4] |= 2
    return bytes(changed)


def with_log(vhdx: bytes) -> bytes:
    """The same VHDX, as it is left by a host that has lost its power."""
    changed = bytearray(vhdx)
    heads = (64 << 10, 128 << 10)
    newest = max(heads, key=lambda head: struct.unpack_from("<Q", changed, head + 8))
    changed[newest + 48 : newest + 64] = b"\x5a" * 16
    return bytes(changed)


def fixed_vhd(disk: bytes) -> bytes:
    """A VHD of fixed size, as Azure takes them: the disk, and a footer behind it."""
    footer = bytearray(512)
    size = len(disk)
    struct.pack_into(
        ">8sIIQI4sI4s", footer, 0, b"conectix", 2, 0x10000, 2**64 - 1, 0, b"test", 1, b"Wi2k"
    )
    struct.pack_into(">QQIII", footer, 40, size, size, 0, 2, 0)
    struct.pack_into(">I", footer, 64, ~sum(footer) & 0xFFFFFFFF)
    return disk + footer


def vmdk(descriptor: str, *, sectors: int = 2048) -> bytes:
    """A monolithicSparse VMDK with this text in it, as far as its header and descriptor go."""
    header = struct.pack("<4sIIQQQQIQQ", b"KDMV", 1, 3, sectors, 128, 1, 20, 512, 21, 26)
    return (header.ljust(512, b"\0") + descriptor.encode()).ljust(MIB, b"\0")


def mbr(disk: bytearray) -> bytearray:
    """A partition table with one partition, put into a disk."""
    struct.pack_into("<B3BB3BII", disk, 446, 0x80, 1, 1, 0, 0x83, 1, 1, 0, 63, 1000)
    struct.pack_into("<H", disk, 510, 0xAA55)
    return disk


DESCRIPTOR = """# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicSparse"
RW 2048 SPARSE "image.vmdk"
ddb.adapterType = "ide"
"""
