"""The box that qemu-img runs in: what it can see, what it may use, and what is said where there is none."""

import logging
import pathlib
import socket
import subprocess
import sys

import pytest

from flows import box, process, qemu_img
from images import errors
from tests.conftest import Configure

pytestmark = pytest.mark.usefixtures("configure")

boxed = pytest.mark.skipif(bool(box.missing()), reason=f"no box on this host: {box.missing()}")


@pytest.fixture
def trap(tmp_path: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path]:
    """A qcow2 in staging whose backing file is a secret beside it, and that secret."""
    secret, file = tmp_path / "secret", tmp_path / "trap.qcow2"
    secret.write_bytes(b"the canary sings".ljust(1 << 20, b"."))
    made = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(file)]
    subprocess.run(made, check=True)
    return file, secret


def convert(file: pathlib.Path) -> bytes:
    """What qemu-img makes of it, if nobody inspects it first."""
    target = file.with_name("out")
    target.touch()
    qemu_img.convert((file, "qcow2"), (target, "raw"), lambda _: None, most=1 << 30)
    return target.read_bytes()


def inside(*words: str, **limits: int) -> subprocess.CompletedProcess[str]:
    """Run another program in place of qemu-img."""
    command = box.command([], seconds=limits.get("seconds", 30), most=limits.get("most", 0))
    assert command[-1] == "qemu-img"
    return subprocess.run([*command[:-1], *words], capture_output=True, text=True, check=False)


@boxed
def test_a_file_beside_staging_cannot_be_read(trap: tuple[pathlib.Path, pathlib.Path]) -> None:
    """Not even by a qemu-img that opens whatever an image names."""
    with pytest.raises(errors.ImportFailed) as caught:
        convert(trap[0])
    assert "No such file" in str(caught.value)


def test_without_the_box_it_can_be(
    configure: Configure, trap: tuple[pathlib.Path, pathlib.Path]
) -> None:
    """The trap is one: the secret comes out."""
    configure("qemu_img_box = off")
    assert convert(trap[0]).startswith(b"the canary sings")


@boxed
def test_what_is_visible(tmp_path: pathlib.Path) -> None:
    """The system's libraries and programs, and two files."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_text("data")
    target.touch()
    command = box.command([], source=source, target=target, seconds=30)[:-1]
    listed = subprocess.run([*command, "ls", "/"], capture_output=True, text=True, check=True)
    assert set(listed.stdout.split()) <= {
        *("bin", "dev", "etc", "lib", "lib64", "source", "target", "tmp", "usr")
    }
    for where in ("/etc/passwd", str(source), "/proc/self/environ"):
        assert subprocess.run([*command, "cat", where], capture_output=True, check=False).returncode
    write = subprocess.run(
        [*command, "sh", "-c", "echo x > /source"], capture_output=True, check=False
    )
    assert write.returncode
    assert source.read_text() == "data"


@boxed
def test_there_is_no_network(tmp_path: pathlib.Path) -> None:
    """Neither the host's loopback nor its sockets by name."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        reach = f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        assert subprocess.run(["bash", "-c", reach], check=False).returncode == 0
        assert inside("bash", "-c", reach).returncode
    assert tmp_path.exists()


def test_limits(configure: Configure) -> None:
    """They are the process's own, box or none: KiB of memory, seconds, blocks of a file, no core."""
    shown = ["sh", "-c", "ulimit -v; ulimit -t; ulimit -f; ulimit -c"]
    for kind in ("auto", "off"):
        configure(f"qemu_img_memory_mib = 600\nqemu_img_box = {kind}")
        ended = inside(*shown, seconds=5, most=1 << 20)
        assert ended.stdout.split() == [str(600 << 10), "5", "2048", "0"], ended.stderr


def test_which_limit_was_passed() -> None:
    """By what the kernel says of the process, through the box."""
    assert (
        process.passed(inside("sh", "-c", "while :; do :; done", seconds=1).returncode, "")
        == "time"
    )
    assert (
        process.passed(inside("sh", "-c", "exec yes > /tmp/grown", most=10).returncode, "")
        == "size"
    )
    assert process.passed(1, "qemu-img: error while writing: File too large") == "size"
    assert process.passed(1, "qemu-img: no such format") == ""


def test_memory_is_bounded(configure: Configure) -> None:
    """A process that wants more gets none."""
    configure("qemu_img_memory_mib = 512")
    want = "import sys; bytearray(int(sys.argv[1]) << 20)"
    assert inside("/usr/bin/python3", "-c", want, "50").returncode == 0
    assert inside("/usr/bin/python3", "-c", want, "700").returncode


def test_a_host_without_a_box(
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: pathlib.Path,
) -> None:
    """The operator hears of it at start; whoever requires the box gets no import without it."""
    for program in ("setpriv", "prlimit", "qemu-img"):
        found = subprocess.run(["which", program], capture_output=True, text=True, check=True)
        (tmp_path / program).symlink_to(found.stdout.strip())
    monkeypatch.setenv("PATH", str(tmp_path))
    box.missing.cache_clear()
    try:
        with caplog.at_level(logging.WARNING):
            box.warn()
        assert "bubblewrap is not installed" in caplog.text
        assert "bwrap" not in box.command([], seconds=1)
        configure("qemu_img_box = required")
        with pytest.raises(errors.Invalid, match="qemu_img_box is required"):
            box.warn()
        with pytest.raises(errors.ImportFailed, match="bubblewrap is not installed"):
            box.command([], seconds=1)
        caplog.clear()
        configure("qemu_img_box = off")
        box.warn()
        assert caplog.text == ""
    finally:
        box.missing.cache_clear()


def test_a_host_that_cannot_make_namespaces(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    """It is found out by trying: the program being there says nothing."""
    program = tmp_path / "bwrap"
    program.write_text(
        "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{pathlib.Path(sys.executable).parent}:/usr/bin:/bin")
    box.missing.cache_clear()
    try:
        assert "No permissions to create new namespace" in box.missing()
        assert "bwrap" not in box.command([], seconds=1)
    finally:
        box.missing.cache_clear()
