"""The pulse of a running import: renews its lease, writes its progress, notices that it must stop."""

import logging
import threading
import time
import types
from typing import Self

import sqlalchemy.exc

from images import config, errors, imports, leases

LOG = logging.getLogger(__name__)

#: Seconds between two looks at whether a pause should go on.
_TICK = 0.25


class Heartbeat:
    """The `flows.watch.Watch` of a worker; use it in a `with` block, which ends its thread.

    A step only leaves word of how far it is; a thread writes that down once a beat, whatever the number
    of pieces, so that progress costs a few statements a second and nothing for a short import.
    """

    def __init__(self, plan: imports.Plan) -> None:
        self.plan = plan
        self._latest: leases.Progress | None = None
        self._over = threading.Event()
        self._lost = threading.Event()
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _: BaseException | None,
        __: types.TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def lost(self) -> bool:
        """Whether another worker has taken the task over."""
        return self._lost.is_set()

    def report(self, step: str, done: int, total: int | None) -> None:
        """Leave word of a step's progress.

        Raises:
            Stopped: the image was deleted, or another worker has taken the task over.
        """
        if self._lost.is_set():
            raise errors.Stopped("Another worker has taken this task over")
        if self._cancelled.is_set():
            raise errors.Stopped("The image was deleted while it was imported")
        self._latest = leases.Progress(step, done, total)

    def fault(self, cause: str) -> None:
        """Leave word of a fault that is tried again."""
        LOG.warning("Task %s: %s; trying again", self.plan.lease.task_id, cause)

    def pause(self, seconds: float) -> None:
        """Wait; raises what `report` raises."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))
            if self._latest:
                self.report(self._latest.step, self._latest.done, self._latest.total)

    def _beat(self) -> None:
        while not self._over.wait(config.CONF.gantry.heartbeat_seconds):
            try:
                if not leases.renew(self.plan.lease, self._latest):
                    self._lost.set()
                    return
                if not imports.is_wanted(self.plan):
                    self._cancelled.set()
            except (errors.Unavailable, sqlalchemy.exc.SQLAlchemyError) as error:
                LOG.warning("Task %s: a heartbeat was missed: %s", self.plan.lease.task_id, error)
