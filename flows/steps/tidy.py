"""Tidy: staging is emptied."""

import logging
from collections.abc import Sequence

from taskflow import task

from flows import watch as watching
from images import errors, staging

LOG = logging.getLogger(__name__)


class Tidy(task.Task):
    """Removes what staging still holds. The image is active, so this must not fail the import.

    What was brought for copies of which one has failed stays for another try, as in Glance (contract section
    4.4), until upkeep finds that it is old.
    """

    def __init__(self, copies: Sequence[str] = ()) -> None:
        super().__init__("tidy", requires=list(map("stored:{}".format, copies)))

    def execute(self, watch: watching.Watch, **stored: str) -> None:
        """Remove; what cannot be removed waits for upkeep."""
        if any(stored.values()):
            return
        try:
            staging.remove(watch.plan.image_id)
        except (OSError, errors.GantryError) as error:
            LOG.warning("Staging of image %s is left over: %s", watch.plan.image_id, error)
