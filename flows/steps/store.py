"""Store: one store takes the bytes."""

import logging
import pathlib
from typing import Any

from taskflow import task

from flows import watch as watching
from images import errors, imports, stores

LOG = logging.getLogger(__name__)


class Store(task.Task):
    """Puts the staged file into one store; there is one such step for each store of the import."""

    def __init__(self, store_id: str) -> None:
        super().__init__(f"store:{store_id}", provides=f"location:{store_id}")
        self._store_id = store_id

    def execute(
        self, watch: watching.Watch, staged: dict[str, Any]
    ) -> tuple[str, dict[str, str]] | None:
        """Store; a second run replaces what the first one left. None where failing is allowed.

        Raises:
            GantryError: the store failed, and the request wants every store to succeed.
        """
        size = staged["size"]
        watch.report(self.name, 0, size)
        try:
            location = stores.add(
                self._store_id,
                watch.plan.image_id,
                pathlib.Path(staged["path"]),
                lambda done: watch.report(self.name, done, size),
            )
        except errors.Stopped:
            raise
        except errors.GantryError as error:
            if watch.plan.must_succeed:
                raise
            LOG.warning("Image %s could not be stored: %s", watch.plan.image_id, error)
            return None
        return location

    def revert(self, watch: watching.Watch, result: Any, **_: Any) -> None:
        """Take the bytes out again, unless a record has come to point at them."""
        if watch.lost or not isinstance(result, tuple | list):
            return
        url, metadata = result
        if not imports.is_recorded(watch.plan.image_id, url):
            stores.delete(url, metadata)
