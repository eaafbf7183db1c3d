"""Whose turn it is: a project has few bells in the broker at a time, the rest of its tasks wait as rows.

A queue of a broker is first come, first served: behind a thousand imports of one project another one's
would wait for hours. So only the first `tasks.AHEAD` of them are rung for. Each one that a worker begins lets
the next one of its project be rung for, behind those of the others: projects take turns, and none is idle.
`[gantry] imports_per_project` besides bounds how many of one project run at a time.

A row's `expires` without a worker says when its bell was rung; `tasks.WAITS` means that it was not.
"""

import datetime
import time
from collections.abc import Callable

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, hosts, leases, models, quota, tasks

#: Rows that one sweep looks at, of bells those of each queue; the rest waits for the next one.
_AT_ONCE = 1000

_R, _T = models.TaskRun, models.Task
_LIVE = _T.status.in_(("pending", "processing"))
_UNSEEN = {"synchronize_session": False}

#: A task's id, and the queue to ring in.
Bell = tuple[str, str]


def admit(session: orm.Session, task_id: str) -> bool:
    """Whether a task may be begun under `imports_per_project`; if not, it waits for its turn again.

    Of several workers that ask for tasks of one project, one after another is answered.
    """
    most = config.CONF.gantry.imports_per_project
    owner = session.scalars(sa.select(_T.owner).where(_T.id == task_id)).first()
    if owner is None:
        return True
    quota.lock(session, owner)
    if _running(session, owner) < most:
        return True
    waits = sa.update(_R).where(_R.task_id == task_id, _R.worker.is_(None))
    session.execute(waits.values(expires=tasks.WAITS), execution_options=_UNSEEN)
    return False


def next_up(owner: str | None = None) -> list[Bell]:
    """The tasks whose turn has come, of one owner or (None) of all; they count as rung for."""
    waiting = sa.select(_T.owner, _R.queue).join(_T, _T.id == _R.task_id).distinct()
    waiting = waiting.where(_R.worker.is_(None), _R.expires == tasks.WAITS, _LIVE)
    if owner is not None:
        waiting = waiting.where(_T.owner == owner)
    with db.reading() as session:
        found = list(session.execute(waiting.limit(_AT_ONCE)))
    bells: list[Bell] = []
    for row in found:
        bells += _advance(row.owner, row.queue)
    return bells


def _advance(owner: str, queue: str) -> list[Bell]:
    most = config.CONF.gantry.imports_per_project
    with db.transaction() as session:
        quota.lock(session, owner)  # of several that look at the same time, one after another rings
        rung = tasks.rung(session, owner, queue)
        free = tasks.AHEAD - rung
        if most:
            free = min(free, most - rung - _running(session, owner))
        if free <= 0:
            return []
        oldest = (
            sa.select(_R.task_id)
            .join(_T, _T.id == _R.task_id)
            .where(_T.owner == owner, _R.queue == queue, _LIVE)
            .where(_R.worker.is_(None), _R.expires == tasks.WAITS)
            .order_by(_T.created_at, _T.id)
            .limit(free)
        )
        return [(task_id, queue) for task_id in session.scalars(oldest) if _mark(session, task_id)]


def _mark(session: orm.Session, task_id: str) -> bool:
    """Of two that look at the same time, one rings."""
    rung = sa.update(_R).where(
        _R.task_id == task_id, _R.worker.is_(None), _R.expires == tasks.WAITS
    )
    marked = session.execute(rung.values(expires=time.time()), execution_options=_UNSEEN)
    return bool(marked.rowcount == 1)  # type: ignore[attr-defined]


def leave_hosts() -> int:
    """Let any host take the tasks whose own does not, if their bytes can be fetched again; how many.

    That is after `[gantry] host_patience_seconds` without a sign of life of the task.
    """
    silent = db.now() - datetime.timedelta(seconds=config.CONF.gantry.host_patience_seconds)
    theirs = sa.exists().where(_T.id == _R.task_id, _LIVE, _T.updated_at < silent)
    lost = (_R.queue.like(f"{hosts.FETCH}@%"), _R.worker.is_(None), theirs)
    with db.transaction() as session:
        found = list(session.scalars(sa.select(_R.task_id).where(*lost).limit(_AT_ONCE)))
        if found:  # what is remembered of them names files that only the other host sees
            states = models.FlowState
            session.execute(sa.delete(states).where(states.task_id.in_(found)))
            moved = sa.update(_R).where(_R.task_id.in_(found), _R.worker.is_(None))
            session.execute(
                moved.values(queue=hosts.FETCH, expires=leases.ORPHANED), execution_options=_UNSEEN
            )
        return len(found)


def lost_bells(waiting: Callable[[str], int | None]) -> list[Bell]:
    """Tasks whose bell nobody can hear any more; they count as rung for again.

    These are the ones that nobody has begun within `[gantry] sweep_seconds`, in a queue that holds fewer
    messages than there are bells (`waiting` tells, None where the broker does not answer): a queue that is
    merely long is left alone. Those whose worker has died are rung for in any case.
    """
    rung = (_R.worker.is_(None), _R.expires != tasks.WAITS, _LIVE)
    queues = sa.select(_R.queue).join(_T, _T.id == _R.task_id).where(*rung).distinct()
    rows = sa.select(_R.task_id, _R.expires).join(_T, _T.id == _R.task_id).where(*rung)
    rows = rows.order_by(_R.expires).limit(_AT_ONCE)
    with db.reading() as session:
        bells = {
            queue: {
                row.task_id: row.expires for row in session.execute(rows.where(_R.queue == queue))
            }
            for queue in session.scalars(queues).all()
        }
    lost: list[Bell] = []
    for queue, some in bells.items():
        if again := _lost(queue, some, waiting):
            unheard = sa.update(_R).where(_R.task_id.in_(again), _R.worker.is_(None))
            with db.transaction() as session:
                session.execute(unheard.values(expires=time.time()), execution_options=_UNSEEN)
            lost += [(task_id, queue) for task_id in again]
    return lost


def _lost(queue: str, bells: dict[str, float], waiting: Callable[[str], int | None]) -> list[str]:
    old = time.time() - config.CONF.gantry.sweep_seconds
    overdue = [task_id for task_id, at in bells.items() if at < old]
    there = waiting(queue) if overdue else None
    if there is None:
        return []
    if there >= len(bells):
        overdue = [task_id for task_id in overdue if bells[task_id] == leases.ORPHANED]
    return overdue


def _running(session: orm.Session, owner: str) -> int:
    running = sa.select(sa.func.count()).select_from(_R).join(_T, _T.id == _R.task_id)
    running = running.where(_T.owner == owner, _LIVE, _R.worker.is_not(None))
    return session.scalars(running.where(_R.expires >= time.time())).one()
