"""Deleting an image: the record first, then the bytes, so that a crash in between loses neither.

While its bytes are being removed an image is `pending_delete`, which nobody sees. With `delayed_delete` it
stays so until it is scrubbed; without, a store that does not let go (somebody has a clone of the data) is
why it comes back as it was. What a crash has left in between, upkeep ends (`images.upkeep`).
"""

import contextlib
import logging
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    cache,
    cancelling,
    catalog,
    config,
    context,
    db,
    errors,
    models,
    policy,
    staging,
    statuses,
    stores,
)

LOG = logging.getLogger(__name__)

#: Seconds after which nobody is removing bytes any more that were to be removed at once.
ABANDONED = 3600
#: What is done to rows through the session's back: none of them is looked at again.
_UNSEEN = {"synchronize_session": False}


def delete(ctx: context.Context, image_id: str) -> None:
    """Delete an image whatever its status (contract section 2.1.4).

    A running import notices and stops; a task that nobody has begun ends with the record.

    Raises:
        NotFound, Forbidden: the caller may not; or the image is protected.
        Conflict: its bytes are in use; the image stays.
    """
    with db.transaction() as session:
        # Locked: it may be turning active or being given back at this very moment.
        image = catalog.get(session, ctx, image_id, parts=(), lock=True)
        policy.enforce(ctx, "delete_image", image)
        if image.protected:
            raise errors.Forbidden(f"Image {image_id} is protected and cannot be deleted.")
        was, (rows, waiting) = image.status, _belongings(session, image_id)
        stays = bool(rows) and was in ("active", "deactivated")
        to = "pending_delete" if stays else "deleted"
        statuses.move_image(session, image_id, was, to, deleted=True, deleted_at=db.now())
        if config.CONF.delayed_delete or not stays:
            _delete_parts(session, image_id, waiting)
    if was in statuses.BUSY:
        staging.remove(image_id)
    cache.forget(image_id)
    if not stays:
        for row in rows:
            delete_data(row.id, row.value, row.meta_data)
    elif not config.CONF.delayed_delete and not _remove_data(image_id, was, rows, waiting):
        raise errors.Conflict(
            f"Image {image_id} could not be deleted because it is in use: its store says that something "
            "depends on its data"
        )


def _belongings(session: orm.Session, image_id: str) -> tuple[list[models.ImageLocation], set[str]]:
    """An image's locations, and its tasks that nobody has begun; in one statement, few have such a task."""
    image, row, task = models.Image, models.ImageLocation, models.Task
    query = (
        sa.select(row, task.id.label("task_id"))
        .select_from(image)
        .outerjoin(
            row,
            sa.and_(row.image_id == image.id, row.deleted.is_(False), row.status == "active"),
        )
        .outerjoin(task, sa.and_(task.image_id == image.id, task.status == "pending"))
        .where(image.id == image_id)
        .order_by(row.id)
    )
    found: list[Any] = list(session.execute(query))  # either part of a row may be missing
    rows = {place.id: place for place, _ in found if place}
    return list(rows.values()), {task_id for _, task_id in found if task_id}


def scrub(image_id: str) -> bool:
    """Remove the bytes of an image that is `pending_delete`; whether it is `deleted` now.

    One whose store does not let go stays as it is, for the next time; one that was restored is left alone.
    """
    rows = models.ImageLocation
    left = sa.or_(rows.deleted.is_(False), rows.status != "deleted")
    query = sa.select(rows).where(rows.image_id == image_id, left)
    with db.transaction() as session:
        image = session.get(models.Image, image_id, with_for_update=True)
        if image is None or image.status != "pending_delete":
            return False
        doomed = list(session.scalars(query))
        for row in doomed:  # from here on nobody can restore it (`images.restoring`)
            row.status, row.deleted = "deleted", False  # Glance may have marked it
            row.updated_at = db.now()  # whoever was tried last comes last
    return _remove_data(image_id, "pending_delete", doomed)


def _remove_data(
    image_id: str, was: str, rows: list[models.ImageLocation], waiting: Collection[str] = ()
) -> bool:
    """Remove the bytes of an image that is `pending_delete`; False if a store has them in use.

    Then the image is again what it `was`, with the locations that it still has. Bytes that are merely out of
    reach do not hold up the deletion: their rows wait for upkeep. Its tasks that were `waiting` end with it.
    """
    gone, used = [], False
    for row in rows:
        try:
            stores.delete(row.value, row.meta_data)
        except errors.Conflict:
            used = True
            break
        except errors.GantryError as error:
            LOG.warning("Location %s waits for upkeep: %s", row.id, error)
        else:
            gone.append(row.id)
    with db.transaction() as session:
        if used and was == "pending_delete":
            _wait_again(session, image_id)
        elif used:
            alive = {"deleted": False, "deleted_at": None}
            statuses.move_image(session, image_id, "pending_delete", was, lost_ok=True, **alive)
        else:
            statuses.move_image(session, image_id, "pending_delete", "deleted", lost_ok=True)
            _delete_parts(session, image_id, waiting)
        _delete_locations(session, models.ImageLocation.id.in_(gone))
    return not used


def _delete_parts(session: orm.Session, image_id: str, tasks: Collection[str]) -> None:
    """What belongs to an image goes with it; the locations wait for their bytes to be removed."""
    for task_id in tasks:
        cancelling.end(session, task_id, "pending")
    gone = {"deleted": True, "deleted_at": db.now()}
    for table in (models.ImageProperty, models.ImageTag, models.ImageMember):
        doomed = sa.update(table).where(table.image_id == image_id, table.deleted.is_(False))
        session.execute(doomed.values(gone), execution_options=_UNSEEN)
    _wait_again(session, image_id)


def _wait_again(session: orm.Session, image_id: str) -> None:
    """Locations whose bytes are still there wait for them to be removed."""
    rows = models.ImageLocation
    waiting = sa.update(rows).where(rows.image_id == image_id, rows.deleted.is_(False))
    session.execute(waiting.values(status="pending_delete"), execution_options=_UNSEEN)


def delete_data(
    row_id: int,
    url: str,
    metadata: dict[str, str] | None,
    session: orm.Session | None = None,
) -> None:
    """Remove a location's bytes, then mark its row; one that fails stays `pending_delete` for upkeep.

    Whoever keeps others from the image meanwhile gives the `session` in which that is.
    """
    try:
        stores.delete(url, metadata)
    except errors.GantryError as error:
        LOG.warning(
            "Location %s waits for upkeep, its data could not be removed: %s", row_id, error
        )
        return
    with contextlib.nullcontext(session) if session else db.transaction() as writing:
        _delete_locations(writing, models.ImageLocation.id == row_id)


def _delete_locations(session: orm.Session, which: sa.ColumnElement[bool]) -> None:
    gone: dict[str, Any] = {"status": "deleted", "deleted": True, "deleted_at": db.now()}
    update = sa.update(models.ImageLocation).where(which)
    session.execute(update.values(gone), execution_options=_UNSEEN)
