"""What oslo's format inspectors miss, added to them: parts of other disks, logs to replay, tricks in a VMDK.

Each class is the library's, with more safety checks, and reads what qemu's driver reads in the same place.
The library catches what a check raises; a header that a check cannot read has not passed it.

And the formats that it takes for raw, although qemu-img would open them if it might guess. Stored as raw
their bytes would be no disk, and whoever guesses later opens something else than was stored. They are told by
their signatures, as by qemu's drivers; nothing in them is read further.
"""

import re
import struct
from typing import cast

from oslo_utils.imageutils import format_inspector

from images import config

#: Where a VHD's footer says how large the disk is now (not: was once), what kind it is, and its checksum.
_VHD_SIZE, _VHD_KIND, _VHD_SUM = slice(48, 56), slice(60, 64), slice(64, 68)
_VHD_SECTOR = 512
_VHD_FIXED, _VHD_DYNAMIC, _VHD_DIFFERENCING = 2, 3, 4
_DIFFERENCE = "it is the difference from another file, which is not here"

#: The two headers of a VHDX, of which the one with the greater sequence number counts.
_VHDX_HEADERS = {"head-1": 64 << 10, "head-2": 128 << 10}
_VHDX_SEQUENCE, _VHDX_LOG = slice(8, 16), slice(48, 64)
#: MS-VHDX 2.6.2.1: the item that says, in the second bit of its second word, that the disk has a parent.
_VHDX_PARAMETERS = "CAA16737-FA36-4D43-B3B6-33F0AA44E76B"
_VHDX_HAS_PARENT = 0x2

_VDI_KINDS = (1, 2)
_VDI_KIND, _VDI_LINKS = slice(0x4C, 0x50), slice(0x1A8, 0x1C8)

#: How qemu's driver knows a VMDK that is only text: comments and empty lines, then the version.
_VMDK_TEXT = re.compile(rb"(?:#[^\n]*\n|[ \t\r]*\n)*version=[123]\r?\n")
_VMDK_SECTORS = slice(12, 20)
# What begins a line must not reach over its end: a descriptor of a MiB of line ends would take hours.
_VMDK_TYPE = re.compile(r'^[^\S\n]*createtype\s*=\s*"?([^"\n]*)', re.MULTILINE)
_VMDK_PARENT = re.compile(r"^[^\S\n]*parentcid\s*=(?!\s*f{8}\s*$)", re.MULTILINE)
_VMDK_EXTENT = re.compile(r"^[^\S\n]*(?:rw|rdonly|noaccess)\s+\d+\s+(\w+)", re.MULTILINE)

#: So many bytes at the end may hold the trailer of a dmg: qemu looks for it in the last two sectors.
_DMG_TAIL = 1023
#: What begins the trailer: its name, its version, its length.
_DMG_TRAILER = b"koly\0\0\0\x04\0\0\x02\0"


class Tail(format_inspector.EndCaptureRegion):
    """The last bytes of a stream; without copying all that passes by, as the library's own does."""

    def capture(self, chunk: bytes, current_position: int) -> bytes:
        """Keep the last bytes."""
        self.data = bytes((bytes(self.data) + bytes(chunk[-self.length :]))[-self.length :])
        self.offset = current_position - len(self.data)
        return b""


class _Banned(format_inspector.FileInspector):
    """A format that is known, and never taken."""

    def _initialize(self) -> None:
        self._place()
        self.add_safety_check(format_inspector.SafetyCheck.banned())

    def _place(self) -> None:
        self.new_region("begin", format_inspector.CaptureRegion(0, 64))


class _Signed(_Banned):
    """One that is told by how it begins."""

    BEGINNINGS: tuple[bytes, ...] = ()

    @property
    def format_match(self) -> bool:
        """Whether it begins so."""
        return bytes(self.region("begin").data).startswith(self.BEGINNINGS)


class Parallels(_Signed):
    """A disk of Parallels, or a ploop of Virtuozzo: the record may call that ploop."""

    NAME = "parallels"
    BEGINNINGS = (b"WithoutFreeSpace", b"WithouFreSpacExt")


class Bochs(_Signed):
    """A disk of the emulator Bochs."""

    NAME = "bochs"
    BEGINNINGS = (b"Bochs Virtual HD Image",)


class Cloop(_Signed):
    """A compressed loop device of Knoppix."""

    NAME = "cloop"
    BEGINNINGS = (b"#!/bin/sh\n#V2.0 Format\n",)


class VmfsSparse(_Signed):
    """An extent of ESX, of the kinds vmfsSparse and seSparse: a difference, without its descriptor."""

    NAME = "vmfs-sparse"
    BEGINNINGS = (b"COWD\x01\0\0\0", b"\xbe\xba\xfe\xca\0\0\0\0")


class Dmg(_Banned):
    """A disk image of macOS, which says what it is in its trailer."""

    NAME = "dmg"

    def _place(self) -> None:
        self.new_region("end", Tail(_DMG_TAIL))

    @property
    def format_match(self) -> bool:
        """Whether it ends so."""
        return _DMG_TRAILER in bytes(self.region("end").data)


_FOREIGN: tuple[type[format_inspector.FileInspector], ...] = (
    Parallels,
    Bochs,
    Cloop,
    VmfsSparse,
    Dmg,
)


class Vhd(format_inspector.VHDInspector):
    """A VHD that begins with a copy of its footer: a dynamic one, or a difference."""

    def _initialize(self) -> None:
        super()._initialize()
        self.add_safety_check(format_inspector.SafetyCheck("parent", self._check_kind))

    @property
    def virtual_size(self) -> int:
        """Its present size in bytes; the library says the one that it was made with."""
        return cast(int, struct.unpack(">Q", self.region("header").data[_VHD_SIZE])[0])

    def _check_kind(self) -> None:
        kind = int.from_bytes(self.region("header").data[_VHD_KIND], "big")
        if kind == _VHD_DIFFERENCING:
            raise format_inspector.SafetyViolation(_DIFFERENCE)
        if kind not in (_VHD_FIXED, _VHD_DYNAMIC):
            raise format_inspector.SafetyViolation(f"there is no kind {kind} of VHD")


class FixedVhd(format_inspector.FileInspector):
    """A VHD of fixed size: the disk as it is, and behind it a footer."""

    NAME = "fixed vhd"

    def _initialize(self) -> None:
        self.new_region("footer", Tail(_VHD_SECTOR))
        self.add_safety_check(format_inspector.SafetyCheck.null())

    @property
    def format_match(self) -> bool:
        """Whether a whole footer ends the file."""
        footer = bytes(self.region("footer").data)
        if len(footer) < _VHD_SECTOR or not footer.startswith(b"conectix"):
            return False
        total = ~(sum(footer) - sum(footer[_VHD_SUM])) & 0xFFFFFFFF
        kind, said = (int.from_bytes(footer[part], "big") for part in (_VHD_KIND, _VHD_SUM))
        return kind == _VHD_FIXED and said == total

    @property
    def virtual_size(self) -> int:
        """Bytes that a guest sees."""
        return cast(int, struct.unpack(">Q", self.region("footer").data[_VHD_SIZE])[0])


class Vhdx(format_inspector.VHDXInspector):
    """A VHDX that may be a difference, or may have a log that was never replayed."""

    def _initialize(self) -> None:
        super()._initialize()
        for name, offset in _VHDX_HEADERS.items():
            self.new_region(name, format_inspector.CaptureRegion(offset, 128))
        self.add_safety_check(format_inspector.SafetyCheck("parent", self._check_parent))
        self.add_safety_check(format_inspector.SafetyCheck("log", self._check_log))

    def post_process(self) -> None:
        """Look for the disk's parameters, once the table that says where they are has passed."""
        super().post_process()
        if self.has_region("vds") and not self.has_region("parameters"):
            region = self._find_meta_entry(_VHDX_PARAMETERS)
            if region:
                self.new_region("parameters", region)

    def _check_parent(self) -> None:
        if not self.has_region("parameters"):
            raise format_inspector.SafetyViolation("it does not say whether it has a parent")
        (flags,) = struct.unpack("<I", self.region("parameters").data[4:8])
        if flags & _VHDX_HAS_PARENT:
            raise format_inspector.SafetyViolation(_DIFFERENCE)

    def _check_log(self) -> None:
        heads = [bytes(self.region(name).data) for name in _VHDX_HEADERS]
        valid = [head for head in heads if head.startswith(b"head")]
        if not valid:
            raise format_inspector.SafetyViolation("it has no header")
        newest = max(valid, key=lambda head: int.from_bytes(head[_VHDX_SEQUENCE], "little"))
        if any(newest[_VHDX_LOG]):
            raise format_inspector.SafetyViolation(
                "it was not closed: its log has changes that are not in the disk yet; attach and detach it "
                "once where it was made, or convert it there"
            )


class Vdi(format_inspector.VDIInspector):
    """A VDI that may be a difference: of a snapshot, or for undoing."""

    def _initialize(self) -> None:
        super()._initialize()
        self.add_safety_check(format_inspector.SafetyCheck("parent", self._check_parent))

    def _check_parent(self) -> None:
        header = self.region("header").data
        kind = int.from_bytes(header[_VDI_KIND], "little")
        if kind not in _VDI_KINDS or any(header[_VDI_LINKS]):
            raise format_inspector.SafetyViolation(_DIFFERENCE)


class Vmdk(format_inspector.VMDKInspector):
    """A VMDK whose descriptor may say one thing to the library, and another to qemu."""

    def _initialize(self) -> None:
        super()._initialize()
        self.vmdktype = "formatnotfound"  # unset in the library where the text is not ASCII
        self.new_region("begin", format_inspector.CaptureRegion(0, 64 << 10, min_length=4))
        self.add_safety_check(format_inspector.SafetyCheck("capacity", self._check_capacity))
        self.add_safety_check(format_inspector.SafetyCheck("create_type", self._check_type))
        self.add_safety_check(format_inspector.SafetyCheck("parent", self._check_parent))
        self.add_safety_check(format_inspector.SafetyCheck("extents", self._check_extents))

    @property
    def format_match(self) -> bool:
        """The library's own answer; or it is text that qemu would follow, with whatever behind it."""
        return super().format_match or bool(_VMDK_TEXT.match(bytes(self.region("begin").data)))

    def _check_capacity(self) -> None:
        """Without one, qemu takes the text in the file for a descriptor of other files."""
        if self.has_region("header"):
            header = self.region("header").data
            if not int.from_bytes(header[_VMDK_SECTORS], "little"):
                raise format_inspector.SafetyViolation("it says that it is empty")

    def _check_type(self) -> None:
        """Exactly one, and one of the operator's: qemu may not read another line than the library does."""
        allowed = [name.lower() for name in config.CONF.image_format.vmdk_allowed_types]
        said = _VMDK_TYPE.findall(self.desc_text or "")
        if len(said) != 1 or (self.desc_text or "").count("createtype") != 1:
            raise format_inspector.SafetyViolation("it does not say once of which type it is")
        if said[0].strip() not in allowed:
            raise format_inspector.SafetyViolation(
                f"VMDK images of type {said[0][:40]} are not accepted here"
            )

    def _check_parent(self) -> None:
        text = self.desc_text or ""
        if "parentfilenamehint" in text or _VMDK_PARENT.search(text):
            raise format_inspector.SafetyViolation(_DIFFERENCE)

    def _check_extents(self) -> None:
        kinds = _VMDK_EXTENT.findall(self.desc_text or "")
        if kinds != ["sparse"]:
            raise format_inspector.SafetyViolation("its data are not in this one file")


#: The library's, but for `raw`, which is what nothing else is.
_OURS: dict[str, type[format_inspector.FileInspector]] = {
    "vhd": Vhd,
    "vhdx": Vhdx,
    "vdi": Vdi,
    "vmdk": Vmdk,
}


def each() -> list[format_inspector.FileInspector]:
    """A new inspector of every format that is known."""
    known = {name: one for name, one in format_inspector.ALL_FORMATS.items() if name != "raw"}
    kinds: list[type[format_inspector.FileInspector]] = [*(known | _OURS).values(), FixedVhd]
    return [one() for one in [*kinds, *_FOREIGN]]
