"""Create: the image that a legacy task imports into."""

from typing import Any

from taskflow import task

from flows import watch as watching
from images import legacy


class Create(task.Task):
    """Makes the image's record, of the project that asked; a failing import deletes it again."""

    default_provides = "formats"

    def execute(self, watch: watching.Watch) -> dict[str, Any]:
        """Make it, unless an earlier attempt has.

        Raises:
            GantryError: the task's input cannot be an image's.
        """
        return legacy.create(watch.plan)
