"""Locate: a store is asked for the size of a location, and the record says that there is one."""

from taskflow import task

from flows import watch as watching
from images import location_tasks


class Locate(task.Task):
    """Writes the location down as far as its store has confirmed it."""

    default_provides = "size"

    def execute(self, watch: watching.Watch) -> int:
        """Ask and write; a second run asks again and writes nothing.

        Raises:
            ImportFailed: the store has no such data, or they are too many.
        """
        watch.report(self.name, 0, None)
        size = location_tasks.size(watch.plan)
        location_tasks.place(watch.plan, size)
        return size
