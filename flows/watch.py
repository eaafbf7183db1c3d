"""What a running import is told by its steps, and what it tells them."""

from typing import Protocol

from images import imports


class Watch(Protocol):
    """One run of an import, as its steps see it; `workers.heartbeat` is the real one."""

    #: What is to be done, and for whom.
    plan: imports.Plan

    def report(self, step: str, done: int, total: int | None) -> None:
        """Say how many bytes of how many a step has done; call it for each piece, and twice a second.

        Raises:
            Stopped: the image was deleted. Leave at once, and let the flow revert.
            ImportFailed: the step has taken longer than it may.
            Abandoned: the task is, or shall be, another worker's. Leave at once, and touch nothing.
        """

    def fault(self, step: str, cause: str) -> None:
        """Say that a step has failed, in words, and that it will try again."""

    def pause(self, step: str, seconds: float) -> None:
        """Wait, before a further try say; raises what `report` raises."""
