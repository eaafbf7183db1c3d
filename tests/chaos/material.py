"""The bytes that are imported, and their digests, which nobody of the service has made."""

import concurrent.futures
import dataclasses
import hashlib
import os
import pathlib
import subprocess

MIB = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Material:
    """One file, and what an image of it must come to."""

    #: What is sent or downloaded.
    file: pathlib.Path
    #: The format that it is declared to have.
    disk_format: str
    #: Of what must be stored, which is not `file` itself where that is converted.
    size: int
    md5: str
    sha512: str


@dataclasses.dataclass(frozen=True, slots=True)
class Shelf:
    """Everything that rounds import."""

    raw: Material
    small: Material
    qcow2: Material

    @property
    def directory(self) -> pathlib.Path:
        """Where the files are."""
        return self.raw.file.parent


@dataclasses.dataclass(frozen=True, slots=True)
class Sizes:
    """How large they are, in MiB."""

    raw: int = 24
    small: int = 12
    #: As a guest sees it.
    qcow2: int = 192


def make(directory: pathlib.Path, sizes: Sizes) -> Shelf:
    """Write the files."""
    directory.mkdir(parents=True, exist_ok=True)
    return Shelf(
        raw=random(directory / "raw", sizes.raw * MIB),
        small=random(directory / "small", sizes.small * MIB),
        qcow2=_qcow2(directory, sizes.qcow2 * MIB),
    )


def random(file: pathlib.Path, size: int) -> Material:
    """A raw image that no format inspector takes for anything else."""
    with file.open("wb") as sink:
        for at in range(0, size, MIB):
            sink.write(os.urandom(min(MIB, size - at)))
    return _raw(file, file)


def _qcow2(directory: pathlib.Path, size: int) -> Material:
    """A compressed one: to unpack it is real work for qemu-img."""
    plain, packed = directory / "plain", directory / "qcow2"
    with plain.open("wb") as sink:
        for _ in range(0, size, MIB):
            sink.write(os.urandom(MIB // 2).hex().encode())
    kinds = ["-f", "raw", "-O", "qcow2", "-c", "-o", "compression_type=zstd"]
    subprocess.run(["qemu-img", "convert", *kinds, str(plain), str(packed)], check=True)
    made = _raw(packed, plain)
    plain.unlink()
    return dataclasses.replace(made, disk_format="qcow2")


def _raw(file: pathlib.Path, stored: pathlib.Path) -> Material:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        md5, sha512 = pool.map(lambda name: _digest(stored, name), ("md5", "sha512"))
    return Material(file, "raw", stored.stat().st_size, md5, sha512)


def _digest(file: pathlib.Path, name: str) -> str:
    with file.open("rb") as source:
        return hashlib.file_digest(source, name).hexdigest()
