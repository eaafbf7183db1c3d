"""Finding images: by id, and in pages of a list (contract sections 2.1.2 and 2.1.3)."""

import dataclasses
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import context, errors, filters, models, visibility, walks

_I = models.Image
_PARTS: dict[str, orm.InstrumentedAttribute[Any]] = {
    "properties": _I.property_rows,
    "tags": _I.tag_rows,
    "locations": _I.location_rows,
}
_ID_LENGTH = 36
#: Up to so many images are looked at one by one rather than passed on a walk.
_FEW = 1000
#: Ids that a statement may name; no page is longer unless `api_limit_max` is set beyond it.
_PIECE = 30_000
#: Filters that are looked at to find few.
_CHOICES = 4
ALL_PARTS = tuple(_PARTS)

#: What a list may be sorted by.
SORT_KEYS = (
    *("name", "status", "container_format", "disk_format", "size"),
    *("id", "created_at", "updated_at"),
)


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

    One statement, and one for each part but the first (with `lock`: for each part). With `lock` nobody else
    changes the image's row before the transaction ends.

    Raises:
        NotFound: there is none, it is deleted, or the asker may not see it.
    """
    query = sa.select(_I).where(_I.id == image_id, _I.deleted.is_(False))
    query = query.where(_I.status.not_in(("deleted", "pending_delete")))
    if not asker.is_admin:
        query = query.where(visibility.seen(asker))
    for number, part in enumerate(parts):
        # Joined to a statement that has to wait for the lock, a part would be read as it was before the wait.
        load = orm.selectinload if number or lock else orm.joinedload
        query = query.options(load(_PARTS[part]))
    if lock:
        query = query.with_for_update(of=_I)
    storable = len(image_id) <= _ID_LENGTH and not filters.UNSTORABLE.search(image_id)
    image = session.scalars(query).unique().one_or_none() if storable else None
    if image is None:
        raise errors.NotFound(f"No image found with ID {image_id}")
    return image


def page(session: orm.Session, asker: context.Context, query: Query) -> list[models.Image]:
    """A page of the images that the asker may list, whole: at most five statements.

    Raises:
        Invalid: a filter has a value that it cannot have, or there is no such marker.
        Forbidden: the marker is an image that the asker may not see.
    """
    conditions = filters.conditions(asker, query.filters)
    after = None if query.marker is None else _marker(session, asker, query.marker)
    if not query.limit:
        return []
    last = dict(query.filters)
    few = _few(session, filters.choices(asker, query.filters))
    roads = walks.over(asker, last) if few is None else walks.to(few)
    if not roads:
        return []
    order = walks.order_of(last, query.sort)
    statement = walks.page(roads, conditions, query.sort, after, query.limit, order).options(
        orm.joinedload(_I.location_rows),
        # One statement for each, however long the page is: SQLAlchemy's own pieces are of 500.
        orm.selectinload(_I.property_rows, chunksize=_PIECE),
        orm.selectinload(_I.tag_rows, chunksize=_PIECE),
    )
    return list(session.scalars(statement).unique())


def _few(session: orm.Session, choices: list[sa.Select[str]]) -> list[str] | None:
    """The ids that the most telling filter leaves, or None where each leaves many; in one statement.

    A rare tag would have the walks pass nearly all images for one page; a frequent one ends them soon.
    """
    if not choices:
        return None
    firsts = [
        sa.select(sa.literal(number), choice.limit(_FEW + 1).subquery())
        for number, choice in enumerate(choices[:_CHOICES])
    ]
    found: list[list[str]] = [[] for _ in firsts]
    for number, image_id in session.execute(sa.union_all(*firsts)):
        found[number].append(image_id)
    fewest = min(found, key=len)
    return fewest if len(fewest) <= _FEW else None


def _marker(session: orm.Session, asker: context.Context, image_id: str) -> models.Image:
    known = not filters.UNSTORABLE.search(image_id)
    query = sa.select(_I, visibility.seen(asker).label("seen")).where(_I.id == image_id)
    found = session.execute(query).one_or_none() if known else None
    if found is None or (found[0].deleted and not asker.is_admin):
        raise errors.Invalid(f"The marker {image_id} is no image")
    if not found[1]:
        raise errors.Forbidden(f"You may not see the image {image_id} of the marker")
    image: models.Image = found[0]
    return image
