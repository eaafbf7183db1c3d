"""The end of tasks that nobody works on, because their image was deleted.

One that a worker has begun is the worker's to end: it notices, stops, and removes what it wrote.
"""

import datetime
import time

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, models, statuses

_CAUSE = "The image was deleted"
#: Tasks that one run ends; the rest waits for the next one.
_AT_ONCE = 100
_UNSEEN = {"synchronize_session": False}


def end(session: orm.Session, task_id: str, was: str) -> bool:
    """End a task as failed, with what workers keep about it; False where it is no longer what it `was`."""
    if not statuses.end_task(session, task_id, "failure", _CAUSE, was=was):
        return False
    for rows in (models.TaskSecret, models.FlowState):
        session.execute(sa.delete(rows).where(rows.task_id == task_id), execution_options=_UNSEEN)
    return True


def end_abandoned() -> int:
    """End the tasks of deleted images that nobody works on; how many there were.

    A deletion ends what was pending by itself, and a worker what was begun. This is for a task that was asked
    for at the very moment of the deletion, and for one whose workers do not come back: of a host that is
    gone, of a queue that nobody consumes. So one that was begun has `[gantry] host_patience_seconds`.
    """
    task, run, image = models.Task, models.TaskRun, models.Image
    alive = sa.exists().where(image.id == task.image_id, image.deleted.is_(False))
    silent = db.now() - datetime.timedelta(seconds=config.CONF.gantry.host_patience_seconds)
    begun = sa.and_(task.status == "processing", task.updated_at < silent)
    query = (
        sa.select(task.id, task.status, run.attempt)
        .join(run, run.task_id == task.id)
        .where(task.image_id.is_not(None), ~alive, _is_free())
        # A legacy task that was begun may be about to make its image.
        .where(sa.or_(task.status == "pending", sa.and_(begun, task.type != "import")))
        .limit(_AT_ONCE)
    )
    with db.reading() as session:
        found = [(row.id, row.status, row.attempt) for row in session.execute(query)]
    return sum([_take_and_end(*one) for one in found])


def _take_and_end(task_id: str, was: str, attempt: int) -> bool:
    """The next number of the lease is taken, so that no worker that had the task can write any more."""
    run = models.TaskRun
    take = sa.update(run).where(run.task_id == task_id, run.attempt == attempt, _is_free())
    with db.transaction() as session:
        taken = session.execute(
            take.values(attempt=attempt + 1, worker=None), execution_options=_UNSEEN
        )
        mine: bool = taken.rowcount == 1  # type: ignore[attr-defined]
        return mine and end(session, task_id, was)


def _is_free() -> sa.ColumnElement[bool]:
    run = models.TaskRun
    return sa.or_(run.worker.is_(None), run.expires < time.time())
