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
        super().__init__(f"store:{store_id}", provides=f"stored:{store_id}")
        self._store_id = store_id

    def execute(
        self, watch: watching.Watch, staged: dict[str, Any], digest: dict[str, str]
    ) -> bool:
        """Store, and write it down; a second run replaces what the first one left.

        False where the store failed and is allowed to. There is nothing to revert: what was not written
        down is removed here, and what was is forgotten with the whole import (`imports.fail`).

        Raises:
            GantryError: the store failed, and the request wants every store to succeed.
        """
        plan, size = watch.plan, staged["size"]
        if plan.lease.attempt > 1 and imports.is_stored(plan, self._store_id, digest):
            return True
        watch.report(self.name, 0, size)
        try:
            place = stores.add(
                self._store_id,
                plan.image_id,
                pathlib.Path(staged["path"]),
                lambda done: watch.report(self.name, done, size),
            )
        except errors.Stopped:
            raise
        except errors.GantryError as error:
            miss(watch, self._store_id, error)
            return False
        try:
            imports.stored(plan, self._store_id, place, staged, digest)
        except BaseException as error:
            take_back(watch, place, error)
            raise
        return True


def miss(watch: watching.Watch, store_id: str, error: errors.GantryError) -> None:
    """Put up with the failure of a store, if the request allows it; raises the error again if not."""
    if watch.plan.must_succeed:
        raise error
    LOG.warning("Image %s could not be stored: %s", watch.plan.image_id, error)
    imports.missed(watch.plan, store_id)


def take_back(
    watch: watching.Watch, place: tuple[str, dict[str, str]], error: BaseException
) -> None:
    """Remove bytes that no record points at, because writing them down ended in `error`.

    Where another worker has the task they are left alone: it stores under the same name.
    """
    url, metadata = place
    lost = watch.lost or isinstance(error, errors.Stopped)
    if not lost and not imports.is_recorded(watch.plan.image_id, url):
        stores.delete(url, metadata)
