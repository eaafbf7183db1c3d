"""Admit: what `claim` is for an import, for the task of a location."""

from typing import Any

from taskflow import task
from taskflow.types import failure

from flows import watch as watching
from flows.steps import claim
from images import config, errors, location_tasks


class Admit(task.Task):
    """The first step, so the last to be reverted: the record is again as it was."""

    def execute(self, watch: watching.Watch) -> None:
        """Refuse a task that keeps killing its workers.

        Raises:
            ImportFailed: it has had `[gantry] max_attempts`.
        """
        most = config.CONF.gantry.max_attempts
        if watch.plan.lease.attempt > most:
            raise errors.ImportFailed(f"The location was given up: its worker died {most} times")

    def revert(
        self, watch: watching.Watch, flow_failures: dict[str, failure.Failure], **_: Any
    ) -> None:
        """End the task badly, with the cause in words."""
        if not watch.lost:
            location_tasks.fail(watch.plan, claim.cause(flow_failures))
