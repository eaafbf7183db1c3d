"""The jobs: what a worker does when the bell rings.

What ends a job is what Flower shows. `Abandoned` never leaves a job: Celery would end the process with it.
"""

import contextlib
import logging
import os
import socket
import threading
import time
from typing import Any

from images import cache, cache_fills, config, errors, imports, leases, queue, turns, upkeep
from workers import drain, engine, heartbeat

LOG = logging.getLogger(__name__)


@queue.app.task(bind=True, name=queue.RUN_IMPORT, throws=(errors.GantryError,))
def run_import(self: Any, task_id: str) -> str:
    """Run a task's flow if it waits for somebody; how that ended.

    A job that arrives twice does nothing the second time.

    Raises:
        ImportFailed: the import failed; its record says so already.
    """
    node = self.request.hostname or socket.gethostname()
    try:
        plan = imports.begin(task_id, f"{node}:{os.getpid()}")
        if plan is None:
            return "nothing to do"
        return _run(plan)
    except errors.Abandoned as reason:
        # The database is away: the sweep rings again.
        LOG.warning("Task %s waits for the sweep: %s", task_id, reason)
        return "left to the sweep"


def _run(plan: imports.Plan) -> str:
    LOG.info("Task %s, image %s, attempt %s", plan.lease.task_id, plan.image_id, plan.lease.attempt)
    try:
        ring(plan.owner)
        with heartbeat.Heartbeat(plan) as watch:
            engine.run(plan, watch)
    except errors.Abandoned as reason:
        LOG.warning("Task %s is left to another worker: %s", plan.lease.task_id, reason)
        _leave(plan.lease)
        return "left to another worker"
    finally:
        if config.CONF.gantry.imports_per_project:
            ring(plan.owner)
    return "active"


def _leave(lease: leases.Lease) -> None:
    """Hand a task back; where the database is away, in a thread, as soon as it is back.

    Raises:
        Abandoned: it is away.
    """
    try:
        _hand_back(lease)
    except errors.Abandoned:
        threading.Thread(target=_hand_back_late, args=(lease,), daemon=True).start()
        raise


def _hand_back(lease: leases.Lease) -> None:
    if queue_name := leases.hand_back(lease):
        queue.ring(lease.task_id, queue_name)


def _hand_back_late(lease: leases.Lease) -> None:
    """Else this worker would count as dead, and the third outage would end the import."""
    while True:
        time.sleep(config.CONF.gantry.heartbeat_seconds)
        with contextlib.suppress(errors.Abandoned):
            return _hand_back(lease)


def ring(owner: str | None = None) -> int:
    """Ring for the tasks whose turn has come, of one owner or of all; how many there were."""
    bells = turns.next_up(owner)
    for task_id, queue_name in bells:
        queue.ring(task_id, queue_name)
    return len(bells)


@queue.app.task(name=queue.SWEEP, throws=(errors.GantryError,))
def sweep() -> dict[str, int]:
    """Ring for tasks whose job was lost, whose worker died, or whose turn nobody has called; how many."""
    try:
        dead, moved = leases.declare_dead(), turns.leave_hosts()
        lost = turns.lost_bells(queue.waiting)
        for task_id, queue_name in lost:
            queue.ring(task_id, queue_name)
        return {
            "workers lost": dead,
            "hosts lost": moved,
            "bells rung again": len(lost),
            "turns called": ring(),
        }
    except errors.Abandoned as reason:
        raise errors.Unavailable(str(reason)) from None


@queue.app.task(name=queue.TIDY_UP, throws=(errors.GantryError,))
def tidy_up() -> dict[str, int]:
    """Put right what dead processes have left over; how much of what there was."""
    try:
        return upkeep.run()
    except errors.Abandoned as reason:
        raise errors.Unavailable(str(reason)) from None


@queue.app.task(name=queue.PREFETCH, throws=(errors.GantryError,))
def prefetch(_image_id: str = "") -> int:
    """Fetch what waits for this host's image cache; how many images have come.

    Whichever image it was rung for: they have their order. Beat rings for none.
    """
    try:
        return cache_fills.prefetch(drain.is_over)
    except errors.Abandoned as reason:
        raise errors.Unavailable(str(reason)) from None


@queue.app.task(name=queue.TEND_CACHE, throws=(errors.GantryError,))
def tend_cache() -> dict[str, int]:
    """Keep this host's image cache clean and within its size; how many images had to go."""
    try:
        return {"cleaned": cache.clean(), "pruned": cache.prune()[0]}
    except errors.Abandoned as reason:
        raise errors.Unavailable(str(reason)) from None
