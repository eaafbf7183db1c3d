"""What Glance was doing when it was stopped for good, and who ends it (`gantry db adopt`).

Glance does imports in its API processes; one that died left its task `processing`, its image `importing`
and its lock for ever (contract sections 4.4 and 4.5). Such a task has no run of ours, by which it is known:
so all of this may be done again at any time, also beside a running service.

An import goes on with our workers, from its beginning, where that is safe and possible. The other tasks end
as failed, with the cause in words, and their images are `queued` again (contract section 12).
"""

import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    db,
    errors,
    hosts,
    imports,
    leases,
    leftovers,
    location_tasks,
    methods,
    models,
    removal,
    signatures,
    staging,
    statuses,
    stores,
)

LOG = logging.getLogger(__name__)

_LIVE = ("pending", "processing")
#: Methods whose bytes can be had again without the caller's token.
_REPEATABLE = ("glance-direct", "web-download", imports.COPY)
#: The attempt that was Glance's: the next one looks for what an earlier one has stored.
_FIRST = 1
_UNSEEN = {"synchronize_session": False}

#: What becomes of a task, and how many of each there were.
HANDED_OVER, ENDED, GIVEN_BACK = "imports handed to workers", "tasks ended", "images given back"


def settle() -> dict[str, int]:
    """Hand over or end everything that Glance has left; how much of what there was.

    Raises:
        Conflict: the locations are encrypted.
        Unavailable: the database does not serve us at present; do it again.
    """
    _refuse_encryption()
    count = {HANDED_OVER: 0, ENDED: 0, GIVEN_BACK: 0}
    for task_id in _unclaimed():
        count[_settle(task_id)] += 1
    for image_id in _stuck():
        count[GIVEN_BACK] += _give_back(image_id)
    return count


def _refuse_encryption() -> None:
    """A location that is no URL is one that Glance has encrypted."""
    row = models.ImageLocation
    query = sa.select(row.id).where(row.deleted.is_(False), row.value.not_like("%://%")).limit(1)
    with db.reading() as session:
        if session.scalars(query).first() is not None:
            raise errors.Conflict(
                "Glance has encrypted the locations of images (metadata_encryption_key), which this "
                "service cannot read: have Glance write them in plain first"
            )


def _unclaimed() -> list[str]:
    """Live tasks that no worker of ours would ever look at."""
    task, run = models.Task, models.TaskRun
    known = sa.exists().where(run.task_id == task.id)
    query = sa.select(task.id).where(task.status.in_(_LIVE), ~known).order_by(task.created_at)
    with db.reading() as session:
        return list(session.scalars(query))


def _settle(task_id: str) -> str:
    """Write down a run, which makes a task ours, or end it; which of the two."""
    with db.transaction() as session:
        options = [orm.joinedload(models.Task.info)]
        task = session.get_one(models.Task, task_id, options=options)
        image = _locked(session, task.image_id)
        if task.status == "processing" and _is_done(task, image):
            result = {"image_id": str(task.image_id)}
            statuses.end_task(session, task_id, "success", "", result)
            return ENDED
        if reason := _objection(task, image):
            LOG.info("Task %s is ended: %s", task_id, reason)
            statuses.end_task(session, task_id, "failure", reason, was=task.status)
            return ENDED
        if task.type == location_tasks.KIND:
            _forget_location(session, task)
        # The next sweep rings.
        run = models.TaskRun(task_id=task_id, queue=_queue(task), expires=leases.ORPHANED)
        run.roles, run.attempt = [], _FIRST
        session.add(run)
        return HANDED_OVER


def _locked(session: orm.Session, image_id: str | None) -> models.Image | None:
    """An image with its properties, which nobody else changes meanwhile."""
    query = sa.select(models.Image).where(models.Image.id == image_id).with_for_update()
    query = query.options(orm.selectinload(models.Image.property_rows))
    return session.scalars(query).first() if image_id else None


def _is_done(task: models.Task, image: models.Image | None) -> bool:
    """Whether only the task's last word is missing: with the last store, Glance makes the image `active`."""
    if task.type != "api_image_import" or image is None or image.deleted:
        return False
    every = _request(task).get("all_stores_must_succeed", True) is True
    is_holder = image.properties.get(imports.LOCK) == task.id
    usable = image.status in imports.USABLE
    return usable and is_holder and every and _method(task) not in ("", imports.COPY)


def _objection(task: models.Task, image: models.Image | None) -> str:
    """Why the work of a task must not be repeated; "" where it may."""
    if image is None or image.deleted:
        return "The image was deleted, or is not known"
    reason = ""
    if image.properties.get(imports.LOCK) != task.id:
        reason = "The image went on to other hands"
    elif task.type == location_tasks.KIND:
        return ""
    elif _method(task) not in _REPEATABLE:
        reason = "It needs its caller"
    elif image.status not in ("importing", *imports.USABLE):
        reason = f"The image is {image.status}"
    elif signatures.claim_of(image.properties):
        reason = "The image is signed, which is verified with its caller's token"
    return (
        reason and f"{reason}: the task was interrupted, and is not gone on with. Ask for it again"
    )


def _request(task: models.Task) -> dict[str, object]:
    """The body of POST /import, as Glance keeps it."""
    info: models.TaskInfo | None = task.info  # a task of long ago may have none
    found = (info.input or {}).get("import_req") if info else None
    return found if isinstance(found, dict) else {}


def _method(task: models.Task) -> str:
    method = _request(task).get("method")
    return str(method.get("name", "")) if isinstance(method, dict) else ""


def _queue(task: models.Task) -> str:
    """Staged bytes that are here, where each host has its own staging, are for this host's workers."""
    if task.type == location_tasks.KIND:
        return location_tasks.QUEUE
    queue = methods.named(_method(task)).queue
    is_here = not hosts.is_shared() and staging.path(str(task.image_id)).exists()
    return hosts.bind(queue) if is_here else queue


def _forget_location(session: orm.Session, task: models.Task) -> None:
    """Glance writes a location down before it has digested its data; ours is written when it is certain."""
    rows, image = models.ImageLocation, models.Image
    usable = sa.exists().where(image.id == rows.image_id, image.status.in_(imports.USABLE))
    doomed = sa.update(rows).where(
        rows.image_id == task.image_id, rows.value == task.info.input["loc_url"], ~usable
    )
    gone = {"deleted": True, "deleted_at": db.now(), "status": "deleted"}
    session.execute(doomed.values(gone), execution_options=_UNSEEN)


def _stuck() -> list[str]:
    """Images that wait for a task which is no more; some of Glance's failures leave such."""
    image, mark = models.Image, models.ImageProperty
    waits = sa.or_(
        mark.name == imports.LOCK, sa.and_(mark.name == imports.IMPORTING_TO, mark.value != "")
    )
    marked = sa.exists().where(mark.image_id == image.id, mark.deleted.is_(False), waits)
    query = sa.select(image.id).where(
        image.deleted.is_(False),
        sa.or_(image.status == "importing", marked),
        ~leftovers.is_worked_on(image.id),
    )
    with db.reading() as session:
        return list(session.scalars(query))


def _give_back(image_id: str) -> bool:
    """Take the marks from an image; one that was `importing` is `queued` then. False: somebody was faster."""
    image, doomed = models.Image, list[models.ImageLocation]()
    busy = sa.select(image.id).where(image.id == image_id, leftovers.is_worked_on(image.id))
    with db.transaction() as session:
        found = _locked(session, image_id)
        if found is None or session.scalars(busy).first() is not None:
            return False
        _unmark(found)
        session.flush()
        if found.status == "importing":
            doomed = _empty(session, found)
    for row in doomed:
        removal.delete_data(row.id, row.value, row.meta_data)
    return True


def _unmark(image: models.Image) -> None:
    """Nothing is to come any more; what was to come has failed."""
    said = image.properties
    image.property_rows.pop(imports.LOCK, None)
    coming, failed = (
        set(filter(None, said.get(name, "").split(",")))
        for name in (imports.IMPORTING_TO, imports.FAILED)
    )
    if coming:
        image.set_property(imports.IMPORTING_TO, "")
        image.set_property(imports.FAILED, stores.listed(coming | failed))


def _empty(session: orm.Session, image: models.Image) -> list[models.ImageLocation]:
    """Make an image `queued`, without bytes and locations; the locations whose data are to be removed.

    Those that somebody has added are somebody's own, as far as one can know.
    """
    rows, task = models.ImageLocation, models.Task
    newest = sa.select(task.type).where(task.image_id == image.id).order_by(task.created_at.desc())
    is_ours = session.scalars(newest.limit(1)).first() == "api_image_import"
    places = session.scalars(
        sa.select(rows).where(rows.image_id == image.id, rows.deleted.is_(False))
    ).all()
    for row in places:
        row.status = "pending_delete" if is_ours else "deleted"
        row.deleted, row.deleted_at = not is_ours, None if is_ours else db.now()
    nothing: dict[str, Any] = dict.fromkeys(("checksum", "os_hash_algo", "os_hash_value"))
    statuses.move_image(session, image.id, "importing", "queued", **nothing)
    staging.remove(image.id)  # before the commit: after it, the next import may have begun
    if is_ours:
        leftovers.discard(image.id)
    return list(places) if is_ours else []
