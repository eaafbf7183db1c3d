"""Finding images: by id, and in pages of a list (contract sections 2.1.2 and 2.1.3)."""

import dataclasses
import functools
import re
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import context, db, errors, filters, models, records, visibility, walks

_I = models.Image
_PARTS: dict[str, orm.InstrumentedAttribute[Any]] = {
    "properties": _I.property_rows,
    "tags": _I.tag_rows,
    "locations": _I.location_rows,
}
_THERE = (_I.deleted.is_(False), _I.status.not_in(("deleted", "pending_delete")))
#: An id that the database can be asked for.
_ID = re.compile("[^\0\ud800-\udfff\U00010000-\U0010ffff]{1,36}")
#: Filters that are looked at to find few.
_CHOICES = 4
#: What is counted, where only how many there are is asked for.
_ONE: sa.ColumnClause[int] = sa.literal_column("1", sa.Integer())
#: Statements that are kept.
_KNOWN = 256
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
    sort: walks.Sort
    #: The parameters that narrow the list (`images.filters`).
    filters: list[tuple[str, str]]


_SHAPES = {
    (is_admin, has_project): context.Context(
        "", None, "any" if has_project else None, (), is_admin=is_admin, request_id=""
    )
    for is_admin in (False, True)
    for has_project in (False, True)
}


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
    query = sa.select(_I).where(_I.id == image_id, *_THERE)
    if not asker.is_admin:
        query = query.where(visibility.seen(asker))
    for number, part in enumerate(parts):
        # Joined to a statement that has to wait for the lock, a part would be read as it was before the wait.
        load = orm.selectinload if number or lock else orm.joinedload
        query = query.options(load(_PARTS[part]))
    if lock:
        query = query.with_for_update(of=_I)
    image = session.scalars(query).unique().one_or_none() if _ID.fullmatch(image_id) else None
    if (
        image is None or image.id != image_id
    ):  # MariaDB finds it in any case, and files are named by it
        raise errors.NotFound(f"No image found with ID {image_id}")
    return image


def show(asker: context.Context, image_id: str) -> records.Record:
    """An image that the asker may see, in one statement.

    Raises:
        NotFound: there is none, it is deleted, or the asker may not see it.
    """
    statement = _statement_for_one(_shape(asker))
    found = (
        records.read(statement, {"id": image_id, "asker": asker.owner})
        if _ID.fullmatch(image_id)
        else []
    )
    if not found or found[0].id != image_id:
        raise errors.NotFound(f"No image found with ID {image_id}")
    return found[0]


def page(asker: context.Context, query: Query) -> list[records.Record]:
    """A page of the images that the asker may list: at most three statements.

    Raises:
        Invalid: a filter has a value that it cannot have, or there is no such marker.
        Forbidden: the marker is an image that the asker may not see.
    """
    narrowed, values = filters.open_values(filters.usable(asker, query.filters))
    after = None if query.marker is None else _marker(asker, query.marker, query.sort)
    few = _few(narrowed, values)
    blank = None if after is None else tuple(value is None for value in after.values())
    statement = _statement(_shape(asker), narrowed, query.sort, query.limit, blank, few)
    if statement is None or not query.limit:
        return []
    marker = {f"after_{key}": value for key, value in (after or {}).items()}
    return records.read(statement, {"asker": asker.owner, **values, **marker})


def _shape(asker: context.Context) -> context.Context:
    """What a statement depends on of who asks; the project itself is said when it is run."""
    return _SHAPES[asker.is_admin, bool(asker.owner)]


@functools.lru_cache(_KNOWN)
def _statement_for_one(asker: context.Context) -> sa.Select[Any]:
    query = records.query().where(*_THERE, _I.id == sa.bindparam("id", ""))
    return query if asker.is_admin else query.where(visibility.seen(asker))


@functools.lru_cache(_KNOWN)
def _statement(
    asker: context.Context,
    narrowed: filters.Parameters,
    sort: walks.Sort,
    limit: int,
    blank: tuple[bool, ...] | None,
    few: tuple[str, str] | None,
) -> sa.Select[Any] | None:
    """The statement for a page, or None where nothing can be on it; building one takes longer than to run it.

    `blank` says of the marker's values which are NULL.
    """
    last, order = dict(narrowed), walks.order_of(dict(narrowed), sort)
    roads = walks.over(asker, last, order)
    if few is not None:  # what is on that road has fulfilled its condition
        roads = walks.to(filters.choices(narrowed)[few])
        name = few[0]  # of two that have it the last one counts, but tags all do
        narrowed = tuple(
            one for one in narrowed if one != few and (one[0] != name or name == "tag")
        )
    conditions = filters.conditions(asker, narrowed)
    roads = walks.pinned(roads, hidden=filters.wants_hidden(narrowed))
    keys = (key for key, _ in sort)
    after = (
        None if blank is None else {k: None if b else "" for k, b in zip(keys, blank, strict=True)}
    )
    return walks.page(roads, conditions, sort, after, limit, order) if roads else None


def _few(narrowed: filters.Parameters, values: dict[str, str]) -> tuple[str, str] | None:
    """The filter that leaves the fewest images, or None where each leaves many; in one statement.

    A rare tag would have the walks pass nearly all images for one page; a frequent one ends them soon.
    """
    names, statement = _counts(narrowed)
    if statement is None:
        return None
    count, number = min((row[1], row[0]) for row in db.fetch_kept(statement, values))
    return names[number] if count <= walks.FEW else None


@functools.lru_cache(_KNOWN)
def _counts(
    narrowed: filters.Parameters,
) -> tuple[list[tuple[str, str]], sa.CompoundSelect[int, int] | None]:
    """Some of the filters, and the statement that says each one's place and how many images it leaves."""
    choices = filters.choices(narrowed)
    names = list(choices)[:_CHOICES]
    counts = [
        sa.select(sa.literal(number), sa.func.count()).select_from(
            walks.at_most(choices[name].with_only_columns(_ONE)).subquery()
        )
        for number, name in enumerate(names)
    ]
    return names, sa.union_all(*counts) if counts else None


def _marker(asker: context.Context, image_id: str, sort: walks.Sort) -> walks.Marker:
    columns = [getattr(_I, key) for key, _ in sort]
    query = sa.select(_I.deleted, visibility.seen(asker).label("seen"), *columns)
    found = db.fetch(query.where(_I.id == image_id)) if _ID.fullmatch(image_id) else []
    if not found or (found[0].deleted and not asker.is_admin):
        raise errors.Invalid(f"The marker {image_id} is no image")
    if not found[0].seen:
        raise errors.Forbidden(f"You may not see the image {image_id} of the marker")
    return {key: value for (key, _), value in zip(sort, found[0][2:], strict=True)}
