"""What an operator does about imports by hand: looks for them, ends one, has one done again.

Whoever asked for an import may do the same through the API, by deleting the image and by asking again; this
is for what stands still, and for whom it was asked does not matter.
"""

import logging
import os
import time
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    catalog,
    config,
    context,
    db,
    errors,
    hosts,
    import_requests,
    imports,
    leases,
    legacy,
    location_tasks,
    models,
    queue,
    staging,
    stores,
    tasks,
    turns,
)

LOG = logging.getLogger(__name__)

LIVE = ("pending", "processing")
_CANCELLED = "It was cancelled by an operator"
_UNSEEN = {"synchronize_session": False}
_T = models.Task


def find(*, every: bool, most: int, **equal: str | None) -> list[models.Task]:
    """Tasks that have not ended, or `every` one, oldest first; what `equal` names must be so.

    The newest `most` of them, if there are more.
    """
    wanted = {name: value for name, value in equal.items() if value is not None}
    query = sa.select(_T).filter_by(**wanted).options(*_whole()).limit(most)
    if not every:
        query = query.where(_T.status.in_(LIVE))
    with db.reading() as session:
        return list(session.scalars(query.order_by(_T.created_at.desc(), _T.id)))[::-1]


def get(task_id: str) -> models.Task:
    """A task, whole.

    Raises:
        NotFound: there is none.
    """
    with db.reading() as session:
        task = session.get(_T, task_id, options=_whole())
    if task is None:
        raise errors.NotFound(f"No task found with ID {task_id}")
    return task


def _whole() -> list[Any]:
    return [orm.joinedload(_T.info), orm.joinedload(_T.run)]


def is_held(task: models.Task) -> bool:
    """Whether a worker that is alive works on a task."""
    return bool(task.run and task.run.worker and task.run.expires >= time.time())


def cancel(task_id: str) -> None:
    """End a task as failed, whoever works on it; its image is what it is after an import that failed.

    A worker that has it is given the time to notice; what it still leaves behind, upkeep removes.

    Raises:
        NotFound: there is no such task.
        Conflict: it has ended already, or belongs to another service.
    """
    task = get(task_id)
    if task.status in LIVE and task.run is None:
        raise errors.Conflict(f"Task {task_id} was begun by another image service, not by this one")
    plan = imports.begin(task_id, f"operator@{hosts.name()}:{os.getpid()}", by_force=True)
    if plan is None:
        raise errors.Conflict(f"Task {task_id} has ended already: {get(task_id).status}")
    if is_held(task) or (task.run and plan.lease.attempt > task.run.attempt + 1):
        conf = config.CONF.gantry
        time.sleep(min(2 * conf.heartbeat_seconds + 1, conf.lease_seconds / 2))
    try:
        _fail(plan)
    except errors.Abandoned as error:
        raise errors.Conflict(f"Task {task_id} is being cancelled by somebody else") from error
    with db.transaction() as session:
        for rows in (models.TaskSecret, models.FlowState):
            session.execute(
                sa.delete(rows).where(rows.task_id == task_id), execution_options=_UNSEEN
            )
    _ring_next(task.owner)


def _fail(plan: imports.Plan) -> None:
    if plan.kind == location_tasks.KIND:
        location_tasks.fail(plan, _CANCELLED)
        return
    if plan.kind != imports.COPY:
        leases.check(plan.lease)
        staging.remove(plan.image_id)
    imports.fail(plan, _CANCELLED)


def _ring_next(owner: str) -> None:
    """The turn of another task of that project may have come (`images.turns`)."""
    for task_id, name in turns.next_up(owner):
        queue.ring(task_id, name)


def retry(task_id: str) -> str:
    """Have a task done that is not being done: the id of the task that does it.

    One that waits, or whose worker is gone, is rung for again. For one that has failed a new one is written
    down, as if the same user had asked again, by the same rules.

    Raises:
        NotFound: there is no such task; or its image is gone.
        Conflict: it is being worked on, or has ended well; or its image's state does not allow it.
        Invalid, Forbidden, LimitExceeded, Unavailable: what the user would have been told.
    """
    task = get(task_id)
    if task.status == "success":
        raise errors.Conflict(f"Task {task_id} has ended well: there is nothing to be done again")
    if is_held(task):
        raise errors.Conflict(
            f"Task {task_id} is being worked on by {task.run and task.run.worker}"
        )
    if task.status in LIVE:
        _ring(task)
        return task_id
    made = _AGAIN[task.type](task, imports.asker_as_recorded(task))
    _ring(made)
    return made.id


def _ring(task: models.Task) -> None:
    """Ring for a task, unless it waits for its project's turn."""
    if task.run is None:
        raise errors.Conflict(f"Task {task.id} was begun by another image service, not by this one")
    if task.run.expires != tasks.WAITS and not queue.ring(task.id, task.run.queue):
        LOG.warning("The broker does not answer; the sweep rings when it does again")


def _import_again(task: models.Task, asker: context.Context) -> models.Task:
    """As POST /v2/images/{id}/import does."""
    document = task.info.input
    body, chosen = document["import_req"], document["backend"]
    named = "stores" in body or body.get("all_stores")
    header = chosen[0] if stores.multi() and not named else None
    wanted = import_requests.parse(body, header)
    made = import_requests.ask(asker, str(task.image_id), wanted)
    if made is None:
        raise errors.Conflict("The stores have the image already: nothing is to be done")
    return made


def _legacy_again(task: models.Task, asker: context.Context) -> models.Task:
    """As POST /v2/tasks does."""
    document = legacy.check(task.info.input)
    with db.transaction() as session:
        return tasks.add(session, asker, "import", document, queue=legacy.QUEUE)


def _location_again(task: models.Task, asker: context.Context) -> models.Task:
    """As POST /v2/images/{id}/locations does."""
    document = task.info.input
    body = {"url": document["loc_url"], "validation_data": document.get("validation_data") or {}}
    wanted = location_tasks.parse(body)
    with db.transaction() as session:
        image = catalog.get(session, asker, str(task.image_id), parts=("properties",), lock=True)
        return location_tasks.start(session, asker, image, wanted)


_AGAIN = {
    "api_image_import": _import_again,
    "import": _legacy_again,
    location_tasks.KIND: _location_again,
}
