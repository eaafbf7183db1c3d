"""Fetch: the bytes come into staging."""

from typing import Any

from taskflow import task

from flows import room
from flows import watch as watching
from images import methods, quota, staging


class Fetch(task.Task):
    """Lets the import's method bring the bytes into staging."""

    default_provides = "staged"

    def execute(self, watch: watching.Watch, formats: dict[str, Any]) -> dict[str, Any]:
        """Fetch; a second run finds, or fetches, the same bytes.

        Raises:
            LimitExceeded, StorageFull: the source says that there will be more than may, or can, be staged.
        """
        plan = watch.plan
        meter = room.meter(plan, formats["disk_format"]) if quota.enabled else None
        brings, promised = "uploading" not in methods.named(plan.method).accepts, -1

        def heard(done: int, total: int | None) -> None:
            nonlocal promised
            watch.report(self.name, done, total)
            if brings and total is not None and total != promised:
                promised = total
                staging.admit(total - done)
            if meter:
                meter.arrived(max(done, total or 0))

        def faulted(cause: str) -> None:
            watch.fault(self.name, cause)

        wanted = plan.algorithms(formats["disk_format"])
        fetched = methods.named(plan.method).fetch(
            plan.image_id,
            plan.fields,
            run=methods.Run(plan.lease.task_id, plan.lease.attempt, faulted, wanted),
            digest=staging.is_stored_as_it_is(formats["disk_format"]),
            on_bytes=heard,
        )
        seen = {"path": fetched.facts.path, "size": fetched.facts.size, "virtual_size": None}
        return seen | formats | fetched.described

    def revert(self, watch: watching.Watch, **_: Any) -> None:
        """Remove what was fetched."""
        staging.remove(watch.plan.image_id)
