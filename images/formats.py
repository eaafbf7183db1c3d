"""What a file really is, and whether it is safe to open: the one door to oslo's format inspector.

Bytes are inspected while they stream by, so inspecting costs no extra read. The verdict is
`Inspection`; `check()` holds it against what the image's record declares (contract section 4.6).
"""

import collections
import dataclasses
from typing import Any, cast

from oslo_utils.imageutils import format_inspector

from images import config, errors, pipeline

#: Formats that are only ever bytes to us: what is in them, a kernel say, may look like a broken
#: partition table, so that check does not count for them.
_OPAQUE = ("aki", "ari", "ami", "ploop")
_MAX_SIZE = (1 << 63) - 1
#: Where a VHD's header says what it is, and that it is only what differs from its parent: qemu-img would
#: convert it without that, and say nothing.
_VHD_TYPE, _DIFFERENCING = slice(60, 64), b"\0\0\0\4"


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """What a stream of bytes turned out to be."""

    #: Names of the formats that matched; `["raw"]` where nothing is known about the bytes.
    formats: list[str]
    #: Bytes that a guest would see; None where the format does not say, or says nonsense.
    virtual_size: int | None
    #: Failed safety checks by format: `{"qcow2": {"backing_file": "…"}}`.
    unsafe: dict[str, dict[str, str]]

    @property
    def format(self) -> str | None:
        """The one format; a bootable ISO has a partition table too and is an iso all the same."""
        if set(self.formats) == {"iso", "gpt"}:
            return "iso"
        return self.formats[0] if len(self.formats) == 1 else None


class Inspector:
    """Inspects a stream piece by piece."""

    def __init__(self) -> None:
        self._size = 0
        self._pieces: collections.deque[pipeline.Piece] = collections.deque()
        source = iter(self._pieces.popleft, None)  # what oslo's wrapper takes a piece from
        self._wrapper = format_inspector.InspectWrapper(cast(Any, source))

    def feed(self, piece: pipeline.Piece) -> None:
        """Take in one more piece."""
        self._pieces.append(piece)
        self._size += len(piece)
        next(self._wrapper)

    def finish(self) -> Inspection:
        """The verdict on all that was taken in."""
        self._wrapper.close()
        matches = self._wrapper.formats or []
        found = dict(zip(map(str, matches), matches, strict=True))
        if list(found) == ["raw"]:
            return Inspection(["raw"], self._size or None, {})
        unsafe = {name: failed for name, one in found.items() if (failed := _failures(one))}
        verdict = Inspection(sorted(found), None, unsafe)
        if verdict.format is None:
            return verdict
        size = _virtual_size(found[verdict.format], self._size)
        return dataclasses.replace(verdict, virtual_size=size)


def _virtual_size(found: format_inspector.FileInspector, length: int) -> int | None:
    if found.NAME in ("gpt", "iso"):  # the guest sees the file itself
        return length
    try:
        size = int(found.virtual_size)
    except Exception:  # noqa: BLE001 - the header is a stranger's; any error means it does not say
        return None
    return size if 0 < size <= _MAX_SIZE else None


def _failures(found: format_inspector.FileInspector) -> dict[str, str]:
    try:
        found.safety_check()
    except format_inspector.SafetyCheckFailed as failed:
        return {name: str(cause) for name, cause in failed.failures.items()}
    except Exception as error:  # noqa: BLE001 - a check that cannot even run has not been passed
        return {"inspection": f"{type(error).__name__} while it was checked"}
    if found.NAME == "vhd" and found.region("header").data[_VHD_TYPE] == _DIFFERENCING:
        return {"parent": "it is the difference from another file, which is not here"}
    return {}


def check(found: Inspection, disk_format: str | None, container_format: str | None) -> int | None:
    """Hold the bytes against the record; the virtual size in bytes, or None where it is unknown.

    Safety checks count whatever is declared, and whatever `require_image_format_match` says.

    Raises:
        UnacceptableFormat: the bytes are unsafe, or are not what `disk_format` says.
    """
    if container_format != "bare":
        return None
    declared = f"The image is declared {disk_format}"
    if found.format is None:
        raise errors.UnacceptableFormat(
            f"{declared}, but the data match several formats at once: {', '.join(found.formats)}"
        )
    if disk_format in _OPAQUE:
        if found.format not in ("raw", "gpt"):
            raise errors.UnacceptableFormat(f"{declared}, but the data are {found.format}")
        return None
    _check_safety(found, declared)
    if disk_format == "raw":
        return found.virtual_size if found.format in ("raw", "gpt", "iso") else None
    if found.format != disk_format:
        if config.CONF.image_format.require_image_format_match:
            raise errors.UnacceptableFormat(f"{declared}, but the data are {found.format}")
        return None
    return found.virtual_size


def _check_safety(found: Inspection, declared: str) -> None:
    options = config.CONF.image_format
    failed = dict(found.unsafe.get(str(found.format), {}))
    if found.format == "gpt":
        for harmless in options.gpt_safety_checks_nonfatal:
            failed.pop(harmless, None)
    if found.format == "vmdk" and not options.vmdk_allowed_types:
        failed["create_type"] = "VMDK images are not accepted here"
    if failed:
        why = "; ".join(f"{name}: {cause}" for name, cause in sorted(failed.items()))
        raise errors.UnacceptableFormat(
            f"{declared}; the data are {found.format} and failed a safety check ({why})"
        )
