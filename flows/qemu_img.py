"""qemu-img, run as on hostile bytes: the format forced, resources bounded, in a box (`flows.box`)."""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

from flows import box, process
from images import config, errors

#: Seconds of processor time and of patience that reading a header may cost.
_INFO_SECONDS = 30
_SHARE = re.compile(rb"\(([\d.]+)/100%\)")
#: What an image may refer to outside itself, as `qemu-img info` names it.
_REFERENCES = ("backing-filename", "full-backing-filename")

#: Where the header of a VDI says where its blocks begin, their length, that of what stands beside each, and
#: how many there are.
_VDI_BLOCKS = (0x158, 0x178, 0x17C, 0x184)
#: Types of a VMDK that is one file and can be written, the one that qemu-img makes unasked first.
_VMDK_TYPES = ("monolithicSparse", "streamOptimized")


#: Called at least twice a second while qemu-img is at work; what it raises stops it.
Heard = Callable[[], object]


def _unheard() -> None:
    """Nobody wants to stop it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Info:
    """What qemu-img says of an image."""

    format: str
    #: Bytes that a guest would see.
    virtual_size: int
    #: Whether its data cannot be read without a key.
    is_encrypted: bool


def info(file: pathlib.Path, image_format: str, heard: Heard = _unheard) -> Info:
    """Ask qemu-img about a file of a known format.

    Raises:
        UnacceptableFormat: it is not of this format, or refers to other files; or qemu-img needs more memory
            or time to say so than it has.
    """
    told = _told(file, image_format, heard, "info")
    _judge(told, image_format)
    return Info(told["format"], told["virtual-size"], bool(told.get("encrypted")))


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


def check(file: pathlib.Path, image_format: str, heard: Heard = _unheard) -> None:
    """Let qemu-img hold an image's tables against its length, which finds a file that was cut.

    Those of an encrypted image it reads for nobody who has not the key, and nobody here has it.

    Raises:
        UnacceptableFormat: the tables are broken, or point behind the end of the file; or it is no image of
            this format that may be opened together with what it names, as `info` finds; or as `info`.
    """
    told = _told(file, image_format, heard, "info")
    _judge(told, image_format)
    if told.get("encrypted"):
        return
    code, out = _run(file, ["check", "--output=json", *_as(image_format)], heard)
    try:
        report = json.loads(out)
    except ValueError:
        report = {}
    broken = report.get("corruptions", 0) or report.get("check-errors", 0)
    missing = _end(file, image_format, report) - file.stat().st_size
    if "image-end-offset" in report and not _ends_with_a_cluster(file, told, report):
        missing -= int(told.get("cluster-size", 1)) - 1
    if broken or code not in (0, 3) or missing > 0:
        raise errors.UnacceptableFormat(f"The {image_format} data are damaged or cut short")


def _end(file: pathlib.Path, image_format: str, report: dict[str, Any]) -> int:
    """Where the data end that an image's tables name; 0 where qemu-img has held them against the file itself.

    Of a VDI it does not: its header says where its blocks begin, and their length and number.
    """
    if image_format != "vdi":
        return int(report.get("image-end-offset", 0))
    with file.open("rb") as source:
        header = source.read(512)
    begin, length, beside, count = (
        int.from_bytes(header[at : at + 4], "little") for at in _VDI_BLOCKS
    )
    return begin + count * (length + beside)


def _ends_with_a_cluster(file: pathlib.Path, told: dict[str, Any], report: dict[str, Any]) -> bool:
    """Else the last thing in a file ends as it is long: data that are compressed, or a table.

    That of a disk that was just created or was enlarged, of a snapshot, or of a bitmap.
    """
    if not report.get("allocated-clusters") or report.get("compressed-clusters"):
        return False
    if told.get("snapshots") or told.get("format-specific", {}).get("data", {}).get("bitmaps"):
        return False
    if told["format"] != "qcow2":
        return True
    with file.open("rb") as source:
        header = source.read(48)
    entries, begin = int.from_bytes(header[36:40], "big"), int.from_bytes(header[40:48], "big")
    return begin + 8 * entries != file.stat().st_size


def measure(file: pathlib.Path, image_format: str, heard: Heard = _unheard) -> int:
    """Bytes of its disk that an image holds, unpacked, with their tables: what a conversion writes at most.

    Raises:
        UnacceptableFormat: qemu-img cannot read its tables; or as `info`.
    """
    return int(_told(file, image_format, heard, "measure", "-O", "qcow2")["required"])


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
        ImportFailed: qemu-img failed, or needs more time or memory than `[gantry] conversion_timeout` and
            `qemu_img_memory_mib` allow.
        LimitExceeded: the outcome would be larger than `most`.
        StorageFull: staging has no room for the outcome.
    """
    seconds = config.CONF.gantry.conversion_timeout
    # -W: the order of writes does not matter in a new file, and it doubles the speed.
    arguments = ["convert", "-p", "-W", "-t", _cache(source[0]), *_as(source[1]), "-O", target[1]]
    arguments += [*_options(target[1]), box.SOURCE, box.TARGET]
    command = box.command(arguments, source=source[0], target=target[0], seconds=seconds, most=most)
    with process.started(command) as running:
        try:
            _, complaint = process.listen(running, seconds, lambda said: on_share(_share(said)))
        except TimeoutError as error:
            raise errors.ImportFailed(
                f"The conversion took too long: [gantry] conversion_timeout allows {seconds} s"
            ) from error
    if running.returncode != 0:
        raise _failure(running.returncode, complaint.decode(errors="replace"), most)
    on_share(1.0)


def vmdk_type() -> str | None:
    """The type of the VMDKs that `convert` makes, which may be read here too; None where none of them may."""
    allowed = config.CONF.image_format.vmdk_allowed_types
    return next((kind for kind in _VMDK_TYPES if kind in allowed), None)


def _options(image_format: str) -> list[str]:
    """What is said besides of a new file of a format."""
    if image_format == "vpc":  # its size would be rounded up to whole cylinders
        return ["-o", "force_size=on"]
    return ["-o", f"subformat={vmdk_type()}"] if image_format == "vmdk" else []


def _share(said: bytes) -> float:
    """How far it is, by what it has said last of its progress."""
    found = _SHARE.findall(said)
    return float(found[-1]) / 100 if found else 0.0


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


def _failure(code: int, complaint: str, most: int) -> errors.GantryError:
    limit = process.passed(code, complaint)
    if limit == "size":
        return errors.LimitExceeded(f"The converted image would have more than {most} bytes")
    if limit == "time":
        allowed = config.CONF.gantry.conversion_timeout
        return errors.ImportFailed(
            f"The conversion took too much processor time: [gantry] conversion_timeout allows {allowed} s"
        )
    if limit == "memory":
        return errors.ImportFailed(_needs_memory("convert"))
    if "No space left" in complaint:
        return errors.StorageFull("The staging area is full")
    # Paths stand before and between colons; what qemu-img complains of stands behind the last one.
    why = complaint.strip().rsplit(": ", 1)[-1][:200] or "it was killed"
    return errors.ImportFailed(f"qemu-img could not convert the image: {why}")


def _needs_memory(what: str) -> str:
    allowed = config.CONF.gantry.qemu_img_memory_mib
    return (
        f"qemu-img needs more memory to {what} the image than [gantry] qemu_img_memory_mib allows, "
        f"{allowed} MiB"
    )


def _told(file: pathlib.Path, image_format: str, heard: Heard, what: str, *options: str) -> Any:
    """What qemu-img says of a file, as JSON."""
    code, out = _run(file, [what, "--output=json", *_as(image_format), *options], heard)
    try:
        return json.loads(out if code == 0 else b"")
    except ValueError as error:
        raise errors.UnacceptableFormat(
            f"qemu-img cannot open the image as {image_format}"
        ) from error


def _run(file: pathlib.Path, arguments: list[str], heard: Heard) -> tuple[int, bytes]:
    """Ask about a file, which is the last argument, and is only read: exit code, and output."""
    command = box.command([*arguments, box.SOURCE], source=file, seconds=_INFO_SECONDS)
    with process.started(command) as running:
        try:
            out, complaint = process.listen(running, _INFO_SECONDS, lambda _: heard())
        except TimeoutError as error:
            raise errors.UnacceptableFormat("qemu-img took too long to read the image") from error
    limit = process.passed(running.returncode, complaint.decode(errors="replace"))
    if limit == "time":
        raise errors.UnacceptableFormat("qemu-img took too much processor time to read the image")
    if limit == "memory":
        raise errors.UnacceptableFormat(_needs_memory("read"))
    return running.returncode, out
