"""The right of one worker to run one task: it expires unless renewed, and it is numbered.

The number is the attempt. Every write of a worker names it, so that one that was paused and has lost its
task to another worker changes nothing when it wakes up (design section 4). Times are seconds since 1970
by the hosts' clocks; a clock that is off costs a needless second attempt at worst, never a wrong write, and
no worker that lives counts as dead for long.
"""

import dataclasses
import time

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, errors, models

#: What `expires` is when the worker has died and nobody was told yet.
ORPHANED = 1.0
#: Heartbeats for which a worker that seems to be dead is watched: clocks differ, and after an outage of the
#: database nobody was heard of.
_BEATS = 3
#: Characters of a step's name that are kept.
_STEP = 64
_UNSEEN = {"synchronize_session": False}
_LIVE = ("pending", "processing")


@dataclasses.dataclass(frozen=True, slots=True)
class Lease:
    """A task in the hands of one worker."""

    task_id: str
    #: Fencing number: the how-manieth attempt this is, from 1.
    attempt: int
    worker: str


@dataclasses.dataclass(frozen=True, slots=True)
class Progress:
    """How far a step has come, in bytes."""

    step: str
    done: int
    total: int | None
    #: Bytes a second; None where that is not known yet.
    rate: int | None = None
    #: How often the step has failed and begun again by itself, and what the last fault was.
    retries: int = 0
    fault: str = ""

    def __str__(self) -> str:
        text = f"{self.step}: {self.done >> 20}"
        text += f" of {self.total >> 20} MiB" if self.total else " MiB"
        if self.rate is not None:
            text += f", {self.rate / (1 << 20):.1f} MiB/s"
        return f"{text} (try {self.retries + 1}: {self.fault})" if self.retries else text

    @property
    def columns(self) -> dict[str, object]:
        """As the run's row has it."""
        return {
            "step": self.step[:_STEP],  # a store may have a long name
            "bytes_done": self.done,
            "bytes_total": self.total,
            "rate": self.rate,
            "retries": self.retries,
        }


def take(
    session: orm.Session, task_id: str, worker: str, *, by_force: bool = False
) -> Lease | None:
    """Take the lease if nobody holds it (`by_force`: in any case); of several that try, one gets it.

    A lease that has expired is taken from a worker that has died; one that hands it back, or that it is taken
    from by force, has not.
    """
    runs, tasks, now = models.TaskRun, models.Task, time.time()
    live = sa.exists().where(tasks.id == task_id, tasks.status.in_(_LIVE))
    nothing = {"step": None, "bytes_done": 0, "bytes_total": None, "rate": None, "retries": 0}
    free = sa.or_(runs.worker.is_(None), runs.expires < now)
    is_dead = sa.and_(runs.worker.is_not(None), runs.expires < now)
    taken = session.execute(
        sa.update(runs)
        .where(runs.task_id == task_id, live)
        .where(sa.true() if by_force else free)
        .values(
            # MySQL assigns from left to right: the deaths before what they are counted by.
            deaths=runs.deaths + sa.case((is_dead, 1), else_=0),
            worker=worker,
            attempt=runs.attempt + 1,
            expires=now + config.CONF.gantry.lease_seconds,
            **nothing,
        ),
        execution_options=_UNSEEN,
    )
    if taken.rowcount != 1:  # type: ignore[attr-defined]
        return None
    attempt = session.scalars(sa.select(runs.attempt).where(runs.task_id == task_id)).one()
    return Lease(task_id, attempt, worker)


def renew(lease: Lease, progress: Progress | None) -> bool:
    """Hold a lease for longer and write down how far it has come; False where it is lost."""
    values: dict[str, object] = {"expires": time.time() + config.CONF.gantry.lease_seconds}
    with db.transaction() as session:
        if progress is None:
            return _touch(session, lease, values)
        if not _touch(session, lease, values | progress.columns):
            return False
        info = sa.update(models.TaskInfo).where(models.TaskInfo.task_id == lease.task_id)
        session.execute(info.values(message=str(progress)))
        task = sa.update(models.Task).where(models.Task.id == lease.task_id)
        session.execute(task.values(updated_at=db.now()))
        return True


def hold(session: orm.Session, lease: Lease) -> None:
    """Make sure, before a write, that the lease is still held; nobody can take it before the commit.

    Raises:
        Abandoned: another worker has it.
    """
    expires = time.time() + config.CONF.gantry.lease_seconds
    if not _touch(session, lease, {"expires": expires}):
        raise errors.Abandoned("Another worker has taken this task over")


def check(lease: Lease) -> None:
    """Make sure that the lease is still held, before something is changed that is no record.

    Raises:
        Abandoned: another worker has it.
    """
    with db.transaction() as session:
        hold(session, lease)


def release(session: orm.Session, lease: Lease, progress: Progress | None = None) -> None:
    """Give a lease back with the end of its task, and write down how far it had come.

    Raises:
        Abandoned: it was lost already.
    """
    values: dict[str, object] = {"worker": None, "expires": time.time()}
    if not _touch(session, lease, values | (progress.columns if progress else {})):
        raise errors.Abandoned("Another worker has taken this task over")


def hand_back(lease: Lease) -> str | None:
    """Give a lease back although its task has not ended; the queue to ring in, None where it was lost.

    To be called once: who can has not died, and where its lease was taken from it, it was counted as dead.
    """
    runs = models.TaskRun
    with db.transaction() as session:
        if not _touch(session, lease, {"worker": None, "expires": time.time()}):
            counted = sa.update(runs).where(runs.task_id == lease.task_id, runs.deaths > 0)
            session.execute(counted.values(deaths=runs.deaths - 1), execution_options=_UNSEEN)
            return None
        return session.scalars(sa.select(runs.queue).where(runs.task_id == lease.task_id)).one()


def declare_dead() -> int:
    """Take the lease from every worker that was not heard of in time; how many there were.

    Where there seem to be such, this looks on for some heartbeats: whoever renews its lease meanwhile lives.
    The bell is to be rung for their tasks at once (`turns.lost_bells`).
    """
    runs, tasks = models.TaskRun, models.Task
    live = sa.exists().where(tasks.id == runs.task_id, tasks.status.in_(_LIVE))
    silent = sa.select(runs.task_id, runs.expires).where(runs.worker.is_not(None), live)
    with db.reading() as session:
        found = list(session.execute(silent.where(runs.expires < time.time())))
    if found:
        time.sleep(_BEATS * config.CONF.gantry.heartbeat_seconds)
    return sum(_take_away(row.task_id, row.expires) for row in found)


def _take_away(task_id: str, expires: float) -> bool:
    """Take a lease from its worker unless it was renewed; of two that try, one does."""
    runs = models.TaskRun
    same = sa.update(runs).where(runs.task_id == task_id, runs.expires == expires)
    dead = same.where(runs.worker.is_not(None))
    with db.transaction() as session:
        taken = session.execute(
            dead.values(deaths=runs.deaths + 1, worker=None, expires=ORPHANED),
            execution_options=_UNSEEN,
        )
        return bool(taken.rowcount == 1)  # type: ignore[attr-defined]


def _touch(session: orm.Session, lease: Lease, values: dict[str, object]) -> bool:
    runs = models.TaskRun
    touched = session.execute(
        sa.update(runs)
        .where(runs.task_id == lease.task_id, runs.attempt == lease.attempt)
        .where(runs.worker == lease.worker)
        .values(values),
        execution_options=_UNSEEN,
    )
    return bool(touched.rowcount == 1)  # type: ignore[attr-defined]
