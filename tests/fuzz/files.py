"""The gate for files: whatever the bytes are, it takes them or refuses them, and says the same every time."""

import contextlib
import pathlib

from images import errors, formats, service
from tests.unit import disks

#: Bytes of an input: the formats keep their numbers at the beginning.
LONGEST = 300 << 10
_DECLARED = ("raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "aki", None)


def prepare(room: pathlib.Path) -> None:
    """The configuration is the default one."""
    default = pathlib.Path(__file__).parent.parent.parent / "deploy/gantry.conf"
    extra = room / "fuzz.conf"
    extra.write_text(f"[gantry]\nstate_path = {room}\n")
    service.start([str(default), str(extra)])


def seeds(room: pathlib.Path) -> list[bytes]:
    """The beginnings of real images."""
    return [disks.of(room, kind)[:LONGEST] for kind in disks.QEMU]


def test(data: bytes) -> None:
    """One input."""
    inspector = formats.Inspector()
    inspector.feed(data)
    found = inspector.finish()
    again = formats.Inspector()
    for at in range(0, len(data), 60_000):
        again.feed(data[at : at + 60_000])
    assert again.finish() == found
    for declared in _DECLARED:
        size = None
        with contextlib.suppress(errors.UnacceptableFormat):
            size = formats.check(found, declared or formats.detect(found), "bare")
        assert size is None or 0 < size <= 1 << 53
