"""The right of one worker to run one task: it expires unless renewed, and it is numbered.

The number is the attempt. Every write of a worker names it, so that one that was paused and has lost its
task to another worker changes nothing when it wakes up (design section 4). Times are seconds since 1970
by the hosts' clocks; a clock that is off costs a needless second attempt at worst, never a wrong write.
"""

import dataclasses
import time

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, errors, models

#: Tasks that one sweep rings for; the rest waits for the next one.
_SWEEP_AT_MOST = 200


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

    def __str__(self) -> str:
        done = self.done >> 20
        return (
            f"{self.step}: {done} of {self.total >> 20} MiB"
            if self.total
            else f"{self.step}: {done} MiB"
        )


def take(session: orm.Session, task_id: str, worker: str) -> Lease | None:
    """Take the lease if nobody holds it; of several that try, one gets it."""
    runs, tasks = models.TaskRun, models.Task
    live = sa.exists().where(tasks.id == task_id, tasks.status.in_(("pending", "processing")))
    taken = session.execute(
        sa.update(runs)
        .where(runs.task_id == task_id, live)
        .where(sa.or_(runs.worker.is_(None), runs.expires < time.time()))
        .values(
            worker=worker,
            attempt=runs.attempt + 1,
            expires=time.time() + config.CONF.gantry.lease_seconds,
        )
        .values(step=None, bytes_done=0, bytes_total=None),
        execution_options={"synchronize_session": False},
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
        values |= {
            "step": progress.step,
            "bytes_done": progress.done,
            "bytes_total": progress.total,
        }
        if not _touch(session, lease, values):
            return False
        info = sa.update(models.TaskInfo).where(models.TaskInfo.task_id == lease.task_id)
        session.execute(info.values(message=str(progress)))
        task = sa.update(models.Task).where(models.Task.id == lease.task_id)
        session.execute(task.values(updated_at=db.now()))
        return True


def hold(session: orm.Session, lease: Lease) -> None:
    """Make sure, before a write, that the lease is still held; nobody can take it before the commit.

    Raises:
        Stopped: another worker has it.
    """
    expires = time.time() + config.CONF.gantry.lease_seconds
    if not _touch(session, lease, {"expires": expires}):
        raise errors.Stopped("Another worker has taken this task over")


def release(session: orm.Session, lease: Lease, progress: Progress | None = None) -> None:
    """Give a lease back, and write down how far it had come.

    Raises:
        Stopped: it was lost already.
    """
    values: dict[str, object] = {"worker": None, "expires": time.time()}
    if progress:
        values |= {
            "step": progress.step,
            "bytes_done": progress.done,
            "bytes_total": progress.total,
        }
    if not _touch(session, lease, values):
        raise errors.Stopped("Another worker has taken this task over")


def overdue() -> list[tuple[str, str]]:
    """Ids and queues of tasks that nobody works on although somebody should, oldest first.

    Those are the ones whose lease has expired, and the pending ones whose bell was rung so long ago that
    the job must be lost. They are marked as rung: the next sweep leaves them alone for a while.
    """
    runs, tasks = models.TaskRun, models.Task
    now, patience = time.time(), config.CONF.gantry.sweep_seconds
    pending = sa.and_(tasks.status == "pending", runs.worker.is_(None))
    query = (
        sa.select(runs.task_id, runs.queue)
        .join(tasks, tasks.id == runs.task_id)
        .where(
            sa.or_(
                sa.and_(pending, runs.expires < now - patience),
                sa.and_(tasks.status == "processing", runs.expires < now),
            )
        )
        .order_by(runs.expires)
        .limit(_SWEEP_AT_MOST)
    )
    with db.transaction() as session:
        found = [(row.task_id, row.queue) for row in session.execute(query)]
        rung = sa.update(runs).where(runs.task_id.in_([one for one, _ in found]))
        session.execute(rung.where(runs.worker.is_(None)).values(expires=now))
        return found


def _touch(session: orm.Session, lease: Lease, values: dict[str, object]) -> bool:
    runs = models.TaskRun
    touched = session.execute(
        sa.update(runs)
        .where(runs.task_id == lease.task_id, runs.attempt == lease.attempt)
        .where(runs.worker == lease.worker)
        .values(values),
        execution_options={"synchronize_session": False},
    )
    return bool(touched.rowcount == 1)  # type: ignore[attr-defined]
