"""SIGHUP for workers and beat (`images.reloading`).

Celery would have a worker hand back its imports and start anew, and beat end.
"""

from typing import Any

from celery import signals

from images import reloading


@signals.worker_ready.connect
@signals.beat_init.connect
def listen(**_: Any) -> None:
    """In the first process, which runs no job."""
    reloading.listen()


@signals.task_prerun.connect
def follow(**_: Any) -> None:
    """In a process of the pool, before a job."""
    reloading.follow()
