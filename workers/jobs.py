"""The jobs: what a worker does when the bell rings."""

import logging
import os
import socket
from collections.abc import Callable

from taskflow import engines
from taskflow import exceptions as flow_errors
from taskflow.patterns import linear_flow

from flows import add_location, copy_image, import_image, import_task
from images import errors, imports, leases, location_tasks, queue, upkeep
from workers import heartbeat

LOG = logging.getLogger(__name__)

#: The flow of each kind of work: of a task's type, and of copies.
FLOWS: dict[str, Callable[[imports.Plan], linear_flow.Flow]] = {
    "api_image_import": import_image.build,
    imports.COPY: copy_image.build,
    "import": import_task.build,
    location_tasks.KIND: add_location.build,
}


@queue.app.task(name=queue.RUN_IMPORT, throws=(errors.GantryError,))
def run_import(task_id: str) -> str:
    """Run a task's flow if it waits for somebody; how that ended, which is what Flower shows.

    A job that arrives twice does nothing the second time.

    Raises:
        ImportFailed: the import failed; its record says so already.
    """
    plan = imports.begin(task_id, f"{socket.gethostname()}:{os.getpid()}")
    if plan is None:
        return "nothing to do"
    LOG.info("Import %s of image %s, attempt %s", task_id, plan.image_id, plan.lease.attempt)
    with heartbeat.Heartbeat(plan) as watch:
        engine = engines.load(FLOWS[plan.kind](plan), engine="serial")
        engine.storage.inject({"watch": watch}, transient=True)
        try:
            engine.run()
        except errors.GantryError as error:
            raise errors.ImportFailed(str(error)) from None
        except flow_errors.WrappedFailure as several:
            raise errors.ImportFailed(next(iter(several)).exception_str) from None
    return "active"


@queue.app.task(name=queue.SWEEP, throws=(errors.GantryError,))
def sweep() -> int:
    """Ring again for tasks whose job was lost or whose worker died; how many there were."""
    waiting = leases.overdue()
    for task_id, queue_name in waiting:
        queue.ring(task_id, queue_name)
    return len(waiting)


@queue.app.task(name=queue.TIDY_UP, throws=(errors.GantryError,))
def tidy_up() -> dict[str, int]:
    """Put right what dead processes have left over; how much of what there was."""
    return {
        "uploads given back": upkeep.give_back_uploads(),
        "staged files removed": upkeep.empty_staging(),
        "deletions finished": upkeep.finish_deletions(),
        "images scrubbed": upkeep.scrub(),
        "reservations freed": upkeep.free_reservations(),
    }
