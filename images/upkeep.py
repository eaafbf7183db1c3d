"""What is left over when a process died at a bad moment, and how it is put right.

Each function may run twice at the same time: records are changed by compare-and-set, and a file or an
object that is gone already is no error.
"""

import datetime
import pathlib
import time
from concurrent import futures

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, imports, models, removal, staging, statuses, uploads

#: Seconds for which a staged file is left alone whatever the records say: one may be about to say it.
_YOUNG = 60
#: Seconds after which nobody is removing bytes any more that were to be removed at once.
_ABANDONED = 3600
#: Rows that one run looks at; the rest waits for the next one.
_AT_ONCE = 100
#: Statuses in which an image's places may be about to be written to, or are waited for by others.
_UNSETTLED = (*statuses.BUSY, "pending_delete")


def give_back_uploads() -> int:
    """Images whose upload died with its API process go back to `queued`; how many there were.

    An upload counts as dead when neither its record nor its staged bytes have moved for
    `[gantry] upload_patience_seconds`.
    """
    patience = config.CONF.gantry.upload_patience_seconds
    silent = db.now() - datetime.timedelta(seconds=patience)
    image = models.Image
    receiving = sa.or_(
        image.status == "saving", sa.and_(image.status == "uploading", image.size.is_(None))
    )
    query = sa.select(image.id, image.status).where(
        receiving, image.deleted.is_(False), image.updated_at < silent
    )
    with db.reading() as session:
        found = [(row.id, row.status) for row in session.execute(query)]
    dead = [(one, was) for one, was in found if _age(one) > patience]
    return sum([uploads.give_back(image_id, was) for image_id, was in dead])


def empty_staging() -> int:
    """Remove staged files that no upload and no import is waiting for; how many there were."""
    names: dict[str, list[pathlib.Path]] = {}
    for file in staging.path().iterdir():
        names.setdefault(file.name.partition(".")[0], []).append(file)
    image = models.Image
    lock = sa.exists().where(
        models.ImageProperty.image_id == image.id,
        models.ImageProperty.name == imports.LOCK,  # of a copy, say: its image is active
    )
    query = sa.select(image.id).where(
        image.id.in_(names),
        image.deleted.is_(False),
        sa.or_(image.status.in_(statuses.BUSY), lock),
    )
    with db.reading() as session:
        wanted = set(session.scalars(query))
    orphans = [one for one in names if one not in wanted and _age(one) > _YOUNG]
    for image_id in orphans:
        for file in names[image_id]:
            file.unlink(missing_ok=True)
    return len(orphans)


def finish_deletions() -> int:
    """Remove the bytes of deleted locations that their store did not let go of; how many tries that took."""
    location, image = models.ImageLocation, models.Image
    same = orm.aliased(location)
    # The same place may hold new data of an image that lives on: then it is not ours to empty.
    used_again = sa.exists().where(
        same.image_id == location.image_id, same.value == location.value, same.status == "active"
    )
    old = db.now() - datetime.timedelta(seconds=_ABANDONED)
    left = sa.and_(image.status.not_in(_UNSETTLED), location.updated_at < old, ~used_again)
    query = (
        sa.select(location.id, location.value, location.meta_data)
        .join(image, image.id == location.image_id)
        .where(location.status == "pending_delete", location.deleted.is_(False))
        .where(sa.or_(image.status == "deleted", left))
        .limit(_AT_ONCE)
    )
    with db.reading() as session:
        waiting = list(session.execute(query))
    for row in waiting:
        removal.delete_data(row.id, row.value, row.meta_data)
    return len(waiting)


def scrub() -> int:
    """Remove the data of images that were deleted with `delayed_delete`, when their time is over; how many.

    An image whose deletion was to be immediate and died with its process goes the same way.
    """
    image, location = models.Image, models.ImageLocation
    delayed = sa.exists().where(location.image_id == image.id, location.status == "pending_delete")
    now = db.now()
    due = now - datetime.timedelta(seconds=config.CONF.scrub_time)
    abandoned = now - datetime.timedelta(seconds=_ABANDONED)
    query = (
        sa.select(image.id)
        .where(image.status == "pending_delete", image.deleted.is_(True))
        .where(sa.or_(sa.and_(delayed, image.deleted_at <= due), image.deleted_at <= abandoned))
        .order_by(image.deleted_at)
        .limit(_AT_ONCE)
    )
    with db.reading() as session:
        waiting = list(session.scalars(query))
    with futures.ThreadPoolExecutor(config.CONF.scrub_pool_size) as pool:
        return sum(pool.map(removal.scrub, waiting))


def free_reservations() -> int:
    """Give back what is reserved for images that nothing is under way for; how many there were.

    Whatever ends an upload or an import gives back by itself; this is for what nobody has thought of.
    """
    image, mark = models.Image, models.ImageProperty
    locked = sa.exists().where(
        mark.image_id == image.id, mark.name == imports.LOCK, mark.deleted.is_(False)
    )
    alive = sa.exists().where(
        image.id == models.Reservation.image_id,
        image.deleted.is_(False),
        sa.or_(image.status.in_(statuses.BUSY), locked),
    )
    with db.transaction() as session:
        freed = session.execute(
            sa.delete(models.Reservation).where(~alive),
            execution_options={"synchronize_session": False},
        )
        count: int = freed.rowcount  # type: ignore[attr-defined]
        return count


def _age(image_id: str) -> float:
    """Seconds since the newest of an image's staged files was written to; endless where there is none."""
    newest = 0.0
    for file in staging.path().glob(f"{image_id}*"):
        try:
            newest = max(newest, file.stat().st_mtime)
        except FileNotFoundError:  # renamed or removed just now
            newest = time.time()
    return time.time() - newest
