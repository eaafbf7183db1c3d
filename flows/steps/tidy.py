"""Tidy: staging is emptied."""

import logging

from taskflow import task

from flows import watch as watching
from images import errors, staging

LOG = logging.getLogger(__name__)


class Tidy(task.Task):
    """Removes what staging still holds. The image is active, so this must not fail the import."""

    def execute(self, watch: watching.Watch) -> None:
        """Remove; what cannot be removed waits for upkeep."""
        try:
            staging.remove(watch.plan.image_id)
        except (OSError, errors.GantryError) as error:
            LOG.warning("Staging of image %s is left over: %s", watch.plan.image_id, error)
