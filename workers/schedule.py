"""What beat asks for, and how often. Each of these may run twice at the same time."""

from typing import Any

from images import config, queue


def entries() -> dict[str, dict[str, Any]]:
    """Celery's `beat_schedule`."""
    seconds = config.CONF.gantry.sweep_seconds
    return {
        "sweep": {
            "task": queue.SWEEP,
            "schedule": seconds,
            # A sweep that no worker took before the next one is due would only do the same again.
            "options": {"queue": queue.UPKEEP, "expires": seconds, "ignore_result": True},
        }
    }
