"""Copy: one more store takes the bytes of an active image, from a store that has them."""

import logging

from taskflow import task

from flows import watch as watching
from flows.steps import store
from images import copies, errors, imports, notifications

LOG = logging.getLogger(__name__)


class Copy(task.Task):
    """Copies from store to store; there is one such step for each store that is to have the image.

    Nothing passes through staging: of file stores the kernel copies (sharing blocks where the file system
    can), of others the bytes stream from one into the other. What was copied is held against the record.
    """

    def __init__(self, store_id: str) -> None:
        super().__init__(f"copy:{store_id}", provides=f"stored:{store_id}")
        self._store_id = store_id

    def execute(self, watch: watching.Watch) -> str:
        """Copy, and write it down; a second run replaces what the first one left.

        Why the store has failed, or an empty text (`store.check`).

        Raises:
            Stopped, Gone: the image was deleted.
        """
        if watch.plan.lease.attempt > 1 and imports.is_stored(watch.plan, self._store_id):
            return ""
        original = imports.original_of(watch.plan)
        watch.report(self.name, 0, original.size)
        if notifications.enabled:
            imports.prepare(watch.plan, self._store_id)
        try:
            place = store.patiently(watch, self.name, lambda: self._copy(watch, original))
        except errors.Stopped:
            raise
        except errors.GantryError as error:
            return store.miss(watch, self._store_id, error)
        store.write_down(watch, self._store_id, place, {}, {})
        return ""

    def _copy(
        self, watch: watching.Watch, original: imports.Original
    ) -> tuple[str, dict[str, str]]:
        """From the first store that still gives the bytes out, local files first."""

        def heard(done: int) -> None:
            watch.report(self.name, done, original.size)

        failure: errors.GantryError = errors.ImportFailed("The image has no data to copy")
        for source in copies.nearest(original.places.values()):
            try:
                return copies.copy(
                    source,
                    self._store_id,
                    watch.plan.image_id,
                    (original.size, original.digest),
                    store.writer_for(watch, heard),
                )
            except errors.Stopped:
                raise
            except errors.GantryError as error:
                LOG.warning("Image %s could not be copied: %s", watch.plan.image_id, error)
                failure = error
        raise failure
