"""Removing the rows of what was deleted long ago (contract section 5.6).

An image's own row stays when all that belongs to it goes: while it is there nobody can create an image with
that id, and be taken by somebody who still trusts the id for the one that is gone (OSSN-0075). Only
`purge_images` removes it. Rows go some at a time, each batch in a transaction of its own, children first.
"""

import datetime
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from images import db, models, statuses

#: Rows that one transaction removes.
_BATCH = 500
_ALL = -1
_UNSEEN = {"synchronize_session": False}
#: Parts of an image.
_PARTS = (models.ImageProperty, models.ImageTag, models.ImageMember, models.ImageLocation)
#: What there is of a task besides its row.
_OF_TASK = (models.TaskInfo, models.TaskRun, models.TaskSecret, models.FlowState)


def purge(age: datetime.timedelta, most: int) -> dict[str, int]:
    """Remove the rows that were marked deleted so long ago, but for those of `images`; how many of what.

    `most` bounds the rows of each table; -1 removes all. The parts of images, and tasks with what is kept of
    them.
    """
    before = db.now() - age
    done = {}
    for table in _PARTS:
        old = sa.select(table.id).where(*_deleted(table, before)).order_by(table.deleted_at)
        if table is models.ImageLocation:
            old = old.where(~_has_data())
        done[table.__tablename__] = sum(_remove(table, ids) for ids in _batches(old, most))
    tasks = models.Task
    over = sa.select(tasks.id).where(*_deleted(tasks, before)).order_by(tasks.deleted_at)
    done[tasks.__tablename__] = sum(_remove_tasks(ids) for ids in _batches(over, most))
    return done


def purge_images(age: datetime.timedelta, most: int) -> tuple[int, int]:
    """Remove the rows of images that were deleted so long ago; how many went, and how many had to stay.

    An image stays whose data are not removed from their store yet: the row says where they are. With a row
    goes whatever there still is of the image's parts. `most` bounds the images; -1 removes all.
    """
    before, image = db.now() - age, models.Image
    has_data = sa.exists().where(models.ImageLocation.image_id == image.id, _has_data())
    is_gone = sa.and_(*_deleted(image, before), image.status != "pending_delete", ~has_data)
    old = sa.select(image.id).where(is_gone).order_by(image.deleted_at)
    count = sum(_remove_images(ids) for ids in _batches(old, most))
    stays = sa.select(sa.func.count()).where(*_deleted(image, before), ~is_gone)
    with db.reading() as session:
        return count, session.scalars(stays).one()


def _deleted(
    table: type[models.Stamped], before: datetime.datetime
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return table.deleted.is_(True), table.deleted_at <= before


def _has_data() -> sa.ColumnElement[bool]:
    """Whether a location's bytes are still there; Glance marks those that are to be scrubbed as deleted."""
    place = models.ImageLocation
    return sa.or_(place.deleted.is_(False), place.status != "deleted")


def _batches(query: sa.Select[Any], most: int) -> Iterator[list[Any]]:
    """The keys that a query finds, some at a time; those of one batch are to be removed before the next."""
    left = most
    while left:
        size = _BATCH if most == _ALL else min(left, _BATCH)
        with db.reading() as session:
            found = list(session.scalars(query.limit(size)))
        if found:
            yield found
        if len(found) < size:
            return
        left -= 0 if most == _ALL else size


def _remove(table: Any, ids: list[int]) -> int:
    with db.transaction() as session:
        session.execute(sa.delete(table).where(table.id.in_(ids)), execution_options=_UNSEEN)
    return len(ids)


def _remove_tasks(ids: list[str]) -> int:
    with db.transaction() as session:
        for table in _OF_TASK:
            session.execute(
                sa.delete(table).where(table.task_id.in_(ids)), execution_options=_UNSEEN
            )
        session.execute(
            sa.delete(models.Task).where(models.Task.id.in_(ids)), execution_options=_UNSEEN
        )
    return len(ids)


def _remove_images(ids: list[str]) -> int:
    with db.transaction() as session:
        statuses.hold_image(session, *ids)
        for table in (*_PARTS, models.Reservation):
            session.execute(
                sa.delete(table).where(table.image_id.in_(ids)), execution_options=_UNSEEN
            )
        session.execute(
            sa.delete(models.Image).where(models.Image.id.in_(ids)), execution_options=_UNSEEN
        )
    return len(ids)
