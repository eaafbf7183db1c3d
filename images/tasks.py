"""Tasks, Glance's records of work: written down with it, shown, ended, forgotten (contract section 2.7).

A task belongs to the project that asked for it, which need not be the image's.
"""

import dataclasses
import time
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import context, db, errors, filters, models, notifications

_T = models.Task
#: What POST /v2/tasks takes; the other types are made by the requests that they are the work of.
TYPES = ("import", "api_image_import", "location_import")
STATUSES = ("pending", "processing", "success", "failure")

#: What a list may be sorted by, and of these what may be NULL.
SORT_KEYS = (
    *("id", "type", "status", "owner", "created_at", "updated_at"),
    *("expires_at", "image_id", "request_id", "user_id"),
)
_NULLABLE = ("updated_at", "expires_at", "image_id", "request_id", "user_id")
#: Parameters of a list that narrow it; any other one is passed over.
_FILTERS = ("id", "type", "status", "owner", "image_id", "request_id", "user_id")
_ID_LENGTH = 36
#: Tasks of one image that are shown: an import that fails at once may be asked for any number of times.
_NEWEST = 200

#: Bells of one project in one queue that may be unanswered at a time (`images.turns` says why).
AHEAD = 4
#: What a run's `expires` is while its task waits for its project's turn.
WAITS = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """One page of a list of tasks."""

    #: Tasks on the page.
    limit: int
    #: Id of the last task of the page before, or None for the first page.
    marker: str | None
    #: (key, "asc" or "desc"), most important first; `id` ends it, so that the order is total.
    sort: tuple[tuple[str, str], ...]
    #: The parameters that narrow the list.
    filters: dict[str, str]


def add(
    session: orm.Session,
    asker: context.Context,
    kind: str,
    document: dict[str, Any],
    *,
    queue: str,
    image_id: str | None = None,
) -> models.Task:
    """Write down a task that a worker will take from `queue`.

    After the commit the caller rings (`queue.ring`), unless the task's `run.expires` says that it `WAITS`.
    `kind` is the task's type, `document` its input as it is shown.
    """
    task = models.Task(
        id=str(uuid.uuid4()),  # now rather than at the flush: the import's lock names it
        type=kind,
        status="pending",
        owner=asker.owner or "",
        image_id=image_id,
        request_id=asker.request_id,
        user_id=asker.user_id,
        created_at=db.now(),
        updated_at=db.now(),
        deleted=False,
    )
    task.info = models.TaskInfo(input=document)
    expires = time.time() if rung(session, task.owner, queue) < AHEAD else WAITS
    task.run = models.TaskRun(queue=queue, roles=list(asker.roles), expires=expires, attempt=0)
    session.add(task)
    if notifications.enabled:
        notifications.task(session, "task.create", task.id)
    return task


def rung(session: orm.Session, owner: str, queue: str) -> int:
    """How many bells of a project no worker has answered yet, in a queue; `AHEAD` means that many or more."""
    runs = models.TaskRun
    bells = sa.select(runs.task_id).join(_T, _T.id == runs.task_id).where(_T.owner == owner)
    bells = bells.where(_T.status.in_(("pending", "processing")), runs.queue == queue)
    bells = bells.where(runs.worker.is_(None), runs.expires != WAITS).limit(AHEAD)
    return session.scalars(sa.select(sa.func.count()).select_from(bells.subquery())).one()


def is_live(session: orm.Session, task_id: str) -> bool:
    """Whether somebody works on a task or will: a sweep sees to it that such a task ends."""
    status = session.scalars(sa.select(_T.status).where(_T.id == task_id)).first()
    return status in ("pending", "processing")


def of_image(session: orm.Session, asker: context.Context, image_id: str) -> list[models.Task]:
    """An image's newest tasks, newest first, that the caller's project asked for (an administrator: all)."""
    query = (
        sa.select(_T)
        .where(_T.image_id == image_id, _T.deleted.is_(False))
        .where(sa.or_(_T.expires_at.is_(None), _T.expires_at > db.now()))
        .options(orm.joinedload(_T.info), orm.joinedload(_T.run))
        .order_by(_T.created_at.desc(), _T.id)
        .limit(_NEWEST)
    )
    return list(session.scalars(query.where(*_shown_to(asker))))


def get(session: orm.Session, asker: context.Context, task_id: str) -> models.Task:
    """A task that the asker may see, whole.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(_T).where(_T.id == task_id, _T.deleted.is_(False), *_shown_to(asker))
    query = query.options(orm.joinedload(_T.info))
    storable = len(task_id) <= _ID_LENGTH and not filters.UNSTORABLE.search(task_id)
    task = session.scalars(query).one_or_none() if storable else None
    if task is None:
        raise errors.NotFound(f"No task found with ID {task_id}")
    return task


def page(session: orm.Session, asker: context.Context, query: Query) -> list[models.Task]:
    """A page of the tasks that the asker may see, without their large columns.

    Raises:
        Invalid: there is no such marker.
    """
    statement = sa.select(_T).where(_T.deleted.is_(False), *_shown_to(asker))
    for name, value in query.filters.items():
        if name in _FILTERS:
            known = not filters.UNSTORABLE.search(value)
            statement = statement.where(getattr(_T, name) == value if known else sa.false())
    if query.marker is not None:
        statement = statement.where(_after(_marker(session, asker, query.marker), query.sort))
    for key, direction in query.sort:
        statement = statement.order_by(*_order(key, direction))
    return list(session.scalars(statement.limit(query.limit)))


def expire() -> None:
    """Hide the tasks whose time is over; whoever lists tasks does this first."""
    over = sa.update(_T).where(_T.expires_at <= db.now(), _T.deleted.is_(False))
    with db.transaction() as session:
        session.execute(
            over.values(deleted=True, deleted_at=db.now(), updated_at=_T.updated_at),
            execution_options={"synchronize_session": False},
        )


def _shown_to(asker: context.Context) -> list[sa.ColumnElement[bool]]:
    return [] if asker.is_admin else [_T.owner == (asker.owner or "")]


def _marker(session: orm.Session, asker: context.Context, task_id: str) -> models.Task:
    try:
        return get(session, asker, task_id)
    except errors.NotFound as error:
        raise errors.Invalid(f"The marker {task_id} is no task") from error


def _order(key: str, direction: str) -> list[Any]:
    """NULL is less than anything, on every database."""
    columns: list[Any] = [getattr(_T, key)]
    if key in _NULLABLE:
        columns.insert(0, columns[0].is_not(None))
    return [column.asc() if direction == "asc" else column.desc() for column in columns]


def _after(marker: models.Task, sort: tuple[tuple[str, str], ...]) -> sa.ColumnElement[bool]:
    """What comes behind `marker`: its first key that differs is on the far side."""
    ways: list[sa.ColumnElement[bool]] = []
    same: list[sa.ColumnElement[bool]] = []
    for key, direction in sort:
        column, value = getattr(_T, key), getattr(marker, key)
        if value is None:
            beyond = column.is_not(None) if direction == "asc" else sa.false()
            equal = column.is_(None)
        else:
            beyond = column > value if direction == "asc" else column < value
            if direction == "desc" and key in _NULLABLE:
                beyond = sa.or_(beyond, column.is_(None))
            equal = column == value
        ways.append(sa.and_(*same, beyond))
        same.append(equal)
    return sa.or_(*ways)
