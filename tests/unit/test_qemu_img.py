"""qemu-img as it is run: the format forced, resources bounded, nothing of it left."""

import os
import pathlib
import subprocess
import time

import psutil
import pytest

from flows import qemu_img
from images import errors
from tests.conftest import Configure

pytestmark = pytest.mark.usefixtures("configure")


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """A qcow2 of 8 MiB with data in it."""
    raw, file = tmp_path / "source.raw", tmp_path / "source.qcow2"
    raw.write_bytes(os.urandom(8 << 20))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(file)]
    subprocess.run(command, check=True)
    return file


def test_info(source: pathlib.Path) -> None:
    """The size that a guest sees."""
    assert qemu_img.info(source, "qcow2") == qemu_img.Info("qcow2", 8 << 20)
    with pytest.raises(errors.UnacceptableFormat):
        qemu_img.info(source, "vdi")


def test_check_finds_what_was_cut(source: pathlib.Path) -> None:
    """A whole file passes; one that ends early does not."""
    qemu_img.check(source, "qcow2")
    os.truncate(source, source.stat().st_size - 3_000_000)
    with pytest.raises(errors.UnacceptableFormat, match="cut short"):
        qemu_img.check(source, "qcow2")


@pytest.mark.parametrize("how", ["zlib", "zstd"])
def test_check_of_compressed_data(tmp_path: pathlib.Path, how: str) -> None:
    """They may end within a cluster; a file that lacks more than that was cut."""
    raw, file = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(os.urandom(2 << 20).hex().encode())
    command = ["qemu-img", "convert", "-c", "-o", f"compression_type={how}", "-O", "qcow2"]
    subprocess.run([*command, str(raw), str(file)], check=True)
    qemu_img.check(file, "qcow2")
    os.truncate(file, file.stat().st_size - (64 << 10))
    with pytest.raises(errors.UnacceptableFormat, match="cut short"):
        qemu_img.check(file, "qcow2")


def test_check_takes_an_empty_disk(tmp_path: pathlib.Path) -> None:
    """What `qemu-img create` makes ends before its last cluster does."""
    made = tmp_path / "empty.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(made), "64M"]
    subprocess.run(command, check=True)
    qemu_img.check(made, "qcow2")


def test_convert(source: pathlib.Path) -> None:
    """The bytes are the disk's, and progress goes up to the end."""
    shares: list[float] = []
    target = source.with_name("out.raw")
    qemu_img.convert((source, "qcow2"), (target, "raw"), shares.append)
    assert target.read_bytes() == source.with_name("source.raw").read_bytes()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_conversion_that_cannot_be(source: pathlib.Path) -> None:
    """qemu-img's own words, without the paths before them."""
    with pytest.raises(errors.ImportFailed) as caught:
        qemu_img.convert((source, "vdi"), (source.with_name("o"), "raw"), lambda _: None)
    assert "/" not in str(caught.value)


def test_a_conversion_that_takes_too_long(configure: Configure, source: pathlib.Path) -> None:
    """It is ended, and nothing of it runs on."""
    configure("conversion_timeout = 0")
    with pytest.raises(errors.ImportFailed):
        qemu_img.convert((source, "qcow2"), (source.with_name("o"), "raw"), _slow)
    assert not _running()


def test_stopping_takes_qemu_img_along(source: pathlib.Path) -> None:
    """What the callback raises ends the conversion and every process of it."""

    def stop(_: float) -> None:
        raise errors.Stopped

    with pytest.raises(errors.Stopped):
        qemu_img.convert((source, "qcow2"), (source.with_name("o"), "raw"), stop)
    assert not _running()


def test_memory_is_bounded(configure: Configure, source: pathlib.Path) -> None:
    """The limit is the process's own: the child sees it."""
    configure("qemu_img_memory_mib = 600")
    command = qemu_img._command(["--version"], 5)
    shown = ["sh", "-c", "ulimit -v; ulimit -t"]
    ended = subprocess.run(command[:-2] + shown, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [str(600 << 10), "5"]
    assert source.exists()


def _slow(_: float) -> None:
    time.sleep(0.01)


def _running() -> list[psutil.Process]:
    mine = psutil.Process().children(recursive=True)
    return [one for one in mine if one.status() != psutil.STATUS_ZOMBIE]
