"""Fetch: the bytes come into staging."""

from typing import Any

from taskflow import task

from flows import watch as watching
from images import methods, staging


class Fetch(task.Task):
    """Lets the import's method bring the bytes into staging."""

    default_provides = "staged"

    def execute(self, watch: watching.Watch) -> dict[str, Any]:
        """Fetch; a second run finds, or fetches, the same bytes."""
        plan = watch.plan
        facts = methods.get(plan.method).fetch(
            plan.image_id,
            plan.fields,
            digest=staging.is_stored_as_it_is(plan.disk_format),
            on_bytes=lambda done, total: watch.report(self.name, done, total),
        )
        return {
            "path": facts.path,
            "size": facts.size,
            "disk_format": plan.disk_format,
            "container_format": plan.container_format,
            "virtual_size": None,
        }

    def revert(self, watch: watching.Watch, **_: Any) -> None:
        """Remove what was fetched."""
        if not watch.lost:
            staging.remove(watch.plan.image_id)
