"""What beat asks for, and how often. Each of these may run twice at the same time."""

from typing import Any

from images import config, queue
from workers import hosts


def entries() -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`."""
    conf = config.CONF.gantry
    return {
        queue.SWEEP: _every(conf.sweep_seconds, queue.SWEEP, queue.UPKEEP),
        queue.TIDY_UP: _every(conf.upkeep_seconds, queue.TIDY_UP, hosts.upkeep_queue()),
    }


def _every(seconds: int, job: str, queue_name: str) -> dict[str, Any]:
    # A run that no worker took before the next one is due would only do the same again.
    options = {"queue": queue_name, "expires": seconds, "ignore_result": True}
    return {"task": job, "schedule": seconds, "options": options}
