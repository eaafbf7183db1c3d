"""What is left over when a process died at a bad moment, and how it is put right.

Each function may run twice at the same time: records are changed by compare-and-set, and a file or an
object that is gone already is no error. Where each host has a staging of its own, each runs its own upkeep.
"""

import datetime
import logging
import pathlib
import re
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    cancelling,
    config,
    db,
    errors,
    hosts,
    imports,
    leftovers,
    models,
    remote_leftovers,
    removal,
    staging,
    statuses,
    store_urls,
    stores,
    tasks,
    uploads,
)

LOG = logging.getLogger(__name__)

#: Seconds for which a staged file is left alone whatever the records say: one may be about to say it.
_YOUNG = 60
#: Seconds for which the bytes of copies of which one has failed wait for another try.
_RETRY = 3600
#: Seconds after which an upload is dead even for the other hosts, which do not see its bytes.
_NEVER = 24 * 3600
#: What begins with an image's id is that image's; anything else in staging is not ours.
_STAGED = re.compile(r"([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})(?:\..*)?")
#: A download that an attempt has begun.
_ATTEMPT = re.compile(r"[^.]+\.([0-9]+)\.part")
#: Rows that one run looks at; the rest waits for the next one.
_AT_ONCE = 100
#: Statuses in which an image's places may be about to be written to, or are waited for by others.
_UNSETTLED = (*statuses.BUSY, "pending_delete")


def run() -> dict[str, int]:
    """Do all of it; how much there was of what. A part that fails is logged, and holds up no other."""
    parts: dict[str, Callable[[], int]] = {
        "uploads given back": give_back_uploads,
        "tasks ended": cancelling.end_abandoned,
        "tasks expired": expire_tasks,
        "staged files removed": empty_staging,
        "deletions finished": finish_deletions,
        "images scrubbed": scrub,
        "stored files removed": leftovers.remove,
        "stored objects removed": remote_leftovers.remove,
        "reservations freed": free_reservations,
        "rows removed": forget_tasks,
    }
    return {what: _tried(what, part) for what, part in parts.items()}


def _tried(what: str, part: Callable[[], int]) -> int:
    try:
        return part()
    except Exception:
        LOG.exception("Upkeep (%s) failed; the next run tries again", what)
        return 0


def expire_tasks() -> int:
    """Hide the tasks whose time is over; how many is not counted, so it is always 0."""
    tasks.expire()
    return 0


def give_back_uploads() -> int:
    """Images whose upload died with its API process go back to `queued`; how many there were.

    An upload counts as dead when neither its record nor its staged bytes have moved for
    `[gantry] upload_patience_seconds`; on a host that cannot see the bytes, for a day.
    """
    patience = config.CONF.gantry.upload_patience_seconds
    silent = db.now() - datetime.timedelta(seconds=patience)
    image = models.Image
    receiving = sa.or_(
        image.status == "saving", sa.and_(image.status == "uploading", image.size.is_(None))
    )
    never = db.now() - datetime.timedelta(seconds=max(_NEVER, patience))
    query = sa.select(image.id, image.status).where(
        receiving, image.deleted.is_(False), image.updated_at < silent
    )
    if not hosts.is_shared():
        query = query.where(sa.or_(~_is_marked_elsewhere(), image.updated_at < never))
    with db.reading() as session:
        found = [(row.id, row.status) for row in session.execute(query)]
    dead = [(one, was) for one, was in found if _age(one) > patience]
    return sum([uploads.give_back(image_id, was) for image_id, was in dead])


def _is_marked_elsewhere() -> sa.ColumnElement[bool]:
    """Whether an image's bytes are in another host's staging, or arrive there."""
    mark = models.ImageProperty
    return sa.exists().where(
        mark.image_id == models.Image.id,
        mark.name == hosts.MARK,
        mark.value != hosts.name(),
        mark.deleted.is_(False),
    )


def empty_staging() -> int:
    """Remove staged files that no upload and no import is waiting for; how many images had some.

    Of an import that goes on, what its dead workers were writing goes too.
    """
    names: dict[str, list[pathlib.Path]] = {}
    for file in staging.path().iterdir():
        if found := _STAGED.fullmatch(file.name):
            names.setdefault(found[1], []).append(file)
    with db.reading() as session:
        wanted, patience = _wanted(session, list(names)), _patience(session, list(names))
    count = 0
    for image_id, files in names.items():
        if image_id in wanted:
            doomed = [one for one in files if _is_outdated(one, wanted[image_id])]
        elif _age(image_id) > patience.get(image_id, _YOUNG):
            doomed = files
        else:
            continue
        for file in doomed:
            file.unlink(missing_ok=True)
        count += bool(doomed)
    return count


def _wanted(session: orm.Session, image_ids: list[str]) -> dict[str, int]:
    """The images whose bytes somebody waits for on this host, and the attempt that is under way, or 0.

    Where an image's bytes are another host's business, what this one has of it is a leftover.
    """
    image, task, run = models.Image, models.Task, models.TaskRun
    is_live = task.status.in_(("pending", "processing"))
    query = (
        sa.select(image.id, run.queue, run.attempt)
        .outerjoin(task, sa.and_(task.image_id == image.id, is_live))
        .outerjoin(run, run.task_id == task.id)
        .where(image.id.in_(image_ids), image.deleted.is_(False), leftovers.under_way())
    )
    if not hosts.is_shared():
        query = query.where(~_is_marked_elsewhere())
    return {
        row.id: row.attempt or 0
        for row in session.execute(query)
        if not hosts.is_elsewhere(row.queue or "")
    }


def _patience(session: orm.Session, image_ids: list[str]) -> dict[str, float]:
    """Seconds for which staged files that nobody waits for are left alone, by the images that are known."""
    image = models.Image
    query = sa.select(image.id, image.deleted, image.status).where(image.id.in_(image_ids))
    return {
        row.id: -1 if row.deleted else _RETRY if row.status in imports.USABLE else _YOUNG
        for row in session.execute(query)
    }


def _is_outdated(file: pathlib.Path, attempt: int) -> bool:
    """Whether an earlier attempt was writing this, and the present one has not gone on with it."""
    found = _ATTEMPT.fullmatch(file.name)
    return found is not None and int(found[1]) < attempt and _silence(file) > removal.ABANDONED


def finish_deletions() -> int:
    """Remove the bytes of deleted locations that their store did not let go of; how many tries that took.

    Those that were tried last come last: a store that does not answer keeps no other one waiting.
    """
    in_turn = _deletions().order_by(models.ImageLocation.updated_at)
    with db.reading() as session:
        waiting = list(session.execute(in_turn.limit(_AT_ONCE)))
    for row in waiting:
        try:
            if row.status == "deleted":
                removal.delete_data(row.id, row.value, row.meta_data)
            elif _answers(row.value, row.meta_data):
                _leave_alone_or_delete(row.image_id, row.id)
        except (errors.Abandoned, Exception):  # it took longer than the database waits, say
            LOG.exception("Location %s waits for the next run", row.id)
        finally:
            _go_last(row.id, is_over=row.status == "deleted")
    return len(waiting)


def _go_last(row_id: int, *, is_over: bool) -> None:
    """Have a location that still waits wait behind the others.

    That of a living image must not look as if somebody were about to remove its bytes: copies mind that.
    """
    location, age = models.ImageLocation, 0 if is_over else removal.ABANDONED
    last = sa.update(location).where(location.id == row_id, location.status == "pending_delete")
    with db.transaction() as session:
        session.execute(last.values(updated_at=db.now() - datetime.timedelta(seconds=age)))


def _answers(url: str, metadata: dict[str, Any] | None) -> bool:
    """Whether a store can be asked at present: else others would wait for the image until it gave up."""
    try:
        if not store_urls.is_web(url):
            stores.size_of(url, metadata)
    except errors.Unavailable as error:
        LOG.warning("Data at a location cannot be removed now: %s", error)
        return False
    except errors.GantryError as error:  # there are none, say
        LOG.debug("A location that is to be removed: %s", error)
    except Exception:  # a driver's own
        LOG.exception("Data at a location cannot be removed now")
        return False
    return True


def _leave_alone_or_delete(image_id: str, row_id: int) -> None:
    """Judge again, and remove, while nothing can begin for the image, with new data in the same place."""
    with db.transaction() as session:
        statuses.hold_image(session, image_id)
        for row in session.execute(_deletions().where(models.ImageLocation.id == row_id)):
            removal.delete_data(row.id, row.value, row.meta_data, session)


def _deletions() -> sa.Select[tuple[str, str, int, str, dict[str, Any]]]:
    """Locations whose bytes are to be removed, and nobody is about to do it."""
    location, image = models.ImageLocation, models.Image
    same = orm.aliased(location)
    # The same place may hold new data of an image that lives on: then it is not ours to empty.
    used_again = sa.exists().where(
        same.image_id == location.image_id, same.value == location.value, same.status == "active"
    )
    old = db.now() - datetime.timedelta(seconds=removal.ABANDONED)
    settled = image.status.not_in(_UNSETTLED) & ~leftovers.is_worked_on(image.id)
    left = sa.and_(settled, location.updated_at < old, ~used_again)
    return (
        sa.select(
            image.id.label("image_id"),
            image.status,
            location.id,
            location.value,
            location.meta_data,
        )
        .join(image, image.id == location.image_id)
        .where(location.status == "pending_delete", location.deleted.is_(False))
        .where(sa.or_(image.status == "deleted", left))
    )


def scrub() -> int:
    """Remove the data of images that were deleted with `delayed_delete`, when their time is over; how many.

    An image whose deletion was to be immediate and died with its process goes the same way; so does one whose
    scrub has. Whoever was tried last (its store has its data in use) comes last.
    """
    return _scrub(_due())


def scrub_all() -> int:
    """As `scrub`, but not a part only: each that is due is tried once; how many were removed."""
    count, begun = 0, db.now()
    while waiting := _due(untried_since=begun):
        count += _scrub(waiting)
    return count


def _scrub(image_ids: list[str]) -> int:
    with futures.ThreadPoolExecutor(config.CONF.scrub_pool_size) as pool:
        return sum(pool.map(_is_scrubbed, image_ids))


def _is_scrubbed(image_id: str) -> bool:
    try:
        return removal.scrub(image_id)
    except errors.Unavailable:  # the database is away: no other one can be scrubbed either
        raise
    except Exception:  # a driver's own
        LOG.exception("Image %s waits for the next run", image_id)
        return False


def _due(untried_since: datetime.datetime | None = None) -> list[str]:
    """Ids of some images whose data are to be removed; a time leaves out what was tried since."""
    image, location = models.Image, models.ImageLocation
    rows = sa.exists().where(location.image_id == image.id)
    # While an image is deleted at once, its locations are active; it may have lost others before.
    delayed = rows.where(location.status == "pending_delete") & ~rows.where(
        location.status == "active", location.deleted.is_(False)
    )
    newest = sa.select(sa.func.max(location.updated_at)).where(location.image_id == image.id)
    tried = sa.func.coalesce(newest.scalar_subquery(), image.deleted_at)
    now = db.now()
    due = now - datetime.timedelta(seconds=config.CONF.scrub_time)
    abandoned = now - datetime.timedelta(seconds=removal.ABANDONED)
    query = (
        sa.select(image.id)
        .where(image.status == "pending_delete", image.deleted.is_(True))
        .where(
            sa.or_(delayed & (image.deleted_at <= due), ~delayed & (image.deleted_at <= abandoned))
        )
        .order_by(tried)
        .limit(_AT_ONCE)
    )
    if untried_since:
        query = query.where(tried < untried_since)
    with db.reading() as session:
        return list(session.scalars(query))


def free_reservations() -> int:
    """Give back what is reserved for images that nothing is under way for; how many there were.

    Whatever ends an upload or an import gives back by itself; this is for what nobody has thought of.
    """
    image, row = models.Image, models.Reservation
    busy = sa.exists().where(
        image.id == row.image_id, image.deleted.is_(False), leftovers.under_way()
    )
    # A legacy task may be about to make its image.
    return _delete(sa.delete(row).where(~busy, ~leftovers.is_worked_on(row.image_id)))


def forget_tasks() -> int:
    """Remove what workers keep of tasks that have ended, or were purged; how many rows there were.

    Whatever ends a task does so by itself, as above. How far a task has come is shown until it is purged.
    """
    task, count = models.Task, 0
    for row in (models.TaskSecret, models.FlowState):
        live = sa.exists().where(task.id == row.task_id, task.status.in_(("pending", "processing")))
        count += _delete(sa.delete(row).where(~live))
    run = models.TaskRun
    return count + _delete(sa.delete(run).where(~sa.exists().where(task.id == run.task_id)))


def _delete(statement: sa.Delete) -> int:
    with db.transaction() as session:
        done = session.execute(statement, execution_options={"synchronize_session": False})
        count: int = done.rowcount  # type: ignore[attr-defined]
        return count


def _age(image_id: str) -> float:
    """Seconds since the newest of an image's staged files was written to; endless where there is none."""
    return min(map(_silence, staging.path().glob(f"{image_id}*")), default=float("inf"))


def _silence(file: pathlib.Path) -> float:
    """Seconds since a file was written to; 0 for one that was renamed or removed just now."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
