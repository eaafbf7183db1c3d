"""The pulse of a running import: renews its lease, writes its progress, notices that it must stop."""

import dataclasses
import logging
import threading
import time
import types
from collections.abc import Callable
from typing import Self

import sqlalchemy.exc

from images import config, errors, imports, leases
from workers import drain

LOG = logging.getLogger(__name__)

#: Seconds between two looks at whether a pause should go on.
_TICK = 0.25
#: The option that limits the time of a step, by the beginning of the step's name.
_LIMITS = {
    "fetch": "fetch_timeout",
    "store": "store_timeout",
    "copy": "store_timeout",
    "convert": "conversion_timeout",
}


class Heartbeat:
    """The `flows.watch.Watch` of a worker; use it in a `with` block, which ends its thread.

    A step only leaves word of how far it is; a thread writes that down once a beat, whatever the number
    of pieces, so that progress costs a few statements a second and nothing for a short import.
    """

    def __init__(self, plan: imports.Plan) -> None:
        self.plan = plan
        self._latest: leases.Progress | None = None
        #: When the step that is running must have ended.
        self._ends = 0.0
        #: Bytes and time at the last beat, from which the rate is made.
        self._mark = ("", 0, 0.0)
        #: What `report` raises from now on.
        self._stop: Callable[[], BaseException] | None = None
        #: When the lease was renewed: one that must have expired is asked for before a piece is written.
        self._renewed = time.monotonic()
        self._lease_seconds = config.CONF.gantry.lease_seconds
        self._over = threading.Event()
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

    def report(self, step: str, done: int, total: int | None) -> None:
        """Leave word of a step's progress.

        Raises:
            Stopped: the image was deleted.
            ImportFailed: the step has taken longer than it may.
            Abandoned: another worker has taken the task over, or this one is to end.
        """
        if self._stop:
            raise self._stop()
        now, latest = time.monotonic(), self._latest
        if now - self._renewed > self._lease_seconds:
            leases.check(self.plan.lease)  # we were paused, or cut off
            self._renewed = now
        if latest is None or latest.step != step:
            limit = config.CONF.gantry[_LIMITS.get(step.partition(":")[0], "step_timeout")]
            self._ends = now + limit
            latest = leases.Progress(step, done, total)
        self._latest = leases.Progress(
            step, done, total, retries=latest.retries, fault=latest.fault
        )
        if now > self._ends:
            raise errors.ImportFailed(f"The step {step} took longer than it may here")

    def fault(self, cause: str) -> None:
        """Leave word of a fault after which the step tries again."""
        LOG.warning("Task %s tries again: %s", self.plan.lease.task_id, cause)
        if self._latest:
            retries = self._latest.retries + 1
            self._latest = dataclasses.replace(self._latest, retries=retries, fault=cause)

    def pause(self, seconds: float) -> None:
        """Wait; raises what `report` raises."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))
            if latest := self._latest:
                self.report(latest.step, latest.done, latest.total)

    def _beat(self) -> None:
        while not self._over.wait(config.CONF.gantry.heartbeat_seconds):
            try:
                self._stop = self._reason_to_stop() or self._stop
            except (errors.Unavailable, errors.Abandoned, sqlalchemy.exc.SQLAlchemyError) as error:
                LOG.warning("Task %s: a heartbeat was missed: %s", self.plan.lease.task_id, error)

    def _reason_to_stop(self) -> Callable[[], BaseException] | None:
        """Write down how far the import is; what it must end with, if it must."""
        if not leases.renew(self.plan.lease, self._measured()):
            return lambda: errors.Abandoned("Another worker has taken this task over")
        self._renewed = time.monotonic()
        if not imports.is_wanted(self.plan):
            return lambda: errors.Stopped("The image was deleted while it was imported")
        if drain.is_over():
            return lambda: errors.Abandoned("This worker is asked to end")
        return None

    def _measured(self) -> leases.Progress | None:
        """The latest word, with the rate since the last beat."""
        latest, now = self._latest, time.monotonic()
        if latest is None:
            return None
        step, done, then = self._mark
        self._mark = (latest.step, latest.done, now)
        if step != latest.step or now <= then:
            return latest
        rate = max(0, int((latest.done - done) / (now - then)))
        return dataclasses.replace(latest, rate=rate)
