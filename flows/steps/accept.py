"""Accept: the record says all that is known of a location's data."""

from taskflow import task

from flows import watch as watching
from images import location_tasks


class Accept(task.Task):
    """Ends the task in one transaction: image `active`, task `success`, lock gone."""

    def execute(self, watch: watching.Watch, size: int, digest: dict[str, str] | None) -> None:
        """Write the record.

        Raises:
            Stopped: the image was deleted, or another worker has the task.
        """
        location_tasks.accept(watch.plan, size, digest)
