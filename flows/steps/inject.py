"""Inject: the plugin `inject_image_metadata` gives the operator's properties to the image."""

from typing import Any

from taskflow import task

from flows import watch as watching
from images import imports, properties


class Inject(task.Task):
    """Adds properties to those that the image gets when it becomes active (contract section 4.2).

    They are the record's then and not before, so that an import that fails has nothing to take back.
    """

    default_provides = "staged"

    def __init__(self) -> None:
        super().__init__("inject")

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> dict[str, Any]:
        """Say what will be set; whoever asked for the import may have a role that is left alone."""
        added = properties.injected(imports.asker_of(watch.plan).roles)
        return staged | {"properties": staged.get("properties", {}) | added}
