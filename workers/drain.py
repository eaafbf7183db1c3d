"""SIGTERM: a worker is to end, and its processes must learn of it.

Celery's warm shutdown takes no further jobs and waits for those that run, for hours if need be. The processes
look at a clock that the worker has set when it was told: imports that are not done `[gantry] drain_seconds`
later are handed to other workers (`workers.heartbeat`).
"""

import ctypes
import multiprocessing
import time
from typing import Any

from celery import signals

from images import config, notifications

#: When the worker was told to end, on the clock `time.monotonic`; 0: it was not. The processes that the
#: worker forks share this memory.
_told: Any = multiprocessing.get_context("fork").Value(ctypes.c_double, 0.0, lock=False)


@signals.worker_shutting_down.connect
def begin(**_: Any) -> None:
    """From now on imports have `drain_seconds` left."""
    _told.value = time.monotonic()


@signals.worker_process_shutdown.connect
def say_the_rest(**_: Any) -> None:
    """A process of the pool ends without what Python does at an end; what it has noted is sent before."""
    notifications.flush()


def is_over() -> bool:
    """Whether a running import must be handed back."""
    return bool(_told.value) and time.monotonic() > _told.value + config.CONF.gantry.drain_seconds
