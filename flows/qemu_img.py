"""qemu-img, run as on hostile bytes: the format forced, resources bounded, in a session of its own."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from images import config, errors

#: Seconds of processor time and of patience that reading a header may cost.
_INFO_SECONDS = 30
#: Seconds between two looks at whether the conversion should go on.
_TICK = 0.5
_SHARE = re.compile(rb"\(([\d.]+)/100%\)")
#: What an image may refer to outside itself, as `qemu-img info` names it.
_REFERENCES = ("backing-filename", "full-backing-filename")

#: What is said besides of a new file of a format. The size of a VHD would be rounded up to whole cylinders.
_OPTIONS = {"vpc": ["-o", "force_size=on"]}


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
    """What qemu-img says of an image."""

    format: str
    #: Bytes that a guest would see.
    virtual_size: int


def info(file: pathlib.Path, image_format: str) -> Info:
    """Ask qemu-img about a file of a known format.

    Raises:
        UnacceptableFormat: it is not of this format, or refers to other files.
    """
    told = json.loads(_output(["info", "--output=json", "-f", image_format, str(file)]))
    details = told.get("format-specific", {}).get("data", {})
    if told["format"] != image_format:
        raise errors.UnacceptableFormat(f"qemu-img takes the data for {told['format']}")
    if any(told.get(name) for name in _REFERENCES) or details.get("data-file"):
        raise errors.UnacceptableFormat("The image refers to another file")
    kind = details.get("create-type")
    if kind and kind not in config.CONF.image_format.vmdk_allowed_types:
        raise errors.UnacceptableFormat(f"VMDK images of type {kind} are not accepted here")
    return Info(told["format"], told["virtual-size"])


def check(file: pathlib.Path, image_format: str) -> None:
    """Let qemu-img hold an image's tables against its length, which finds a file that was cut.

    Raises:
        UnacceptableFormat: the tables are broken, or point behind the end of the file.
    """
    arguments = ["check", "--output=json", "-f", image_format, str(file)]
    ended = _run(arguments, _INFO_SECONDS)
    try:
        report = json.loads(ended.stdout)
    except ValueError:
        report = {}
    # A file that qemu-img has just created ends with its tables, which do not fill their last cluster.
    end = report.get("image-end-offset", 0) if report.get("allocated-clusters") else 0
    broken = report.get("corruptions", 0) or report.get("check-errors", 0)
    missing = end - file.stat().st_size
    if missing > 0 and report.get("compressed-clusters", 0):
        # Compressed data are as long as they are; the file may end with them, within a cluster.
        missing -= _cluster_size(file, image_format) - 1
    if broken or ended.returncode not in (0, 3) or missing > 0:
        raise errors.UnacceptableFormat(f"The {image_format} data are damaged or cut short")


def _cluster_size(file: pathlib.Path, image_format: str) -> int:
    told = json.loads(_output(["info", "--output=json", "-f", image_format, str(file)]))
    return int(told.get("cluster-size", 1))


def convert(
    source: tuple[pathlib.Path, str],
    target: tuple[pathlib.Path, str],
    on_share: Callable[[float], None],
) -> None:
    """Convert `source` (file and format) to `target`; `on_share` is told the share done, 0 to 1.

    `on_share` is called at least twice a second; what it raises stops qemu-img and all its children.

    Raises:
        ImportFailed: qemu-img failed, or took longer than `[gantry] conversion_timeout`.
        StorageFull: staging has no room for the outcome.
    """
    # -W: the order of writes does not matter in a new file, and it doubles the speed.
    arguments = ["convert", "-p", "-W", "-t", _cache(source[0]), "-f", source[1], "-O", target[1]]
    arguments += _OPTIONS.get(target[1], [])
    command = _command(
        [*arguments, str(source[0]), str(target[0])], config.CONF.gantry.conversion_timeout
    )
    with _started(command) as process:
        _follow(process, on_share)
        complaint = (process.stderr.read() if process.stderr else b"").decode(errors="replace")
        if process.wait() != 0:
            raise _failure(complaint)
    on_share(1.0)


def _cache(source: pathlib.Path) -> str:
    """How to write beside a file: past the page cache, where that can be done, for it is synced at once."""
    try:
        os.close(os.open(source, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        return "writeback"
    return "none"


def _follow(process: subprocess.Popen[bytes], on_share: Callable[[float], None]) -> None:
    """Read the progress until qemu-img closes its output."""
    due = time.monotonic() + config.CONF.gantry.conversion_timeout
    assert process.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
    share = 0.0
    while True:
        if select.select([process.stdout], [], [], _TICK)[0]:
            said = os.read(process.stdout.fileno(), 4096)
            if not said:
                return
            found = _SHARE.findall(said)
            share = float(found[-1]) / 100 if found else share
        on_share(share)
        if time.monotonic() > due:
            raise errors.ImportFailed("The conversion took too long")


def _failure(complaint: str) -> errors.GantryError:
    if "No space left" in complaint:
        return errors.StorageFull("The staging area is full")
    # Paths stand before and between colons; what qemu-img complains of stands behind the last one.
    why = complaint.strip().rsplit(": ", 1)[-1][:200] or "it was killed"
    return errors.ImportFailed(f"qemu-img could not convert the image: {why}")


def _output(arguments: list[str]) -> bytes:
    ended = _run(arguments, _INFO_SECONDS)
    if ended.returncode != 0:
        raise errors.UnacceptableFormat("qemu-img cannot open the image")
    return ended.stdout


def _run(arguments: list[str], seconds: int) -> subprocess.CompletedProcess[bytes]:
    with _started(_command(arguments, seconds)) as process:
        try:
            out, complaint = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as error:
            raise errors.UnacceptableFormat("qemu-img took too long to read the image") from error
        return subprocess.CompletedProcess(process.args, process.returncode, out, complaint)


def _command(arguments: list[str], seconds: int) -> list[str]:
    """The command line: it dies with its worker, and has bounded memory and processor time.

    Raises:
        ImportFailed: a program is missing on this host.
    """
    for program in ("setpriv", "prlimit", "qemu-img"):
        if shutil.which(program) is None:
            raise errors.ImportFailed(
                f"The worker's host has no {program}; its operator must install it"
            )
    memory = config.CONF.gantry.qemu_img_memory_mib << 20
    limits = ["prlimit", f"--as={memory}", f"--cpu={seconds}", "--core=0", "--"]
    return ["setpriv", "--pdeathsig", "KILL", "--", *limits, "qemu-img", *arguments]


@contextlib.contextmanager
def _started(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, of which nothing is left when the block ends."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe:
                pipe.close()
