"""Digest-location: MD5 and the secure hash of data that stay where they are."""

from taskflow import task

from flows import watch as watching
from images import location_tasks


class DigestLocation(task.Task):
    """Reads a location's data once, through its store, and digests them."""

    default_provides = "digest"

    def execute(self, watch: watching.Watch, size: int) -> dict[str, str] | None:
        """The record's three columns; None where they are not to be made, or need not succeed.

        Raises:
            ImportFailed: the data cannot be read, or are not those that were promised.
            Stopped: the image was deleted.
        """
        return location_tasks.digest(
            watch.plan, size, lambda done: watch.report(self.name, done, size)
        )
