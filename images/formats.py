"""What a file really is, and whether it is safe to open: the one gate for files.

Bytes are inspected while they stream by, so inspecting costs no extra read. The verdict is `Inspection`;
`check()` holds it against what the image's record declares (contract section 4.6). What is known of each
format stands in `images.inspectors`.
"""

import dataclasses
import logging

from oslo_utils.imageutils import format_inspector

from images import config, errors, inspectors, pipeline

LOG = logging.getLogger(__name__)

#: Formats that are only ever bytes to us: what is in them, a kernel say, may look like a broken
#: partition table, so that check does not count for them.
_OPAQUE = ("aki", "ari", "ami", "ploop")
#: Bytes that no disk has: a header that says more, or less than none, lies. It is also the greatest number
#: that every reader of JSON takes exactly.
_ABSURD = 1 << 53
#: Inspectors are fed whole blocks, at multiples of this: how a stranger cuts his stream changes no verdict,
#: and the library finds every part of a VHDX, whose regions begin at such places.
_BLOCK = 1 << 20


@dataclasses.dataclass(frozen=True, slots=True)
class Inspection:
    """What a stream of bytes turned out to be."""

    #: Names of the formats that matched; `["raw"]` where nothing is known about the bytes.
    formats: list[str]
    #: Bytes that a guest would see; None where the format does not say, or says nonsense.
    virtual_size: int | None
    #: Failed safety checks by format: `{"qcow2": {"backing_file": "…"}}`.
    unsafe: dict[str, dict[str, str]]
    #: How many bytes there were.
    size: int = 0

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
        self._waiting = bytearray()  # what is no whole block yet
        self._all = inspectors.each()
        #: Those that still want to see more.
        self._curious = list(self._all)
        self._broken: set[format_inspector.FileInspector] = set()

    def feed(self, piece: pipeline.Piece) -> None:
        """Take in one more piece."""
        self._size += len(piece)
        rest = memoryview(piece)
        while len(self._waiting) + len(rest) >= _BLOCK:
            missing = _BLOCK - len(self._waiting)
            if self._waiting:
                self._waiting += rest[:missing]
                self._show(bytes(self._waiting))
                self._waiting.clear()
            else:
                self._show(rest[:missing])
            rest = rest[missing:]
        self._waiting += rest

    def _show(self, block: pipeline.Piece) -> None:
        """Give a block to every inspector that may still recognise something."""
        for one in list(self._curious):
            try:
                one.eat_chunk(block)  # type: ignore[arg-type]  # it copies what it keeps
                done = one.complete and not one.format_match
            except Exception:  # noqa: BLE001 - the header is a stranger's; whether it is one of these, finish() says
                self._broken.add(one)
                done = True
            if done:
                self._curious.remove(one)

    def finish(self) -> Inspection:
        """The verdict on all that was taken in."""
        if self._waiting:
            self._show(bytes(self._waiting))
        for one in self._all:
            one.finish()
        found = {one.NAME: one for one in self._all if _matches(one)}
        if inspectors.FixedVhd.NAME in found and found.keys() <= {inspectors.FixedVhd.NAME, "gpt"}:
            found = {"vhd": found[inspectors.FixedVhd.NAME]}  # the table is that of the disk in it
        if not found:
            return Inspection(["raw"], self._size or None, {}, self._size)
        unsafe = {name: why for name, one in found.items() if (why := self._failures(one))}
        verdict = Inspection(sorted(found), None, unsafe, self._size)
        if verdict.format is None:
            return verdict
        return _sized(verdict, _virtual_size(found[verdict.format], self._size))

    def _failures(self, found: format_inspector.FileInspector) -> dict[str, str]:
        """Safety checks that it fails, by name."""
        if found in self._broken:
            return {"structure": "its header is damaged"}
        try:
            found.safety_check()
        except format_inspector.SafetyCheckFailed as failed:
            return {name: str(cause) for name, cause in failed.failures.items()}
        except format_inspector.ImageFormatError:
            return {"structure": "its header is damaged, or the data end within it"}
        return {}


def _matches(one: format_inspector.FileInspector) -> bool:
    try:
        return one.format_match
    except Exception:  # noqa: BLE001 - one that cannot even say so has not recognised anything
        return False


def _sized(verdict: Inspection, size: int | None) -> Inspection:
    """The verdict with its virtual size, which is unsafe to be believed where no disk has it."""
    if size is None or 0 <= size <= _ABSURD:
        return dataclasses.replace(verdict, virtual_size=size or None)
    name = str(verdict.format)
    failed = verdict.unsafe.get(name) or {"virtual_size": f"it claims {size} bytes"}
    return dataclasses.replace(verdict, unsafe=verdict.unsafe | {name: failed})


def _virtual_size(found: format_inspector.FileInspector, length: int) -> int | None:
    if found.NAME in ("gpt", "iso"):  # the guest sees the file itself
        return length
    try:
        return int(found.virtual_size)
    except Exception:  # noqa: BLE001 - the header is a stranger's; any error means it does not say
        return None


def detect(found: Inspection) -> str:
    """The `disk_format` of a bare image whose record has none.

    It is raw for what the record has no name for, be it a bare disk or something that `check` will refuse.
    """
    name = found.format or "raw"
    return name if name in config.CONF.image_format.disk_formats and name != "gpt" else "raw"


def check(found: Inspection, disk_format: str | None, container_format: str | None) -> int | None:
    """Hold the bytes against the record; the virtual size in bytes, or None where it is unknown.

    Safety checks count whatever is declared, and whatever `require_image_format_match` says.

    Raises:
        UnacceptableFormat: the bytes are unsafe, or are not what `disk_format` says; the text says what they
            are, what is declared, and which check they fail.
    """
    if container_format != "bare":
        return None
    declared = f"The image is declared {disk_format}"
    if found.format is None:
        raise errors.UnacceptableFormat(
            f"{declared}, but the data match several formats at once: {', '.join(found.formats)}"
        )
    if disk_format in _OPAQUE:
        _check_opaque(found, str(disk_format), declared)
        return None
    _check_safety(found, declared)
    if disk_format == "raw":
        if found.format not in ("raw", "gpt"):
            LOG.warning("%s, but the data are %s; they are stored as raw", declared, found.format)
        return found.size or None
    if found.format != disk_format:
        if config.CONF.image_format.require_image_format_match:
            raise errors.UnacceptableFormat(f"{declared}, but the data are {found.format}")
        return None
    return found.virtual_size


def _check_opaque(found: Inspection, disk_format: str, declared: str) -> None:
    """Nothing else may be recognised in them; a ploop is what qemu calls a disk of Parallels."""
    if found.format in ("raw", "gpt") or (disk_format, found.format) == ("ploop", "parallels"):
        return
    raise errors.UnacceptableFormat(f"{declared}, but the data are {found.format}")


def _check_safety(found: Inspection, declared: str) -> None:
    failed = dict(found.unsafe.get(str(found.format), {}))
    if found.format == "gpt":
        for harmless in config.CONF.image_format.gpt_safety_checks_nonfatal:
            failed.pop(harmless, None)
    if failed:
        why = "; ".join(f"{name}: {cause}" for name, cause in sorted(failed.items()))
        raise errors.UnacceptableFormat(
            f"{declared}; the data are {found.format} and failed a safety check ({why})"
        )
