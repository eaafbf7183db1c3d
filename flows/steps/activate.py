"""Activate: the record says that the image can be used."""

from typing import Any

from taskflow import task

from flows import watch as watching
from flows.steps import store
from images import imports


class Activate(task.Task):
    """Ends the import in one transaction: image `active`, task `success`, lock gone."""

    def __init__(self, stores: list[str]) -> None:
        super().__init__("activate", requires=list(map("stored:{}".format, stores)))

    def execute(self, watch: watching.Watch, staged: dict[str, Any], **stored: str) -> None:
        """Write the record.

        Raises:
            ImportFailed: too many stores have not taken the bytes.
            Gone: the image was deleted.
            Stopped: another worker has the task.
        """
        store.check(watch.plan, stored)
        imports.activate(watch.plan, staged)
