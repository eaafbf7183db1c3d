"""What beat asks for, and how often. Each of these may run twice at the same time."""

from typing import Any

from images import cache, config, hosts, queue
from workers import hosts as own_queues


def entries() -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`."""
    conf = config.CONF.gantry
    jobs = {
        queue.SWEEP: _every(conf.sweep_seconds, queue.SWEEP, queue.UPKEEP),
        queue.TIDY_UP: _every(conf.upkeep_seconds, queue.TIDY_UP, own_queues.upkeep_queue()),
    }
    if cache.is_on():
        here, pause = hosts.queue_of_cache(), config.CONF.cache_prefetcher_interval
        jobs[queue.TEND_CACHE] = _every(conf.upkeep_seconds, queue.TEND_CACHE, here)
        jobs[queue.PREFETCH] = _every(pause, queue.PREFETCH, here)
    return jobs


def _every(seconds: int, job: str, queue_name: str) -> dict[str, Any]:
    # A run that no worker took before the next one is due would only do the same again.
    options = {"queue": queue_name, "expires": seconds, "ignore_result": True}
    return {"task": job, "schedule": seconds, "options": options}
