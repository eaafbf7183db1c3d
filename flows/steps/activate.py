"""Activate: the record says that the image can be used."""

from typing import Any

from taskflow import task

from flows import watch as watching
from images import errors, imports


class Activate(task.Task):
    """Ends the import in one transaction: image `active`, task `success`, lock gone."""

    def __init__(self, stores: list[str]) -> None:
        super().__init__("activate", requires=[f"location:{name}" for name in stores])
        self._stores = stores

    def execute(
        self,
        watch: watching.Watch,
        staged: dict[str, Any],
        digest: dict[str, str],
        **located: Any,
    ) -> None:
        """Write the record.

        Raises:
            ImportFailed: not one store has taken the bytes.
            Stopped: the image was deleted, or another worker has the task.
        """
        found = {name: located[f"location:{name}"] for name in self._stores}
        locations = {name: place for name, place in found.items() if place}
        if not locations:
            raise errors.ImportFailed("None of the stores could take the data")
        failed = [name for name, place in found.items() if not place]
        imports.activate(watch.plan, staged, digest, locations, failed)
