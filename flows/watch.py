"""What a running import is told by its steps, and what it tells them."""

from typing import Protocol

from images import imports


class Watch(Protocol):
    """One run of an import, as its steps see it; `workers.heartbeat` is the real one."""

    #: What is to be done, and for whom.
    plan: imports.Plan

    def report(self, step: str, done: int, total: int | None) -> None:
        """Say how many bytes of how many a step has done; call it for each piece.

        Raises:
            Stopped: the import must not go on. Leave at once, and let the flow revert.
        """

    @property
    def lost(self) -> bool:
        """Whether another worker has the task: then nothing may be changed any more, files included."""
