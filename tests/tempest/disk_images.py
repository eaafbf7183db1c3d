"""Small disk images of many formats, good and bad, and the manifest that Tempest's format tests read.

Tempest's own set comes from the project os-test-images; this is a similar one, made with qemu-img
and by hand.
"""

import pathlib
import random
import struct
import subprocess
import zlib

_MIB = 1 << 20
_SECTOR = 512

#: name, format declared to the service, qemu-img's words that make it out of a raw image.
_CONVERTED = (
    ("qcow2", "qcow2", "-O qcow2"),
    ("qcow2-v2", "qcow2", "-O qcow2 -o compat=0.10"),
    ("qcow2-compressed", "qcow2", "-c -O qcow2"),
    ("qcow2-lazy-refcounts", "qcow2", "-O qcow2 -o cluster_size=65536,lazy_refcounts=on"),
    ("vmdk-monolithicSparse", "vmdk", "-O vmdk -o subformat=monolithicSparse"),
    ("vmdk-streamOptimized", "vmdk", "-O vmdk -o subformat=streamOptimized"),
    ("vdi", "vdi", "-O vdi"),
    ("vdi-static", "vdi", "-O vdi -o static=on"),
    ("vhdx", "vhdx", "-O vhdx"),
    ("vhdx-fixed", "vhdx", "-O vhdx -o subformat=fixed"),
    ("vhd", "vhd", "-O vpc"),
)
#: The same for those that no service may accept: what they consist of lies, in part, outside of them.
_UNUSABLE = (
    ("qcow2-backing-file", "qcow2", "-f qcow2 -F raw -b {raw}"),
    ("qcow2-data-file", "qcow2", "-f qcow2 -o data_file=outside.raw,data_file_raw=on {size}"),
    ("vmdk-monolithicFlat", "vmdk", "-f vmdk -o subformat=monolithicFlat {size}"),
)


def make(room: pathlib.Path) -> pathlib.Path:
    """Make them in `room`; returns the manifest. Each image has 2 or 4 MiB inside."""
    room.mkdir(parents=True, exist_ok=True)
    raw = room / "plain.raw"
    raw.write_bytes(random.Random(1).randbytes(2 * _MIB))  # noqa: S311  only bytes that do not compress
    entries = [("raw", "raw", raw.name, True)]
    for name, declared, words in _CONVERTED:
        _qemu_img(room, "convert", *words.split(), raw.name, name)
        entries.append((name, declared, name, True))
    for name, declared, words in _UNUSABLE:
        made = f"{name}.vmdk" if declared == "vmdk" else name
        filled = words.format(raw=raw.name, size="").split()
        size = [str(2 * _MIB)] if "{size}" in words else []
        _qemu_img(room, "create", *filled, made, *size)
        entries.append((name, declared, made, False))
    for name, declared, data in (("gpt-in-raw", "raw", gpt()), ("iso", "iso", iso())):
        (room / name).write_bytes(data)
        entries.append((name, declared, name, True))
    manifest = room / "manifest.yaml"
    manifest.write_text("images:\n" + "".join(_entry(*entry) for entry in entries))
    return manifest


def _entry(name: str, declared: str, file: str, usable: bool) -> str:
    line = f"name: {name}, format: {declared}, filename: {file}, usable: {str(usable).lower()}"
    return f"- {{{line}}}\n"


def _qemu_img(room: pathlib.Path, *words: str) -> None:
    subprocess.run(["qemu-img", *words], cwd=room, check=True, capture_output=True)


def gpt(size: int = 4 * _MIB) -> bytes:
    """A raw disk with a protective MBR and an empty GUID partition table."""
    disk = bytearray(size)
    last = size // _SECTOR - 1
    protective = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, last)
    disk[446 : 446 + len(protective)] = protective
    disk[510:512] = b"\x55\xaa"
    table = zlib.crc32(bytes(128 * 128))
    header = bytearray(
        struct.pack(
            *("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, 0, 0, 1, last),
            *(34, last - 33, b"\1" * 16, 2, 128, 128, table),
        )
    )
    header[16:20] = struct.pack("<I", zlib.crc32(bytes(header)))
    disk[_SECTOR : _SECTOR + len(header)] = header
    return bytes(disk)


def iso(blocks: int = 64) -> bytes:
    """An ISO 9660 file system with a volume descriptor and nothing in it."""
    block = 2048
    disk = bytearray(blocks * block)
    volume = 16 * block
    disk[volume : volume + 7] = b"\1CD001\1"
    disk[volume + 40 : volume + 72] = b"EMPTY".ljust(32)
    disk[volume + 80 : volume + 88] = struct.pack("<I", blocks) + struct.pack(">I", blocks)
    disk[volume + 128 : volume + 132] = struct.pack("<H", block) + struct.pack(">H", block)
    disk[volume + block : volume + block + 7] = b"\xffCD001\1"
    return bytes(disk)
