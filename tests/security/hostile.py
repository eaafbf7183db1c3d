"""Hostile files, built around what they are after: a file of the host, or a port."""

import pathlib
import struct
import subprocess
import zlib

MIB = 1 << 20
#: What stands in the file that no image may bring to light.
SONG = b"the canary sings. "


def canary(room: pathlib.Path) -> pathlib.Path:
    """A file of the host that is nobody's image, a whole disk's worth of it."""
    file = room / "canary"
    file.write_bytes((SONG * (MIB // len(SONG))).ljust(MIB, b"."))
    return file


def backed(room: pathlib.Path, by: str) -> bytes:
    """A qcow2 without data of its own, over a backing file."""
    file = room / "backed.qcow2"
    made = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", by, str(file), "1M"]
    subprocess.run(made, check=True)
    return file.read_bytes()


def outside(room: pathlib.Path, secret: pathlib.Path) -> bytes:
    """A qcow2 whose data are in another file."""
    file, kept = room / "outside.qcow2", secret.read_bytes()
    named = f"data_file={secret},data_file_raw=on"
    made = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", named, str(file), "1M"]
    subprocess.run(made, check=True)
    secret.write_bytes(kept)  # qemu-img has emptied it
    return file.read_bytes()


def flat(secret: pathlib.Path) -> bytes:
    """A VMDK that is only a text, and names its data."""
    return (
        "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
        'createType="monolithicFlat"\n\n'
        f'RW {MIB // 512} FLAT "{secret}" 0\n\nddb.adapterType = "ide"\n'
    ).encode()


def child(room: pathlib.Path, secret: pathlib.Path) -> bytes:
    """A VMDK of a harmless type, whose text names a parent: another VMDK, which holds the secret."""
    file, base = room / "child.vmdk", room / "base.vmdk"
    filled = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", str(secret), str(base)]
    subprocess.run(filled, check=True)
    over = ["qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", str(base), str(file)]
    subprocess.run(over, check=True)
    return file.read_bytes()


def slow(clusters: int) -> bytes:
    """A qcow2 of a megabyte whose every cluster is the same packed one: a minute's work for nothing.

    Each 64 KiB cluster of the disk (at most 65,535 of them) points to the same zeros, packed; the counts of
    references are as they should be.
    """
    size, entries = 64 << 10, 8192
    tables = -(-clusters // entries)
    packed = zlib.compressobj(9, zlib.DEFLATED, -12)
    data = packed.compress(bytes(size)) + packed.flush()
    place = (4 + tables) * size
    header = b"QFI\xfb" + struct.pack(
        ">IQIIQIIQQIIQ", 2, 0, 0, 16, clusters * size, 0, tables, 3 * size, size, 1, 0, 0
    )
    counts = [*[1] * (4 + tables), clusters]
    sectors = (len(data) - 1) // 512
    entry = 1 << 62 | sectors << (62 - (16 - 8)) | place
    level2 = struct.pack(">Q", entry) * clusters
    parts = [
        header,
        struct.pack(">Q", 2 * size),
        struct.pack(f">{len(counts)}H", *counts),
        struct.pack(f">{tables}Q", *(1 << 63 | (4 + n) * size for n in range(tables))),
        *(level2[n * size : (n + 1) * size] for n in range(tables)),
        data,
    ]
    return b"".join(part.ljust(size, b"\0") for part in parts)


def packed_disk(room: pathlib.Path, mib: int) -> bytes:
    """A qcow2 of few KiB, with many MiB in it."""
    raw, file = room / "bomb.raw", room / "bomb.qcow2"
    raw.write_bytes(b"x" * mib * MIB)
    command = ["qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", str(raw), str(file)]
    subprocess.run(command, check=True)
    raw.unlink()
    return file.read_bytes()
