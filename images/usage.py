"""How much an owner has: images, and bytes that are stored, staged, or reserved for what is under way.

What is counted is what Glance counts (contract section 3.7), and the reservations of `images.quota` with it.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import limits, models

#: The ceiling of `user_storage_quota`, beside the names of `images.limits`; it is about the same bytes.
STORAGE = "user_storage_quota"
SIZE, STAGE = limits.SIZES
COUNT, UPLOADING = limits.COUNTS

#: The mark of stores that are still to be written; an active image that has it is being copied.
_IMPORTING_TO = "os_glance_importing_to_stores"
_GONE = ("killed", "deleted", "pending_delete")
_I, _R, _L, _P = models.Image, models.Reservation, models.ImageLocation, models.ImageProperty
_KEPT = (_L.deleted.is_(False), _L.status == "active")


def totals(
    session: orm.Session, owner: str, names: Sequence[str], *, besides: str
) -> dict[str, int]:
    """What an owner has of each, in bytes and images; the image `besides` does not count, but for COUNT."""
    if not names:
        return {}
    found = session.execute(
        sa.select(*(_total(owner, name, besides).scalar_subquery().label(name) for name in names))
    ).one()
    return {name: int(value) for name, value in zip(names, found, strict=True)}


def _total(owner: str, name: str, besides: str) -> sa.Select[Any]:
    if name == COUNT:
        return sa.select(sa.func.count()).select_from(_I).where(*_live(owner))
    if name == UPLOADING:
        return uploading(owner, admitted=True).where(_I.id != besides)
    if name == STAGE:
        return _staged(owner).where(_I.id != besides)
    return _stored(owner, besides)


def _live(owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return _I.owner == owner, _I.deleted.is_(False), _I.status.not_in(_GONE)


def _copied() -> sa.ColumnElement[bool]:
    """Whether an image has stores that are still to be written."""
    return sa.exists().where(
        _P.image_id == _I.id, _P.name == _IMPORTING_TO, _P.value != "", _P.deleted.is_(False)
    )


def uploading(owner: str, *, admitted: bool) -> sa.Select[Any]:
    """Images under way; with `admitted` without the imports that a worker is still to admit or to fail."""
    imported = sa.or_(_I.status == "importing", _copied())
    if admitted:
        imported = sa.and_(imported, sa.exists().where(_R.image_id == _I.id))
    receiving = _I.status.in_(("saving", "uploading"))
    return (
        sa.select(sa.func.count()).select_from(_I).where(*_live(owner), sa.or_(receiving, imported))
    )


def _staged(owner: str) -> sa.Select[Any]:
    """Bytes in staging: as the record counts them, or as they are reserved, whichever is more."""
    size, reserved = sa.func.coalesce(_I.size, 0), sa.func.coalesce(_R.stage_bytes, 0)
    more = sa.case((reserved > size, reserved), else_=size)
    there = sa.or_(_I.status.in_(("uploading", "importing")), _copied())
    return (
        sa.select(sa.func.coalesce(sa.func.sum(more), 0))
        .select_from(_I)
        .outerjoin(_R, _R.image_id == _I.id)
        .where(*_live(owner), there)
    )


def _stored(owner: str, besides: str) -> sa.Select[Any]:
    """Bytes in stores, once for each location; of an image under way what is reserved, where that is more."""
    there = (
        sa.select(sa.func.coalesce(sa.func.sum(_I.size), 0))
        .join(_L, _L.image_id == _I.id)
        .where(*_live(owner), _I.id != besides, *_KEPT)
    )
    has = sa.func.coalesce(_I.size, 0) * copies(_I.id).scalar_subquery()
    more = sa.case((_R.store_bytes > has, _R.store_bytes - has), else_=0)
    reserved = (
        sa.select(sa.func.coalesce(sa.func.sum(more), 0))
        .select_from(_R)
        .join(_I, _I.id == _R.image_id)
        .where(*_live(owner), _I.id != besides)
    )
    return sa.select(there.scalar_subquery() + reserved.scalar_subquery())


def copies(image_id: Any) -> sa.Select[Any]:
    """How many locations an image has."""
    return sa.select(sa.func.count()).select_from(_L).where(_L.image_id == image_id, *_KEPT)
