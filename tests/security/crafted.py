"""Disk images whose headers and tables claim what no disk has; each begins as a good one of qemu-img."""

import functools
import pathlib
import struct
import subprocess
import tempfile
from collections.abc import Callable

from tests.security import hostile
from tests.unit import disks

MIB = 1 << 20
KIB = 1 << 10
_CLUSTER = 64 * KIB


def _made(make: Callable[[pathlib.Path], bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as room:
        return make(pathlib.Path(room))


@functools.cache
def filled(disk_format: str) -> bytes:
    """A good image of 8 MiB with 2 MiB in it, in a format of the record."""

    def convert(room: pathlib.Path) -> bytes:
        raw, file = room / "raw", room / "image"
        raw.write_bytes((b"a good disk. " * (2 * MIB // 13)).ljust(8 * MIB, b"\0"))
        named = {"vhd": "vpc"}.get(disk_format, disk_format)
        command = ["qemu-img", "convert", "-f", "raw", "-O", named, str(raw), str(file)]
        subprocess.run(command, check=True)
        return file.read_bytes()

    return _made(convert)


def cut(disk_format: str, left: int) -> bytes:
    """What is left of a good image; a negative number is what is missing."""
    return filled(disk_format)[:left]


def packed_disk(mib: int) -> bytes:
    """A qcow2 of few KiB, with many MiB in it."""
    return _made(lambda room: hostile.packed_disk(room, mib))


def backed() -> bytes:
    """A qcow2 over a file of the host."""
    return _made(lambda room: hostile.backed(room, str(hostile.canary(room))))


def outside() -> bytes:
    """A qcow2 whose data are in a file of the host."""
    return _made(lambda room: hostile.outside(room, hostile.canary(room)))


def child() -> bytes:
    """A VMDK whose text names a parent."""
    return _made(lambda room: hostile.child(room, hostile.canary(room)))


def flat() -> bytes:
    """A VMDK that is only a text, and names its data."""
    return hostile.flat(pathlib.Path("canary"))


def changed(data: bytes, order: str, *changes: tuple[int, str, int]) -> bytes:
    """The same with numbers in other places: offset, kind as `struct` has it, value."""
    made = bytearray(data)
    for offset, kind, value in changes:
        struct.pack_into(order + kind, made, offset, value)
    return bytes(made)


#: What a qcow2's header is changed to, all big-endian.
QCOW2: dict[str, list[tuple[int, str, int]]] = {
    "version 1": [(4, "I", 1)],
    "clusters of 512 bytes": [(20, "I", 9)],
    "clusters of 2^63 bytes": [(20, "I", 63)],
    "a disk of 2^62 bytes": [(24, "Q", 1 << 62)],
    "a disk of 2^50 bytes": [(24, "Q", 1 << 50)],
    "encrypted with AES": [(32, "I", 1)],
    "an L1 of 2^32 entries": [(36, "I", 0xFFFFFFFF)],
    "an L1 of 32 MiB": [(36, "I", 4 << 20)],
    "an L1 at the end of 2^63 bytes": [(40, "Q", (1 << 63) - _CLUSTER)],
    "an L1 that is the header": [(40, "Q", 0)],
    "a refcount table of 2^32 clusters": [(56, "I", 0xFFFFFFFF)],
    "a refcount table of 8 MiB": [(56, "I", 128)],
    "a refcount table that is the header": [(48, "Q", 0)],
    "2^32 snapshots": [(60, "I", 0xFFFFFFFF)],
    "65536 snapshots in nothing": [(60, "I", 65536), (64, "Q", 1 << 40)],
    "65536 snapshots in its data": [(60, "I", 65536), (64, "Q", 5 * _CLUSTER)],
    "features that nobody knows": [(72, "Q", 1 << 40)],
    "a dirty one": [(72, "Q", 1)],
    "refcounts of 64 bits": [(96, "I", 6)],
    "refcounts of 2^31 bits": [(96, "I", 31)],
    "a header of 2^32 bytes": [(100, "I", 0xFFFFFFFF)],
    "an extension of 2^31 bytes": [(112, "I", 0x12345678), (116, "I", 1 << 31)],
    "bitmaps without number": [
        (88, "Q", 1),
        (112, "I", 0x23852875),
        (116, "I", 24),
        (120, "I", 0xFFFFFFFF),
        (124, "I", 0),
        (128, "Q", 1 << 40),
        (136, "Q", _CLUSTER),
    ],
}


def qcow2(what: str) -> bytes:
    """A qcow2 with this change."""
    return changed(filled("qcow2"), ">", *QCOW2[what])


def circular_qcow2(level: int) -> bytes:
    """A qcow2 whose table of the first or second level is its own entry."""
    good = filled("qcow2")
    (table,) = struct.unpack_from(">Q", good, 40)
    if level > 1:
        (table,) = struct.unpack_from(">Q", good, table)
        table &= (1 << 56) - 512
    return changed(good, ">", *[(table + 8 * n, "Q", 1 << 63 | table) for n in range(1024)])


def qcow2_of_many_ways(ways: int) -> bytes:
    """A qcow2 in which so many entries of the first table name one second table, of 8192 packed clusters.

    All counts are as they should be, so whoever holds them against the ways has to go every one.
    """
    length = -(-ways * 8 // _CLUSTER)
    level2 = (3 + length) * _CLUSTER
    header = b"QFI\xfb" + struct.pack(">I", 3)
    header += struct.pack(">QIIQI", 0, 0, 16, ways * 8192 * _CLUSTER, 0)
    header += struct.pack(">IQQIIQ", ways, 3 * _CLUSTER, _CLUSTER, 1, 0, 0)
    header += struct.pack(">QQQII", 0, 0, 0, 6, 104)
    counts = [*[1] * (3 + length), ways, ways * 8192]
    parts = [
        header,
        struct.pack(">Q", 2 * _CLUSTER),
        struct.pack(f">{len(counts)}Q", *counts),
        (struct.pack(">Q", level2) * ways).ljust(length * _CLUSTER, b"\0"),
        struct.pack(">Q", 1 << 62 | level2 + _CLUSTER) * 8192,
        b"\0",
    ]
    return b"".join(part.ljust(_CLUSTER, b"\0") for part in parts)


#: What a VMDK's header is changed to, all little-endian.
VMDK: dict[str, list[tuple[int, str, int]]] = {
    "a disk of 2^60 sectors": [(12, "Q", 1 << 60)],
    "a disk of 2^40 sectors": [(12, "Q", 1 << 40)],
    "grains of 2^40 sectors": [(20, "Q", 1 << 40)],
    "grains of one sector": [(20, "Q", 1)],
    "a descriptor of 2^40 sectors": [(36, "Q", 1 << 40)],
    "grain tables of 2^31 entries": [(44, "I", 1 << 31)],
    "grain tables of 512 entries in a large disk": [(12, "Q", 1 << 34), (44, "I", 512)],
    "a directory behind everything": [(56, "Q", 1 << 50)],
    "a directory that is the header": [(48, "Q", 0), (56, "Q", 0)],
}


def vmdk(what: str) -> bytes:
    """A VMDK with this change."""
    return changed(filled("vmdk"), "<", *VMDK[what])


def vmdk_of_many_extents() -> bytes:
    """A VMDK whose text names 100,000 parts."""
    lines = "".join(f'RW 2048 SPARSE "part-{number}.vmdk"\n' for number in range(100_000))
    return disks.DESCRIPTOR.replace('RW 2048 SPARSE "image.vmdk"\n', lines).encode()


#: What a VDI's header is changed to, all little-endian.
VDI: dict[str, list[tuple[int, str, int]]] = {
    "a map of 2 GiB": [(0x170, "Q", 0x1FFFFFFF << 20), (0x180, "I", 0x1FFFFFFF)],
    "a map of 1.8 GiB": [(0x170, "Q", 0x1C000000 << 20), (0x180, "I", 0x1C000000)],
    "a map of 800 MiB": [(0x170, "Q", 0x0C800000 << 20), (0x180, "I", 0x0C800000)],
    "a map of 2^32 entries": [(0x170, "Q", 1 << 52), (0x180, "I", 0xFFFFFFFF)],
    "a map that is the header": [(0x154, "I", 0)],
    "a map behind everything": [(0x154, "I", 0xFFFFFE00)],
    "blocks of one byte": [(0x178, "I", 1)],
    "no blocks for its disk": [(0x180, "I", 0)],
}


def vdi(what: str) -> bytes:
    """A VDI with this change."""
    return changed(filled("vdi"), "<", *VDI[what])


#: What the second header of a VHD is changed to, all big-endian; it stands behind the copy of the footer.
VHD: dict[str, list[tuple[int, str, int]]] = {
    "a table of 2^32 entries": [(512 + 28, "I", 0xFFFFFFFF)],
    "a table of 1.8 GiB": [(512 + 28, "I", 0x1C000000)],
    "a table behind everything": [(512 + 16, "Q", 1 << 60)],
    "a table that is the header": [(512 + 16, "Q", 0)],
    "blocks of 2^31 bytes": [(512 + 32, "I", 1 << 31)],
    "blocks of no byte": [(512 + 32, "I", 0)],
    "blocks of 512 bytes": [(512 + 32, "I", 512)],
}


def vhd(what: str) -> bytes:
    """A VHD with this change."""
    return changed(filled("vhd"), ">", *VHD[what])


_BAT = bytes.fromhex("6677c22d23f600429d64115e9bfd4a08")
_SIZE = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
_FILE = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")
_REGIONS = (192 * KIB, 256 * KIB)


#: What is changed in a VHDX: the length of its table of blocks, or an item of its metadata.
VHDX: dict[str, Callable[[bytes], bytes]] = {
    "a table of 4 GiB": lambda good: _with_bat(good, 0xFFF00000),
    "a table of 1.8 GiB": lambda good: _with_bat(good, 0x70000000),
    "a table of 512 MiB": lambda good: _with_bat(good, 0x20000000),
    "a disk of 2^46 bytes": lambda good: _with_item(good, _SIZE, struct.pack("<Q", 1 << 46)),
    "a disk of 2^62 bytes": lambda good: _with_item(good, _SIZE, struct.pack("<Q", 1 << 62)),
    "blocks of no byte": lambda good: _with_item(good, _FILE, struct.pack("<I", 0)),
    "blocks of one byte": lambda good: _with_item(good, _FILE, struct.pack("<I", 1)),
    "blocks of 2^31 bytes": lambda good: _with_item(good, _FILE, struct.pack("<I", 1 << 31)),
    "65535 items": lambda good: changed(good, "<", (good.index(b"metadata") + 10, "H", 65535)),
    "2047 items": lambda good: changed(good, "<", (good.index(b"metadata") + 10, "H", 2047)),
}


def vhdx(what: str) -> bytes:
    """A VHDX with this change."""
    return VHDX[what](filled("vhdx"))


def vhdx_with_log() -> bytes:
    """A VHDX whose log was not replayed."""
    return disks.with_log(filled("vhdx"))


def _with_bat(vhdx: bytes, length: int) -> bytes:
    """Its table of blocks has so many bytes, behind everything, and a checksum says so."""
    data = bytearray(vhdx)
    for region in _REGIONS:
        struct.pack_into("<QI", data, data.index(_BAT, region) + 16, 1 << 40, length)
        struct.pack_into("<I", data, region + 4, 0)
        struct.pack_into("<I", data, region + 4, _crc32c(bytes(data[region : region + _CLUSTER])))
    return bytes(data)


def _with_item(vhdx: bytes, item: bytes, value: bytes) -> bytes:
    data, region = bytearray(vhdx), vhdx.index(b"metadata")
    (offset,) = struct.unpack_from("<I", data, data.index(item, region) + 16)
    data[region + offset : region + offset + len(value)] = value
    return bytes(data)


def _crc32c(data: bytes) -> int:
    """The checksum of VHDX: as `zlib.crc32`, by another polynomial."""
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)  # noqa: PLW2901
        table.append(number)
    total = 0xFFFFFFFF
    for byte in data:
        total = total >> 8 ^ table[(total ^ byte) & 0xFF]
    return total ^ 0xFFFFFFFF


def circular_iso() -> bytes:
    """An ISO whose directory contains itself."""
    record = bytearray(34)
    struct.pack_into("<BBI", record, 0, 34, 0, 18)
    struct.pack_into(">I", record, 6, 18)
    struct.pack_into("<I", record, 10, 2048)
    record[25], record[32] = 2, 1
    volume = bytearray(b"\x01CD001\x01".ljust(2048, b"\0"))
    struct.pack_into("<I", volume, 80, 20)
    struct.pack_into("<H", volume, 128, 2048)
    volume[156:190] = record
    directory = (bytes(record) * 60).ljust(2048, b"\0")
    return bytes(16 * 2048) + bytes(volume) + b"\xffCD001\x01".ljust(2048, b"\0") + directory * 2


def gpt(entries: int, size: int) -> bytes:
    """A raw disk whose table claims so many partitions, each described in so many bytes."""
    disk = bytearray(MIB)
    struct.pack_into("<B3BB3BII", disk, 446, 0, 0, 2, 0, 0xEE, 255, 255, 255, 1, MIB // 512 - 1)
    struct.pack_into("<H", disk, 510, 0xAA55)
    struct.pack_into("<8sIIII", disk, 512, b"EFI PART", 0x10000, 92, 0, 0)
    struct.pack_into("<QQQQ", disk, 512 + 24, 1, 2047, 34, 2014)
    struct.pack_into("<QII", disk, 512 + 72, 2, entries, size)
    return bytes(disk)


def luks(payload: int, key_bytes: int = 32) -> bytes:
    """A LUKS 1 whose data begin so many sectors behind its begin."""
    header = bytearray(b"LUKS\xba\xbe\0\x01".ljust(592, b"\0"))
    header[8:11], header[40:51], header[72:78] = b"aes", b"xts-plain64", b"sha256"
    struct.pack_into(">II", header, 104, payload, key_bytes)
    for slot in range(8):
        struct.pack_into(">II", header, 208 + 48 * slot, 0x00AC71F3, 0xFFFFFFFF)
    return bytes(header).ljust(2 * MIB, b"\0")


def qed() -> bytes:
    """A QED with tables of the largest size."""
    return struct.pack(
        "<4sIIIQQQQQII", b"QED\0", 1 << 26, 16, 1, 0, 0, 0, 1 << 26, 1 << 60, 0, 0
    ).ljust(MIB, b"\0")


#: What comes out of these is some disk, in bounded time and memory; whoever made it so has what he wanted.
HARMLESS = {
    "qcow2: a dirty one",
    "vmdk: grains of one sector",
    "vmdk: a descriptor of 2^40 sectors",
    "vmdk: a directory behind everything",
    "vmdk: a directory that is the header",
    "vhdx: a table of 512 MiB",
    "vhdx: 2047 items",
}
