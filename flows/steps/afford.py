"""Afford: the work may begin under its owner's limits."""

from taskflow import task

from flows import room
from flows import watch as watching
from images import imports, staging


class Afford(task.Task):
    """Reserves what is known to be needed, for work that found no room when it was asked for."""

    def execute(self, watch: watching.Watch) -> None:
        """Reserve; a second run reserves the same.

        Raises:
            LimitExceeded: there is still no room; the text names the limit.
        """
        plan = watch.plan
        size = imports.original_of(plan).size
        if plan.kind == imports.COPY:
            room.claim(plan, size, stage=size)
        elif size and staging.is_stored_as_it_is(plan.disk_format):
            room.claim(plan, size)
        else:
            room.claim(plan, None, stage=None if size else 0)
