"""Reserve: the file that goes into the stores fits under its owner's limits."""

from typing import Any

from taskflow import task

from flows import room
from flows import watch as watching


class Reserve(task.Task):
    """Reserves for the very bytes that will be stored: a plugin may have made them more, or fewer."""

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> None:
        """Reserve; a second run reserves the same.

        Raises:
            LimitExceeded: there is no room; the text names the limit.
        """
        room.claim(watch.plan, staged["size"])
