"""What stands between a hostile file and the host, each of which a test can switch off.

An attack that fails proves nothing unless it succeeds where nobody defends: so each test of an advisory runs
again with its defences down, and its canary must sing.
"""

from collections.abc import Callable

import pytest

from flows import box, qemu_img, unpacking
from flows.steps import convert
from images import checksums, formats

Patch = pytest.MonkeyPatch


def _gate(patch: Patch) -> None:
    """The inspection of whatever comes in, and of what goes into qemu-img."""
    patch.setattr(formats, "check", lambda found, *_: found.virtual_size)


def _source(patch: Patch) -> None:
    """What is converted must be what is declared."""
    patch.setattr(convert, "_check_source", lambda *_: None)


def _force(patch: Patch) -> None:
    """qemu-img is told the format."""
    patch.setattr(qemu_img, "_as", lambda _: [])


def _second_look(patch: Patch) -> None:
    """What qemu-img itself says of the file."""
    patch.setattr(qemu_img, "_judge", lambda *_: None)


def _box(patch: Patch) -> None:
    """No file but those of the task, and no network."""
    patch.setattr(box, "is_used", lambda: False)


def _claim(patch: Patch) -> None:
    """The size is held against the limits before a byte is written."""
    patch.setattr(convert, "_check_cap", lambda _: None)


def _size(patch: Patch) -> None:
    """The kernel lets no file grow any further."""
    patch.setattr(convert, "_most", lambda *_: 1 << 62)


def _ratio(patch: Patch) -> None:
    """What comes out of a packed file is held against what went in."""
    patch.setattr(unpacking, "_most", lambda _: None)


def _compare(patch: Patch) -> None:
    """The bytes are held against their publisher's checksum."""
    patch.setattr(checksums, "compare", lambda *_: None)


OFF: dict[str, Callable[[Patch], None]] = {
    "gate": _gate,
    "source": _source,
    "force": _force,
    "second look": _second_look,
    "box": _box,
    "claim": _claim,
    "size": _size,
    "ratio": _ratio,
    "compare": _compare,
}
#: Those that cannot be had on every host.
MISSING = {"box": box.missing()} if box.missing() else {}


def switch_off(patch: Patch, *names: str) -> None:
    """Build the service without these."""
    for name in names:
        OFF[name](patch)
