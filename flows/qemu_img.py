"""qemu-img, run as on hostile bytes: the format forced, resources bounded, in a box (`flows.box`)."""

import dataclasses
import json
import os
import pathlib
import re
import select
import subprocess
import time
from collections.abc import Callable
from typing import Any

from flows import box
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
    told = _told(file, image_format, "info")
    _judge(told, image_format)
    return Info(told["format"], told["virtual-size"])


def _judge(told: Any, image_format: str) -> None:
    """Refuse what qemu-img itself finds suspicious, although the gate has let it pass."""
    details = told.get("format-specific", {}).get("data", {})
    if told["format"] != image_format:
        raise errors.UnacceptableFormat(f"qemu-img takes the data for {told['format']}")
    if any(told.get(name) for name in _REFERENCES) or details.get("data-file"):
        raise errors.UnacceptableFormat("The image refers to another file")
    kind = details.get("create-type")
    if kind and kind not in config.CONF.image_format.vmdk_allowed_types:
        raise errors.UnacceptableFormat(f"VMDK images of type {kind} are not accepted here")


def check(file: pathlib.Path, image_format: str) -> None:
    """Let qemu-img hold an image's tables against its length, which finds a file that was cut.

    Raises:
        UnacceptableFormat: the tables are broken, or point behind the end of the file; or it is no image of
            this format that may be opened together with what it names, as `info` finds.
    """
    told = _told(file, image_format, "info")
    _judge(told, image_format)
    ended = _run(file, ["check", "--output=json", *_as(image_format)])
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
        missing -= int(told.get("cluster-size", 1)) - 1
    if broken or ended.returncode not in (0, 3) or missing > 0:
        raise errors.UnacceptableFormat(f"The {image_format} data are damaged or cut short")


def measure(file: pathlib.Path, image_format: str) -> int:
    """Bytes of its disk that an image holds, unpacked, with their tables: what a conversion writes at most.

    Raises:
        UnacceptableFormat: qemu-img cannot read its tables.
    """
    return int(_told(file, image_format, "measure", "-O", "qcow2")["required"])


def convert(
    source: tuple[pathlib.Path, str],
    target: tuple[pathlib.Path, str],
    on_share: Callable[[float], None],
    *,
    most: int,
) -> None:
    """Convert `source` (file and format) to `target`; `on_share` is told the share done, 0 to 1.

    `on_share` is called at least twice a second; what it raises stops qemu-img and all its children. `target`
    is there, empty, and will have `most` bytes at most; it is left as it is where this raises.

    Raises:
        ImportFailed: qemu-img failed, or took longer than `[gantry] conversion_timeout`.
        LimitExceeded: the outcome would be larger than `most`.
        StorageFull: staging has no room for the outcome.
    """
    seconds = config.CONF.gantry.conversion_timeout
    # -W: the order of writes does not matter in a new file, and it doubles the speed.
    arguments = ["convert", "-p", "-W", "-t", _cache(source[0]), *_as(source[1]), "-O", target[1]]
    arguments += [*_OPTIONS.get(target[1], []), box.SOURCE, box.TARGET]
    command = box.command(arguments, source=source[0], target=target[0], seconds=seconds, most=most)
    with box.started(command) as process:
        _follow(process, on_share)
        complaint = (process.stderr.read() if process.stderr else b"").decode(errors="replace")
        if process.wait() != 0:
            raise _failure(process.returncode, complaint, most)
    on_share(1.0)


def _as(image_format: str) -> list[str]:
    """What qemu-img is to take a file for; it is never left to guess."""
    return ["-f", image_format]


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
    said_more = select.poll()  # `select.select` knows no descriptor beyond 1023
    said_more.register(process.stdout, select.POLLIN)
    share = 0.0
    while True:
        if said_more.poll(_TICK * 1000):
            said = os.read(process.stdout.fileno(), 4096)
            if not said:
                return
            found = _SHARE.findall(said)
            share = float(found[-1]) / 100 if found else share
        on_share(share)
        if time.monotonic() > due:
            raise errors.ImportFailed("The conversion took too long")


def _failure(code: int, complaint: str, most: int) -> errors.GantryError:
    limit = box.passed(code, complaint)
    if limit == "size":
        return errors.LimitExceeded(f"The converted image would have more than {most} bytes")
    if limit == "time":
        return errors.ImportFailed("The conversion took too much processor time")
    if "No space left" in complaint:
        return errors.StorageFull("The staging area is full")
    # Paths stand before and between colons; what qemu-img complains of stands behind the last one.
    why = complaint.strip().rsplit(": ", 1)[-1][:200] or "it was killed"
    return errors.ImportFailed(f"qemu-img could not convert the image: {why}")


def _told(file: pathlib.Path, image_format: str, what: str, *options: str) -> Any:
    """What qemu-img says of a file, as JSON."""
    ended = _run(file, [what, "--output=json", *_as(image_format), *options])
    try:
        return json.loads(ended.stdout if ended.returncode == 0 else b"")
    except ValueError as error:
        raise errors.UnacceptableFormat(
            f"qemu-img cannot open the image as {image_format}"
        ) from error


def _run(file: pathlib.Path, arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Ask about a file, which is the last argument; nothing is written, and soon over."""
    command = box.command([*arguments, box.SOURCE], source=file, seconds=_INFO_SECONDS)
    with box.started(command) as process:
        try:
            out, complaint = process.communicate(timeout=_INFO_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise errors.UnacceptableFormat("qemu-img took too long to read the image") from error
        return subprocess.CompletedProcess(process.args, process.returncode, out, complaint)
