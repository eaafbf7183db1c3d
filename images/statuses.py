"""The legal moves of an image's and a task's status, and the only code that makes them.

A status is changed by compare-and-set: the UPDATE names the status that was read, so of two callers
that race, one gets `Conflict` (contract section 3.3).
"""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, errors, models, notifications

#: (from, to) and why the move exists.
IMAGE_MOVES = {
    ("queued", "saving"): "PUT /file began",
    ("queued", "uploading"): "PUT /stage began",
    ("queued", "importing"): "an import whose method brings the bytes began",
    ("queued", "active"): "a location was added",
    ("queued", "deleted"): "deleted",
    ("saving", "active"): "PUT /file ended well",
    ("saving", "queued"): "PUT /file failed",
    ("saving", "deleted"): "deleted",
    ("uploading", "importing"): "the import of staged bytes began",
    ("uploading", "queued"): "PUT /stage failed",
    ("uploading", "deleted"): "deleted",
    ("importing", "active"): "the import ended well",
    ("importing", "queued"): "the import failed",
    ("importing", "deleted"): "deleted; the worker notices and stops",
    ("active", "deactivated"): "an administrator closed it",
    ("active", "pending_delete"): "deleted with delayed_delete",
    ("active", "deleted"): "deleted",
    ("deactivated", "active"): "an administrator opened it again",
    ("deactivated", "pending_delete"): "deleted with delayed_delete",
    ("deactivated", "deleted"): "deleted",
    ("pending_delete", "deleted"): "scrubbed",
    ("pending_delete", "active"): "restored; or its store does not let go of the data",
    ("pending_delete", "deactivated"): "its store does not let go of the data",
    ("killed", "deleted"): "deleted",
}

TASK_MOVES = {
    ("pending", "processing"): "a worker took it",
    ("pending", "failure"): "its image was deleted before it was begun",
    ("processing", "success"): "its flow ended well",
    ("processing", "failure"): "its flow was reverted",
}

#: Images in these states hold bytes that are on their way; nothing else may write to them.
BUSY = ("saving", "uploading", "importing")


def move_image(
    session: orm.Session, image_id: str, was: str, to: str, *, lost_ok: bool = False, **values: Any
) -> bool:
    """Change an image's status from `was` to `to`, and the columns in `values` with it.

    False where the image is no longer in status `was`, if the caller can live with that (`lost_ok`).

    Raises:
        Conflict: the move is not legal, or somebody else has moved the image since it was read.
    """
    if (was, to) not in IMAGE_MOVES:
        raise errors.Conflict(f"Image status transition from {was} to {to} is not allowed")
    if to == "queued":  # what was counted of the lost bytes no longer describes anything
        values |= {"size": None, "virtual_size": None}
    moved = keep_image(session, image_id, was, status=to, **values)
    if moved and to in ("queued", "deleted"):  # no bytes are under way any more (`images.quota`)
        reserved = sa.delete(models.Reservation).where(models.Reservation.image_id == image_id)
        session.execute(reserved, execution_options={"synchronize_session": False})
    if moved and notifications.enabled:
        _tell(session, image_id, was, to)
    if not moved and not lost_ok:
        raise errors.Conflict(f"Image {image_id} is no longer {was}: it was changed meanwhile")
    return moved


def _tell(session: orm.Session, image_id: str, was: str, to: str) -> None:
    """An image that goes with its data is deleted when these are; with `delayed_delete`, before."""
    delayed = config.CONF.delayed_delete
    if to == ("pending_delete" if delayed and was != "pending_delete" else "deleted"):
        notifications.image(session, "image.delete", image_id)
        return
    if to == "active" and was in ("queued", *BUSY):
        notifications.image(session, "image.activate", image_id)
    if to not in ("pending_delete", "deleted"):
        notifications.image(session, "image.update", image_id)


def hold_image(session: orm.Session, *image_ids: str) -> None:
    """Let nobody else change the rows of images, of those that are there, before the transaction ends.

    A transaction that writes the row and rows of its parts has the image's first: of two that took them in
    other orders, each would wait for the other, until the database ends one of them.
    """
    row = models.Image.id
    session.execute(sa.select(row).where(row.in_(image_ids)).with_for_update())


def keep_image(session: orm.Session, image_id: str, *still: str, **values: Any) -> bool:
    """Change columns of an image whose status must be one of `still`; False where it is not."""
    update = sa.update(models.Image).where(
        models.Image.id == image_id,
        models.Image.status.in_(still),
        models.Image.deleted.is_("pending_delete" in still),  # as Glance marks those
    )
    kept = session.execute(
        update.values(updated_at=db.now(), **values),
        execution_options={"synchronize_session": False},
    )
    return bool(kept.rowcount == 1)  # type: ignore[attr-defined]


def move_task(session: orm.Session, task_id: str, was: str, to: str, **values: Any) -> bool:
    """Change the status of a task; False where it is not (or no longer) in status `was`."""
    if (was, to) not in TASK_MOVES:
        raise errors.Conflict(f"Task status transition from {was} to {to} is not allowed")
    update = sa.update(models.Task).where(models.Task.id == task_id, models.Task.status == was)
    moved = session.execute(
        update.values(status=to, updated_at=db.now(), **values),
        execution_options={"synchronize_session": False},
    )
    if moved.rowcount == 1:  # type: ignore[attr-defined]
        if notifications.enabled:
            notifications.task(session, f"task.{to}", task_id)
        return True
    return False


def end_task(
    session: orm.Session,
    task_id: str,
    to: str,
    message: str,
    result: dict[str, str] | None = None,
    *,
    was: str = "processing",
) -> bool:
    """End a task that is being worked on; it stays in sight for `[task] task_time_to_live` hours.

    False where it is no longer what it `was`: then nothing is changed.
    """
    ends = db.now() + datetime.timedelta(hours=config.CONF.task.task_time_to_live)
    if not move_task(session, task_id, was, to, expires_at=ends):
        return False
    session.execute(
        sa.update(models.TaskInfo)
        .where(models.TaskInfo.task_id == task_id)
        .values(message=message, result=result)
    )
    return True
