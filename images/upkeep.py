"""What is left over when a process died at a bad moment, and how it is put right.

Each function may run twice at the same time: records are changed by compare-and-set, and a file or an
object that is gone already is no error.
"""

import datetime
import pathlib
import time

import sqlalchemy as sa

from images import config, db, models, removal, staging, statuses

#: Seconds for which a staged file is left alone whatever the records say: one may be about to say it.
_YOUNG = 60


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
    for image_id, was in dead:
        with db.transaction() as session:
            statuses.move_image(session, image_id, was, "queued", lost_ok=True)
        staging.remove(image_id)
    return len(dead)


def empty_staging() -> int:
    """Remove staged files that no upload and no import is waiting for; how many there were."""
    names: dict[str, list[pathlib.Path]] = {}
    for file in staging.path().iterdir():
        names.setdefault(file.name.partition(".")[0], []).append(file)
    image = models.Image
    query = sa.select(image.id).where(
        image.id.in_(names), image.deleted.is_(False), image.status.in_(statuses.BUSY)
    )
    with db.reading() as session:
        wanted = set(session.scalars(query))
    orphans = [one for one in names if one not in wanted and _age(one) > _YOUNG]
    for image_id in orphans:
        for file in names[image_id]:
            file.unlink(missing_ok=True)
    return len(orphans)


def finish_deletions() -> int:
    """Remove the bytes of deleted images that their store did not let go of; how many tries that took."""
    location, image = models.ImageLocation, models.Image
    query = (
        sa.select(location.id, location.value, location.meta_data)
        .join(image, image.id == location.image_id)
        .where(location.status == "pending_delete", location.deleted.is_(False))
        .where(image.status == "deleted")
        .limit(100)
    )
    with db.reading() as session:
        waiting = list(session.execute(query))
    for row in waiting:
        removal.delete_data(row.id, row.value, row.meta_data)
    return len(waiting)


def _age(image_id: str) -> float:
    """Seconds since the newest of an image's staged files was written to; endless where there is none."""
    newest = 0.0
    for file in staging.path().glob(f"{image_id}*"):
        try:
            newest = max(newest, file.stat().st_mtime)
        except FileNotFoundError:  # renamed or removed just now
            newest = time.time()
    return time.time() - newest
