"""qemu-img as it is run: the format forced, resources bounded, nothing of it left."""

import contextlib
import os
import pathlib
import subprocess
import time
from collections.abc import Callable

import pytest

from flows import qemu_img
from images import errors
from tests.conftest import Configure
from tests.security import crafted
from tests.unit import disks

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
    assert qemu_img.info(source, "qcow2") == qemu_img.Info("qcow2", 8 << 20, False)
    with pytest.raises(errors.UnacceptableFormat):
        qemu_img.info(source, "vdi")


def test_check_finds_what_was_cut(source: pathlib.Path) -> None:
    """A whole file passes; one that ends early does not."""
    qemu_img.check(source, "qcow2")
    os.truncate(source, source.stat().st_size - 3_000_000)
    with pytest.raises(errors.UnacceptableFormat, match="cut short"):
        qemu_img.check(source, "qcow2")


@pytest.mark.parametrize(
    ("kind", "left"),
    [("qcow2", 196608), ("vmdk", 65536), ("vmdk", 2 << 20), ("vdi", 1024), ("vdi", -1)],
)
def test_check_finds_what_was_cut_behind_the_tables(
    source: pathlib.Path, kind: str, left: int
) -> None:
    """qemu reads zeros behind the end of a file, so the image would be a disk without its data."""
    file = source.with_name(kind)
    command = ["qemu-img", "convert", "-f", "qcow2", "-O", kind, str(source), str(file)]
    subprocess.run(command, check=True)
    qemu_img.check(file, kind)
    os.truncate(file, left if left > 0 else file.stat().st_size + left)
    with pytest.raises(errors.UnacceptableFormat, match="cut short"):
        qemu_img.check(file, kind)


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


@pytest.mark.parametrize(
    "act",
    [
        "resize -q {} 20G",
        "resize -q {} 3000G",
        "snapshot -c one {}",
        "bitmap --add {} one",
    ],
)
def test_check_takes_what_was_worked_with(source: pathlib.Path, act: str) -> None:
    """The last thing in the file may be a table then, which ends within its cluster."""
    subprocess.run(["qemu-img", *act.format(source).split()], check=True)
    qemu_img.check(source, "qcow2")
    os.truncate(source, source.stat().st_size - (128 << 10))
    with pytest.raises(errors.UnacceptableFormat):
        qemu_img.check(source, "qcow2")


def test_check_takes_an_empty_disk(tmp_path: pathlib.Path) -> None:
    """What `qemu-img create` makes ends before its last cluster does."""
    made = tmp_path / "empty.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(made), "64M"]
    subprocess.run(command, check=True)
    qemu_img.check(made, "qcow2")


@pytest.mark.parametrize("kind", ["luks", "aes"])
def test_check_of_an_encrypted_image(tmp_path: pathlib.Path, kind: str) -> None:
    """Without its key nobody can look at its tables; what it refers to can be seen all the same."""
    whole, part, other = tmp_path / "whole", tmp_path / "part", tmp_path / "other"
    other.write_bytes(bytes(1 << 20))
    disks.encrypted(whole, kind)
    disks.encrypted(part, kind, "-b", str(other), "-F", "raw")
    assert qemu_img.info(whole, "qcow2") == qemu_img.Info("qcow2", 1 << 20, is_encrypted=True)
    qemu_img.check(whole, "qcow2")
    for ask in (qemu_img.info, qemu_img.check):
        with pytest.raises(errors.UnacceptableFormat, match="refers to another file"):
            ask(part, "qcow2")


def test_an_image_that_says_it_is_encrypted_and_has_its_data_elsewhere(
    tmp_path: pathlib.Path,
) -> None:
    file, data = tmp_path / "file", tmp_path / "data"
    command = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        f"data_file={data}",
        str(file),
        "1M",
    ]
    subprocess.run(command, check=True)
    header = bytearray(file.read_bytes())
    header[32:36] = (1).to_bytes(4, "big")
    file.write_bytes(header)
    with pytest.raises(errors.UnacceptableFormat):
        qemu_img.check(file, "qcow2")


def test_convert(source: pathlib.Path) -> None:
    """The bytes are the disk's, and progress goes up to the end."""
    shares: list[float] = []
    convert(source, shares.append)
    assert source.with_name("out").read_bytes() == source.with_name("source.raw").read_bytes()
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def convert(
    source: pathlib.Path,
    on_share: Callable[[float], None] = lambda _: None,
    *,
    image_format: str = "qcow2",
    most: int = 8 << 20,
) -> None:
    """Convert to a new raw file beside the source."""
    target = source.with_name("out")
    target.touch()
    qemu_img.convert((source, image_format), (target, "raw"), on_share, most=most)


def test_a_conversion_that_cannot_be(source: pathlib.Path) -> None:
    """qemu-img's own words, without the paths before them."""
    with pytest.raises(errors.ImportFailed) as caught:
        convert(source, image_format="vdi")
    assert "/" not in str(caught.value)


def test_a_conversion_that_takes_too_long(configure: Configure, source: pathlib.Path) -> None:
    """It is ended, and nothing of it runs on."""
    configure("conversion_timeout = 0")
    with pytest.raises(errors.ImportFailed):
        convert(source, _slow)
    assert _users(source) == []


def test_stopping_takes_qemu_img_along(source: pathlib.Path) -> None:
    """What the callback raises ends the conversion and every process of it."""

    def stop(_: float) -> None:
        raise errors.Stopped

    with pytest.raises(errors.Stopped):
        convert(source, stop)
    assert _users(source) == []


def test_the_outcome_is_bounded(source: pathlib.Path) -> None:
    """By the kernel, whatever qemu-img believes."""
    with pytest.raises(errors.LimitExceeded, match="more than 4194304 bytes"):
        convert(source, most=4 << 20)
    assert source.with_name("out").stat().st_size <= 4 << 20


def test_measure(source: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What an image holds, not what its disk could hold."""
    empty = tmp_path / "empty.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(empty), "1T"], check=True)
    assert qemu_img.measure(empty, "qcow2") < 256 << 20
    assert 8 << 20 < qemu_img.measure(source, "qcow2") < 16 << 20


def test_its_memory_is_bounded_and_suffices(
    configure: Configure, source: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """The least that may be set is enough for packed data; a table that is too large is said to be so."""
    configure("qemu_img_memory_mib = 512")
    packed, table = tmp_path / "packed", tmp_path / "table"
    command = ["qemu-img", "convert", "-c", "-f", "qcow2", "-O", "qcow2", str(source), str(packed)]
    subprocess.run(command, check=True)
    convert(packed)
    table.write_bytes(crafted.vdi("a map of 1.8 GiB"))
    with pytest.raises(errors.UnacceptableFormat, match="qemu_img_memory_mib allows, 512 MiB"):
        qemu_img.info(table, "vdi")


def test_who_asks_may_stop_it(source: pathlib.Path) -> None:
    """A file may keep it busy for as long as a question may take; its image may be deleted meanwhile."""

    def stop() -> None:
        raise errors.Stopped

    for ask in (qemu_img.info, qemu_img.check, qemu_img.measure):
        with pytest.raises(errors.Stopped):
            ask(source, "qcow2", stop)
    assert _users(source) == []


def _slow(_: float) -> None:
    time.sleep(0.01)


def _users(file: pathlib.Path) -> list[str]:
    """Processes, in whatever box, that have a file open."""
    wanted, users = file.stat(), []
    for opened in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if opened.stat().st_ino == wanted.st_ino and opened.stat().st_dev == wanted.st_dev:
                users.append(str(opened))
    return users
