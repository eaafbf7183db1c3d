"""Finish: the copies of an image are complete."""

from typing import Any

from taskflow import task

from flows import watch as watching
from images import errors, imports


class Finish(task.Task):
    """Ends a copy in one transaction: task `success`, lock gone, the image as active as it was."""

    def __init__(self, stores: list[str]) -> None:
        super().__init__("finish", requires=list(map("stored:{}".format, stores)))

    def execute(self, watch: watching.Watch, **stored: Any) -> None:
        """Write the record.

        Raises:
            Gone: the image was deleted.
            Stopped: another worker has the task.
        """
        if not any(stored.values()):
            raise errors.ImportFailed("None of the stores could take the data")
        imports.activate(watch.plan, {"size": imports.original_of(watch.plan).size})
