"""Finish: the copies of an image are complete."""

from taskflow import task

from flows import watch as watching
from flows.steps import store
from images import imports


class Finish(task.Task):
    """Ends a copy in one transaction: task `success`, lock gone, the image as active as it was."""

    def __init__(self, stores: list[str]) -> None:
        super().__init__("finish", requires=list(map("stored:{}".format, stores)))

    def execute(self, watch: watching.Watch, **stored: str) -> None:
        """Write the record.

        Raises:
            ImportFailed: too many stores have not taken the bytes.
            Gone: the image was deleted.
            Stopped: another worker has the task.
        """
        store.check(watch.plan, stored)
        imports.activate(watch.plan, {"size": imports.original_of(watch.plan).size})
