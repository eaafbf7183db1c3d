"""Formats that qemu-img would open if it might guess, and that oslo's inspector takes for raw.

Stored as raw their bytes would be no disk, and whoever guesses later opens something else than was stored.
They are told by their signatures, as by qemu's drivers; nothing in them is read further.
"""

from oslo_utils.imageutils import format_inspector

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


ALL: tuple[type[format_inspector.FileInspector], ...] = (Parallels, Bochs, Cloop, VmfsSparse, Dmg)
