"""The memory of a worker's processes: what an import has held is given back when it has failed.

Importing this module is enough: it listens for the worker that is being set up in this process.
"""

import gc
from typing import Any

from celery import signals, states


@signals.worker_init.connect
def settle(**_: Any) -> None:
    """Look no more at what is there before any job: it stays, and looking takes a tenth of a second."""
    gc.freeze()


@signals.task_postrun.connect
def give_back(state: str | None = None, **_: Any) -> None:
    """A flow, its failures and what its steps held, a decompressor's window say, refer to each other."""
    if state != states.SUCCESS:
        gc.collect()
