"""SIGHUP: every process of a service reads the configuration again, and none is replaced.

gunicorn, uWSGI and Celery would start new processes and end the old ones, with all that takes longer than
their mercy: downloads, imports. Instead their first process counts how often it was told, in memory that
it shares with those it forks; these look at it before each request and each job. So whatever has begun
ends by the options with which it began.
"""

import ctypes
import multiprocessing
import signal
import threading
from typing import Any

#: How often the service was told. Whoever forks has imported this module before.
told: Any = multiprocessing.get_context("fork").Value(ctypes.c_int, 0, lock=False)
#: How often this process has followed: whoever cannot spare a call compares the two before `follow`.
followed = 0
_lock = threading.Lock()


def tell(*_: object) -> None:
    """Have the configuration read again; it may be called by a signal's handler."""
    told.value += 1


def follow() -> None:
    """Read the configuration again, if this process was told to and has not yet."""
    global followed  # noqa: PLW0603 - each process has its own
    if told.value == followed:
        return
    from images import config  # the first process of a web server does without

    with _lock:
        if (now := told.value) != followed:
            config.reload()
            followed = now


def listen() -> None:
    """Be told by SIGHUP, and follow at once, in a thread: a signal finds any lock held."""

    def begin(*_: object) -> None:
        tell()
        threading.Thread(target=follow, name="reload", daemon=True).start()

    signal.signal(signal.SIGHUP, begin)
