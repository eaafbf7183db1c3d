"""Finding images: by id, and in pages of a list; the one rule of who sees what (contract section 3.5)."""

import dataclasses
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import context, errors, filters, models

_I = models.Image
_PARTS: dict[str, orm.InstrumentedAttribute[Any]] = {
    "properties": _I.property_rows,
    "tags": _I.tag_rows,
    "locations": _I.location_rows,
}
_ID_LENGTH = 36
ALL_PARTS = tuple(_PARTS)

#: What a list may be sorted by, and of these what may be NULL.
SORT_KEYS = (
    *("name", "status", "container_format", "disk_format", "size"),
    *("id", "created_at", "updated_at"),
)
_NULLABLE = ("name", "container_format", "disk_format", "size", "updated_at")


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """One page of a list."""

    #: Images on the page.
    limit: int
    #: Id of the last image of the page before, or None for the first page.
    marker: str | None
    #: (key, "asc" or "desc"); the last one is `id`, so that the order is total.
    sort: tuple[tuple[str, str], ...]
    #: The parameters that narrow the list (`images.filters`).
    filters: list[tuple[str, str]]


def get(
    session: orm.Session,
    asker: context.Context,
    image_id: str,
    *,
    parts: Collection[str] = ALL_PARTS,
    lock: bool = False,
) -> models.Image:
    """An image that the asker may see, with the named `parts` of it loaded.

    One statement, and one for each part but the first. With `lock` nobody else changes the image's row before
    the transaction ends.

    Raises:
        NotFound: there is none, it is deleted, or the asker may not see it.
    """
    query = sa.select(_I).where(_I.id == image_id, _I.deleted.is_(False))
    query = query.where(_I.status.not_in(("deleted", "pending_delete")))
    if not asker.is_admin:
        query = query.where(_visible(asker))
    for number, part in enumerate(parts):
        load = orm.selectinload if number else orm.joinedload
        query = query.options(load(_PARTS[part]))
    if lock:
        query = query.with_for_update(of=_I)
    storable = len(image_id) <= _ID_LENGTH and not filters.UNSTORABLE.search(image_id)
    image = session.scalars(query).unique().one_or_none() if storable else None
    if image is None:
        raise errors.NotFound(f"No image found with ID {image_id}")
    return image


def _visible(asker: context.Context) -> sa.ColumnElement[bool]:
    return sa.or_(
        _I.owner == asker.owner if asker.owner else sa.false(),
        _I.owner.is_(None),
        _I.visibility.in_(("public", "community")),
        filters.shared_with(asker),
    )


def page(session: orm.Session, asker: context.Context, query: Query) -> list[models.Image]:
    """A page of the images that the asker may list, whole: at most four statements.

    Raises:
        Invalid: a filter has a value that it cannot have, or there is no such marker.
        Forbidden: the marker is an image that the asker may not see.
    """
    statement = sa.select(_I).where(*filters.conditions(asker, query.filters))
    if query.marker is not None:
        statement = statement.where(_after(_marker(session, asker, query.marker), query.sort))
    if not query.limit:
        return []
    for key, direction in query.sort:
        statement = statement.order_by(*_order(key, direction))
    statement = statement.limit(query.limit).options(
        orm.joinedload(_I.location_rows),
        orm.selectinload(_I.property_rows),
        orm.selectinload(_I.tag_rows),
    )
    return list(session.scalars(statement).unique())


def _marker(session: orm.Session, asker: context.Context, image_id: str) -> models.Image:
    known = not filters.UNSTORABLE.search(image_id)
    seen = sa.true() if asker.is_admin else _visible(asker)
    query = sa.select(_I, seen.label("seen")).where(_I.id == image_id)
    found = session.execute(query).one_or_none() if known else None
    if found is None or (found[0].deleted and not asker.is_admin):
        raise errors.Invalid(f"The marker {image_id} is no image")
    if not found[1]:
        raise errors.Forbidden(f"You may not see the image {image_id} of the marker")
    image: models.Image = found[0]
    return image


def _order(key: str, direction: str) -> list[sa.UnaryExpression[Any]]:
    """NULL is less than anything, as SQLite and MariaDB have it and PostgreSQL has not."""
    columns: list[Any] = [getattr(_I, key)]
    if key in _NULLABLE:
        columns.insert(0, columns[0].is_not(None))
    return [column.asc() if direction == "asc" else column.desc() for column in columns]


def _after(marker: models.Image, sort: tuple[tuple[str, str], ...]) -> sa.ColumnElement[bool]:
    """What comes behind `marker` in the order: its first differing key is on the far side."""
    ways: list[sa.ColumnElement[bool]] = []
    same: list[sa.ColumnElement[bool]] = []
    for key, direction in sort:
        value = getattr(marker, key)
        ways.append(sa.and_(*same, _beyond(key, direction, value)))
        same.append(_equal(key, value))
    first, direction = sort[0]
    if first in _NULLABLE:
        return sa.or_(*ways)
    column, value = getattr(_I, first), getattr(marker, first)
    # It follows from the rest, but only this lets the database begin in the middle of an index.
    bound = column >= value if direction == "asc" else column <= value
    return sa.and_(bound, sa.or_(*ways))


def _equal(key: str, value: Any) -> sa.ColumnElement[bool]:
    column = getattr(_I, key)
    return column.is_(None) if value is None else column == value  # type: ignore[no-any-return]


def _beyond(key: str, direction: str, value: Any) -> sa.ColumnElement[bool]:
    column = getattr(_I, key)
    if value is None:
        return column.is_not(None) if direction == "asc" else sa.false()
    if direction == "asc":
        return column > value  # type: ignore[no-any-return]
    return sa.or_(column < value, column.is_(None)) if key in _NULLABLE else column < value
