"""Decompress: the plugin `image_decompression` unpacks the staged file."""

import pathlib
from typing import Any

from taskflow import task

from flows import room, unpacking
from flows import watch as watching
from flows.steps import inspect
from images import imports, quota, staging


class Decompress(task.Task):
    """Unpacks what is packed, unless the record says `compressed` (contract section 4.2)."""

    default_provides = "staged"

    def __init__(self) -> None:
        super().__init__("decompress")

    def execute(self, watch: watching.Watch, staged: dict[str, Any]) -> dict[str, Any]:
        """Write what is in the file beside it, and judge that; a second run writes it again.

        Raises:
            UnacceptableFormat: the file cannot be unpacked, or what is in it is not what the record declares.
            LimitExceeded: it is more than this image, or its owner, may have.
            StorageFull: staging has no room for it.
        """
        packed, declared = pathlib.Path(staged["path"]), staged["disk_format"]
        kind = unpacking.kind_of(packed, staged["container_format"])
        if kind is None:
            return staged
        _remove_outputs(watch.plan)
        final = _output(watch.plan, watch.plan.lease.attempt)
        size = packed.stat().st_size
        meter = room.output_meter(watch.plan, declared, size) if quota.enabled else None
        with unpacking.opened(
            packed,
            kind,
            on_read=lambda done: watch.report(self.name, done, size),
            on_unpacked=meter.arrived if meter else _ignore,
        ) as source:
            facts = staging.receive(
                watch.plan.image_id,
                source,
                digest=staging.is_stored_as_it_is(declared),
                keep=staging.KeepsNothing(final.with_name(f"{final.name}.part"), final),
            )
        unpacked = staged | {"path": facts.path, "size": facts.size}
        return inspect.judged(unpacked, facts, lambda: watch.report(self.name, size, size))

    def revert(self, watch: watching.Watch, **_: Any) -> None:
        """Remove what was written."""
        _remove_outputs(watch.plan)


def _output(plan: imports.Plan, attempt: int) -> pathlib.Path:
    """Each attempt has a name of its own: one that is only paused may go on writing."""
    return staging.path(plan.image_id, f".{attempt}.unpacked")


def _remove_outputs(plan: imports.Plan) -> None:
    """Those of the attempts up to this one; a later one may be at work, and this one not know it yet."""
    for attempt in range(1, plan.lease.attempt + 1):
        output = _output(plan, attempt)
        for file in output.parent.glob(f"{output.name}*"):
            file.unlink(missing_ok=True)


def _ignore(_: int) -> None:
    """Nothing limits the owner."""
