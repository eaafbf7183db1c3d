"""Inspect: is the file what the record says, and is it whole and safe?"""

import pathlib
from typing import Any

from taskflow import task

from flows import qemu_img
from flows import watch as watching
from images import formats, staging

#: Formats whose own tables tell whether the file was cut.
_CHECKABLE = ("qcow2", "vdi", "vhdx")


class Inspect(task.Task):
    """Holds the fetched bytes against the record (contract section 4.6)."""

    default_provides = "staged"

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> dict[str, Any]:
        """Use what was found out while the bytes arrived; read them again only where that is missing.

        Raises:
            UnacceptableFormat: the bytes are unsafe, cut, or not what `disk_format` says.
        """
        file, declared = pathlib.Path(staged["path"]), staged["disk_format"]
        facts = staging.facts(file) or staging.inspect(
            file,
            digest=staging.is_stored_as_it_is(declared),
            on_bytes=lambda done: watch.report(self.name, done, staged["size"]),
        )
        virtual = formats.check(facts.inspection, declared, staged["container_format"])
        if staged["container_format"] == "bare" and facts.inspection.format in _CHECKABLE:
            qemu_img.check(file, facts.inspection.format)
        return staged | {"virtual_size": virtual}
