"""Admit: what `claim` is for an import, for the task of a location."""

from typing import Any

from taskflow import task
from taskflow.types import failure

from flows import watch as watching
from flows.steps import claim
from images import errors, location_tasks


class Admit(task.Task):
    """The first step, so the last to be reverted: the record is again as it was."""

    def execute(self, watch: watching.Watch) -> None:
        """Refuse a task that must not go on.

        Raises:
            ImportFailed: the image was deleted, or the task keeps killing its workers.
        """
        if watch.plan.refusal:
            raise errors.ImportFailed(watch.plan.refusal)

    def revert(
        self, watch: watching.Watch, flow_failures: dict[str, failure.Failure], **_: Any
    ) -> None:
        """End the task badly, with the cause in words."""
        location_tasks.fail(watch.plan, claim.cause(watch.plan, flow_failures))
