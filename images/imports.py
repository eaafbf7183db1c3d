"""What an import does to the records: begun by a request, taken by a worker, ended well or badly.

The bytes are `flows`' business. Each function here is one transaction or part of one, and each write of
a worker is fenced: it counts only while the worker still holds the task's lease (`images.leases`).
"""

import dataclasses
import datetime
import logging
import time
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    config,
    context,
    db,
    errors,
    leases,
    methods,
    models,
    statuses,
    stores,
)

LOG = logging.getLogger(__name__)

LOCK = "os_glance_import_task"
IMPORTING_TO = "os_glance_importing_to_stores"
FAILED = "os_glance_failed_import"


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """The body of POST /import, judged as far as it can be without the image (contract section 2.5)."""

    method: methods.Method
    fields: dict[str, Any]
    stores: list[str]
    must_succeed: bool
    #: As it came; the task shows it.
    body: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a worker needs to know to run an import."""

    lease: leases.Lease
    image_id: str
    method: str
    #: The request's member `method`.
    fields: dict[str, Any]
    stores: list[str]
    must_succeed: bool
    disk_format: str | None
    container_format: str | None


def parse(body: Any, header_store: str | None) -> Request:
    """Judge the body of POST /import.

    Raises:
        Invalid: its shape, its method, or its choice of stores is wrong.
        Conflict: it names a store that is not there.
    """
    fields = body.get("method") if isinstance(body, dict) else None
    if not isinstance(fields, dict) or "name" not in fields:
        raise errors.Invalid("The body must be an object with a member method that has a name")
    method = methods.get(fields["name"])
    for flag in ("all_stores", "all_stores_must_succeed"):
        if not isinstance(body.get(flag, False), bool):
            raise errors.Invalid(f"'{flag}' must be boolean value only")
    # Glance refuses false where there is one store, and `openstack image import` always says it, to find
    # nothing done and no error shown. With one store it can only mean the same as true.
    must_succeed = body.get("all_stores_must_succeed", True) or not stores.multi()
    method.check(fields)
    return Request(method, fields, _chosen(body, header_store), must_succeed, body)


def _chosen(body: dict[str, Any], header_store: str | None) -> list[str]:
    if not stores.multi():
        return [stores.default_id()]
    named, every = body.get("stores"), body.get("all_stores", False)
    if header_store and named is not None:
        raise errors.Invalid("Stores are chosen by the header or by the body, not by both")
    if every and (header_store or named is not None):
        raise errors.Invalid("all_stores must not come with a choice of stores")
    if every:
        return stores.writable()
    chosen = [header_store] if header_store else named
    if chosen is None:
        return [stores.default_id()]
    if not isinstance(chosen, list) or not chosen or not all(isinstance(s, str) for s in chosen):
        raise errors.Invalid("stores must be a list of at least one store's id")
    unknown = sorted(set(chosen) - set(stores.writable()))
    if unknown:
        raise errors.Conflict(f"There is no store {unknown[0]} that takes data")
    return list(dict.fromkeys(chosen))


def start(
    session: orm.Session, ctx: context.Context, image: models.Image, request: Request
) -> models.Task:
    """Make the image `importing` and write down the task that a worker will take.

    Raises:
        Conflict: the image's status or formats do not allow this method.
    """
    method = request.method
    if image.status not in method.accepts:
        raise errors.Conflict(
            f"Image is {image.status}; {method.name} needs it {' or '.join(method.accepts)}"
        )
    for column in ("container_format", "disk_format"):
        if getattr(image, column) is None:
            raise errors.Conflict(f"'{column}' needs to be set before import")
    statuses.move_image(session, image.id, image.status, "importing")
    task = models.Task(
        id=str(uuid.uuid4()),  # now rather than at the flush: the lock below names it
        type="api_image_import",
        status="pending",
        owner=ctx.owner or "",
        image_id=image.id,
        request_id=ctx.request_id,
        user_id=ctx.user_id,
    )
    backends = request.stores if stores.multi() else [None]
    task.info = models.TaskInfo(
        input={"image_id": image.id, "import_req": request.body, "backend": backends}
    )
    task.run = models.TaskRun(
        queue=method.queue, roles=list(ctx.roles), expires=time.time(), attempt=0
    )
    session.add(task)
    _mark(session, image, {LOCK: task.id, IMPORTING_TO: _listed(request.stores), FAILED: ""})
    return task


def _mark(session: orm.Session, image: models.Image, marks: dict[str, str]) -> None:
    """Set properties of ours: in one statement, but for those that an earlier import has left."""
    new = []
    for name, value in marks.items():
        if name in image.property_rows:
            image.set_property(name, value)
        else:
            new.append({"image_id": image.id, "name": name, "value": value})
    if new:
        session.execute(sa.insert(models.ImageProperty), new)


def of_image(session: orm.Session, ctx: context.Context, image_id: str) -> list[models.Task]:
    """An image's tasks, newest first, that the caller's project asked for (an administrator: all)."""
    query = (
        sa.select(models.Task)
        .where(models.Task.image_id == image_id, models.Task.deleted.is_(False))
        .where(sa.or_(models.Task.expires_at.is_(None), models.Task.expires_at > db.now()))
        .options(orm.joinedload(models.Task.info), orm.joinedload(models.Task.run))
        .order_by(models.Task.created_at.desc(), models.Task.id)
    )
    if not ctx.is_admin:
        query = query.where(models.Task.owner == ctx.owner)
    return list(session.scalars(query))


def begin(task_id: str, worker: str) -> Plan | None:
    """Take a task over for `worker`; None where it is done, gone, or in other hands."""
    with db.transaction() as session:
        lease = leases.take(session, task_id, worker)
        if lease is None:
            return None
        query = (
            sa.select(models.Task, models.Image)
            .join(models.Image, models.Image.id == models.Task.image_id)
            .where(models.Task.id == task_id)
            .options(orm.joinedload(models.Task.info))
        )
        task, image = session.execute(query).one()
        if task.status == "pending":
            statuses.move_task(session, task_id, "pending", "processing")
        request = task.info.input["import_req"]
        backends = [name for name in task.info.input["backend"] if name]
        return Plan(
            lease=lease,
            image_id=image.id,
            method=request["method"]["name"],
            fields=request["method"],
            stores=backends or [stores.default_id()],
            must_succeed=request.get("all_stores_must_succeed", True) or not stores.multi(),
            disk_format=image.disk_format,
            container_format=image.container_format,
        )


def activate(
    plan: Plan,
    staged: dict[str, Any],
    digest: dict[str, str],
    locations: dict[str, tuple[str, dict[str, str]]],
    failed: list[str],
) -> None:
    """End an import well: image `active`, locations written, lock gone, task `success`, in one transaction.

    `staged` says size, virtual_size, disk_format and container_format of what was stored, `digest` its
    checksum, os_hash_algo and os_hash_value; `locations` holds each store's URI and metadata.

    Raises:
        Stopped: the image was deleted, or another worker holds the task; nothing is changed.
    """
    columns = {
        name: staged[name] for name in ("size", "virtual_size", "disk_format", "container_format")
    }
    with db.transaction() as session:
        moved = statuses.move_image(
            session, plan.image_id, "importing", "active", lost_ok=True, **columns, **digest
        )
        if not moved:
            raise errors.Stopped("The image was deleted while it was imported")
        for url, metadata in locations.values():
            row = models.ImageLocation(image_id=plan.image_id, value=url, meta_data=metadata)
            session.add(row)
        _unlock(session, plan, failed)
        size = staged["size"]
        leases.release(session, plan.lease, leases.Progress("store", size, size))
        _end(session, plan, "success", f"Copied {size >> 20} MiB", {"image_id": plan.image_id})


def fail(plan: Plan, cause: str) -> None:
    """End an import badly: image back to `queued`, lock gone, task `failure` with the cause in words.

    Does nothing where another worker holds the task; leaves an image alone that was deleted.
    """
    try:
        with db.transaction() as session:
            leases.release(session, plan.lease)
            _end(session, plan, "failure", cause)
            if statuses.move_image(session, plan.image_id, "importing", "queued", lost_ok=True):
                _unlock(session, plan, plan.stores if stores.multi() else [])
    except errors.Stopped:
        LOG.warning(
            "Task %s is in another worker's hands; its record is left alone", plan.lease.task_id
        )


def is_wanted(plan: Plan) -> bool:
    """Whether the image is still waiting for this import: it may have been deleted."""
    query = sa.select(models.Image.status).where(
        models.Image.id == plan.image_id, models.Image.deleted.is_(False)
    )
    with db.reading() as session:
        return session.scalars(query).first() == "importing"


def is_recorded(image_id: str, url: str) -> bool:
    """Whether a live image's record points at these bytes, so that they must not be removed."""
    query = sa.select(models.ImageLocation.id).where(
        models.ImageLocation.image_id == image_id,
        models.ImageLocation.value == url,
        models.ImageLocation.deleted.is_(False),
    )
    with db.reading() as session:
        return session.scalars(query.limit(1)).first() is not None


def _end(
    session: orm.Session,
    plan: Plan,
    status: str,
    message: str,
    result: dict[str, str] | None = None,
) -> None:
    ends = db.now() + datetime.timedelta(hours=config.CONF.task.task_time_to_live)
    statuses.move_task(session, plan.lease.task_id, "processing", status, expires_at=ends)
    session.execute(
        sa.update(models.TaskInfo)
        .where(models.TaskInfo.task_id == plan.lease.task_id)
        .values(message=message, result=result)
    )


def _unlock(session: orm.Session, plan: Plan, failed: list[str]) -> None:
    rows = models.ImageProperty
    mine = rows.image_id == plan.image_id
    session.execute(
        sa.delete(rows).where(mine, rows.name == LOCK, rows.value == plan.lease.task_id),
        execution_options={"synchronize_session": False},
    )
    lists = sa.case((rows.name == FAILED, _listed(failed)), else_="")
    session.execute(
        sa.update(rows).where(mine, rows.name.in_((IMPORTING_TO, FAILED))).values(value=lists),
        execution_options={"synchronize_session": False},
    )


def _listed(names: list[str]) -> str:
    """As the record shows a list of stores; a single store has no name to show."""
    return ",".join(sorted(names)) if stores.multi() else ""
