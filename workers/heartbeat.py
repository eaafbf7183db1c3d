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


@dataclasses.dataclass
class _Step:
    """A step that is running."""

    #: What it has last said.
    progress: leases.Progress
    #: When it must have ended, and the option that says so.
    ends: float
    limit: str


class Heartbeat:
    """The `flows.watch.Watch` of a worker; use it in a `with` block, which ends its thread.

    A step only leaves word of how far it is; a thread writes that down once a beat, whatever the number
    of pieces, so that progress costs a few statements a second and nothing for a short import.
    """

    def __init__(self, plan: imports.Plan) -> None:
        self.plan = plan
        #: The steps that are running, by their names: stores are written side by side.
        self._running: dict[str, _Step] = {}
        self._begins = threading.Lock()
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
        now = time.monotonic()
        if now - self._renewed > self._lease_seconds:
            leases.check(self.plan.lease)  # we were paused, or cut off
            self._renewed = now
        running = self._running.get(step) or self._begin(step, now)
        before = running.progress
        running.progress = leases.Progress(
            step, done, total, retries=before.retries, fault=before.fault
        )
        if now > running.ends:
            allowed = config.CONF.gantry[running.limit]
            raise errors.ImportFailed(
                f"The step {step} took longer than [gantry] {running.limit} allows, {allowed} s"
            )

    def _begin(self, step: str, now: float) -> _Step:
        """A step's first word. Those of another kind have ended by then, for only stores run side by side."""
        kind = _kind(step)
        limit = _LIMITS.get(kind, "step_timeout")
        begun = _Step(leases.Progress(step, 0, None), now + config.CONF.gantry[limit], limit)
        with self._begins:
            beside = {name: one for name, one in self._running.items() if _kind(name) == kind}
            self._running = beside | {step: begun}
        return begun

    def fault(self, step: str, cause: str) -> None:
        """Leave word of a fault after which the step tries again."""
        LOG.warning("Task %s tries again: %s", self.plan.lease.task_id, cause)
        if running := self._running.get(step):
            retries = running.progress.retries + 1
            running.progress = dataclasses.replace(running.progress, retries=retries, fault=cause)

    def pause(self, step: str, seconds: float) -> None:
        """Wait; raises what `report` raises."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, _TICK))
            if running := self._running.get(step):
                self.report(step, running.progress.done, running.progress.total)

    def _beat(self) -> None:
        while not self._over.wait(config.CONF.gantry.heartbeat_seconds):
            try:
                self._stop = self._reason_to_stop() or self._stop
            except (errors.GantryError, errors.Abandoned, sqlalchemy.exc.SQLAlchemyError) as error:
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
        latest, now = _together(self._running), time.monotonic()
        if latest is None:
            return None
        step, done, then = self._mark
        self._mark = (latest.step, latest.done, now)
        if step != latest.step or now <= then:
            return latest
        rate = max(0, int((latest.done - done) / (now - then)))
        return dataclasses.replace(latest, rate=rate)


def _kind(step: str) -> str:
    return step.partition(":")[0]


def _together(running: dict[str, _Step]) -> leases.Progress | None:
    """What the steps that are running have said, as one: bytes and retries of all of them."""
    said = [one.progress for one in running.values()]
    if len(said) < 2:  # noqa: PLR2004 - one speaks for itself
        return said[0] if said else None
    totals = [one.total for one in said]
    return leases.Progress(
        _kind(said[0].step),
        sum(one.done for one in said),
        None if None in totals else sum(filter(None, totals)),
        retries=sum(one.retries for one in said),
        fault=next((one.fault for one in said if one.fault), ""),
    )
