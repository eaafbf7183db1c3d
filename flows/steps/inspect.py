"""Inspect: is the file what the record says, and is it whole and safe?"""

import pathlib
from collections.abc import Sequence
from typing import Any

from taskflow import task

from flows import qemu_img, unpacking
from flows import watch as watching
from images import config, formats, staging

#: Formats whose own tables tell whether the file was cut.
_CHECKABLE = ("qcow2", "vmdk", "vdi", "vhdx")


class Inspect(task.Task):
    """Holds the fetched bytes against the record (contract section 4.6)."""

    default_provides = "staged"

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> dict[str, Any]:
        """Use what was found out while the bytes arrived; read them again only where that is missing.

        Raises:
            UnacceptableFormat: the bytes are unsafe, cut, or not what `disk_format` says.
        """
        plugins = config.CONF.image_import_opts.image_import_plugins
        if will_be_unpacked(staged, plugins):  # what is in it is judged when it has come out
            return staged
        file, declared, size = pathlib.Path(staged["path"]), staged["disk_format"], staged["size"]
        facts = staging.facts(file) or staging.inspect(
            file,
            digest=staging.is_stored_as_it_is(declared),
            on_bytes=lambda done: watch.report(self.name, done, size),
        )
        return judged(staged, facts, lambda: watch.report(self.name, size, size))


def judged(staged: dict[str, Any], facts: staging.Facts, heard: qemu_img.Heard) -> dict[str, Any]:
    """`staged` with its virtual size, if the file is what the record declares.

    A record that declares nothing, which `[gantry] detect_disk_format` allows, gets what was found. `heard`
    is called while qemu-img is at work, and what it raises passes.

    Raises:
        UnacceptableFormat: it is not, or is cut, or unsafe.
    """
    declared = staged["disk_format"] or formats.detect(facts.inspection)
    virtual = formats.check(facts.inspection, declared, staged["container_format"])
    if staged["container_format"] == "bare" and facts.inspection.format in _CHECKABLE:
        qemu_img.check(pathlib.Path(facts.path), facts.inspection.format, heard)
    return staged | {"disk_format": declared, "virtual_size": virtual}


def will_be_unpacked(staged: dict[str, Any], plugins: Sequence[str]) -> bool:
    """Whether a file is packed, and one of these plugins there to unpack it."""
    if "image_decompression" not in plugins:
        return False
    return unpacking.kind_of(pathlib.Path(staged["path"]), staged["container_format"]) is not None
