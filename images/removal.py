"""Deleting an image: the record first, then the bytes, so that a crash in between loses neither."""

import logging

import sqlalchemy as sa
from sqlalchemy import orm

from images import catalog, context, db, errors, models, policy, staging, statuses, stores

LOG = logging.getLogger(__name__)


def delete(ctx: context.Context, image_id: str) -> None:
    """Delete an image whatever its status; a running import notices and stops (contract section 2.1.4).

    Raises:
        NotFound, Forbidden: the caller may not; or the image is protected.
        Conflict: its bytes are in use, or it changed meanwhile.
    """
    with db.transaction() as session:
        image = catalog.get(session, ctx, image_id, parts=("locations",))
        policy.enforce(ctx, "delete_image", image)
        if image.protected:
            raise errors.Forbidden(f"Image {image_id} is protected and cannot be deleted.")
        had_staged = image.status in statuses.BUSY
        statuses.move_image(
            session, image_id, image.status, "deleted", deleted=True, deleted_at=db.now()
        )
        _delete_parts(session, image_id)
        doomed = [(row.id, row.value, row.meta_data) for row in image.location_rows]
    if had_staged:
        staging.remove(image_id)
    for row_id, url, metadata in doomed:
        delete_data(row_id, url, metadata)


def _delete_parts(session: orm.Session, image_id: str) -> None:
    gone = {"deleted": True, "deleted_at": db.now()}
    for table in (models.ImageProperty, models.ImageTag, models.ImageMember):
        doomed = sa.update(table).where(table.image_id == image_id, table.deleted.is_(False))
        session.execute(doomed.values(gone), execution_options={"synchronize_session": False})
    session.execute(
        sa.update(models.ImageLocation)
        .where(models.ImageLocation.image_id == image_id, models.ImageLocation.deleted.is_(False))
        .values(status="pending_delete"),
        execution_options={"synchronize_session": False},
    )


def delete_data(row_id: int, url: str, metadata: dict[str, str] | None) -> None:
    """Remove a location's bytes, then mark its row; one that fails stays `pending_delete` for upkeep."""
    try:
        stores.delete(url, metadata)
    except errors.GantryError as error:
        LOG.warning(
            "Location %s waits for upkeep, its data could not be removed: %s", row_id, error
        )
        return
    row = sa.update(models.ImageLocation).where(models.ImageLocation.id == row_id)
    with db.transaction() as session:
        session.execute(
            row.values(status="deleted", deleted=True, deleted_at=db.now()),
            execution_options={"synchronize_session": False},
        )
