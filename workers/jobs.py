"""The jobs: what a worker does when the bell rings."""

import os
import socket

from images import errors, leases, queue, upkeep
from workers import engine


@queue.app.task(name=queue.RUN_IMPORT, throws=(errors.GantryError,))
def run_import(task_id: str) -> str:
    """Run an import if it waits for somebody; says how it went, which is what Flower shows.

    A job that arrives twice does nothing the second time.
    """
    return engine.run(task_id, f"{socket.gethostname()}:{os.getpid()}")


@queue.app.task(name=queue.SWEEP)
def sweep() -> int:
    """Ring again for tasks whose job was lost or whose worker died; how many there were."""
    waiting = leases.overdue()
    for task_id, queue_name in waiting:
        queue.ring(task_id, queue_name)
    return len(waiting)


@queue.app.task(name=queue.TIDY_UP)
def tidy_up() -> dict[str, int]:
    """Put right what dead processes have left over; how much of what there was."""
    return {
        "uploads given back": upkeep.give_back_uploads(),
        "staged files removed": upkeep.empty_staging(),
        "deletions finished": upkeep.finish_deletions(),
    }
