"""Claim: does little, and exists for its revert."""

import logging
from typing import Any

from taskflow import task
from taskflow.types import failure

from flows import watch as watching
from images import errors, imports, staging

LOG = logging.getLogger(__name__)


class Claim(task.Task):
    """The first step, so the last to be reverted: the record goes back to `queued`, staging is emptied."""

    default_provides = "formats"

    def execute(self, watch: watching.Watch) -> dict[str, str | None]:
        """Say what the record declares the bytes to be.

        Raises:
            ImportFailed: the image was deleted, or the task keeps killing its workers.
        """
        plan = watch.plan
        if plan.refusal:
            raise errors.ImportFailed(plan.refusal)
        return {"disk_format": plan.disk_format, "container_format": plan.container_format}

    def revert(
        self, watch: watching.Watch, flow_failures: dict[str, failure.Failure], **_: Any
    ) -> None:
        """End the import badly, with the cause in words."""
        plan = watch.plan
        # The bytes of a copy serve whoever asks for it again (`tidy.Tidy`).
        if plan.kind != imports.COPY or not imports.is_wanted(plan):
            staging.remove(plan.image_id)
        imports.fail(plan, cause(plan, flow_failures))


def cause(plan: imports.Plan, failures: dict[str, failure.Failure]) -> str:
    """What went wrong, as a person who asked for the import should read it."""
    if not imports.is_wanted(plan):  # its files went with it, which steps meet in ways of their own
        return "The image was deleted while it was imported"
    # A failure that another worker has left has no exception any more, only its text and its kinds.
    first = next(iter(failures.values()))
    if first.check(errors.GantryError):
        return str(first.exception_str)
    LOG.error("An import broke on an unexpected error:\n%s", first.traceback_str)
    kind = next(iter(first)).rpartition(".")[2]
    return f"Unexpected {kind} in the import; the worker's log has the details"
