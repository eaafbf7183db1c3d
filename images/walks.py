"""How a list is read: as walks along indexes, which hold it in its order and are merged page by page.

One condition for all that a project sees (its own images, public ones, those shared with it) would have the
database look at every image of the cloud for each page. Each of these alone is a stretch of an index, one of
those named `gantry_…`, in which a page begins where the one before it ended. What a walk meets has still to
fulfil the list's conditions, `images.visibility`'s among them: a walk that held too much would cost time and
show nothing.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from images import context, filters, models, records, visibility

Condition = sa.ColumnElement[bool]
_Value = TypeVar("_Value")
#: (key, "asc" or "desc") of each column that a list is sorted by.
Sort = tuple[tuple[str, str], ...]
#: What a page's predecessor ended with: of its last image the values of the columns that are sorted by.
Marker = Mapping[str, Any]

_I = models.Image
_VISIBILITIES = ("public", "private", "shared", "community")
#: Up to so many images are looked at one by one rather than passed on a walk.
FEW = 1000
#: Of what a list may be sorted by, what may be NULL.
_NULLABLE = ("name", "container_format", "disk_format", "size", "updated_at")


class _NoOrder(functions.FunctionElement[str]):
    """A column that is NULL in all rows, in ORDER BY: PostgreSQL must be told, to see an index in order."""

    type = sa.String()
    inherit_cache = True


@compiler.compiles(_NoOrder)
def _the_column(element: _NoOrder, compile_: Any, **options: Any) -> str:
    return str(compile_.process(next(iter(element.clauses)), **options))


@compiler.compiles(_NoOrder, "mysql")
@compiler.compiles(_NoOrder, "mariadb")
def _nothing(_element: _NoOrder, _compile: Any, **_options: Any) -> str:
    return "NULL"  # with the column it would sort


@dataclasses.dataclass(frozen=True, slots=True)
class Walk:
    """A part of the table that is a stretch of an index."""

    part: Condition
    #: The column that the index begins with, or None where the images are found by their ids.
    column: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class _Stretch:
    """A part of a walk."""

    conditions: list[Condition]
    order: list[sa.UnaryExpression[Any]]


def over(asker: context.Context, parameters: dict[str, str], order: str | None) -> list[Walk]:
    """Disjoint parts of the table that together hold all that the asker's list may hold.

    `parameters` are the list's, as `images.filters` has judged them, `order` is `order_of` them.
    """
    return (_of_admin if asker.is_admin else _of_visible)(asker, parameters, order)


def pinned(walks: list[Walk], *, hidden: bool) -> list[Walk]:
    """The walks without what is deleted, and with nothing but what is hidden, or nothing that is."""
    return [Walk(sa.and_(walk.part, *_pins(walk, hidden)), walk.column) for walk in walks]


def _pins(walk: Walk, hidden: bool) -> tuple[Condition, Condition]:
    """Said once: of what is said twice PostgreSQL believes that it is true of far fewer images."""
    if walk.column:  # by `==`, since the index holds both
        return _I.deleted == sa.false(), _I.os_hidden == (sa.true() if hidden else sa.false())
    # By `!=`, or a database looks half of the table up by one of them.
    return _I.deleted != sa.true(), _I.os_hidden != (sa.false() if hidden else sa.true())


def _of_admin(_asker: context.Context, parameters: dict[str, str], order: str | None) -> list[Walk]:
    wanted, status = parameters.get("visibility", "all"), parameters.get("status", ":")
    if "owner" in parameters:
        return [Walk(_I.owner == filters.compared(parameters["owner"]), "owner")]
    if wanted != "all":
        return [_of(wanted)] if wanted else []
    if ":" not in status and order == "created":
        return [Walk(_I.status == filters.compared(status), "status")]
    return [Walk(sa.true(), "all")]  # others' community images, which are not many, are passed


def _of_visible(
    asker: context.Context, parameters: dict[str, str], _order: str | None
) -> list[Walk]:
    wanted = parameters.get("visibility")
    me = visibility.me(asker) if asker.owner else None
    if "owner" in parameters:
        return [Walk(_I.owner == filters.compared(parameters["owner"]), "owner")]
    if wanted == "":  # no visibility that an image has
        return []
    kinds = _VISIBILITIES if wanted == "all" else (wanted or "public",)
    found = [_of(kind) for kind in kinds if kind in ("public", "community")]
    if me is None or wanted in ("public", "community"):
        return found
    others = _I.owner.is_distinct_from(me)
    found = [
        Walk(_I.owner == me, "owner"),
        *(Walk(sa.and_(w.part, others), w.column) for w in found),
    ]
    if wanted == "private":
        return found
    return [*found, Walk(sa.and_(_shared_with(me, parameters), others), None)]


def to(choice: sa.Select[str]) -> list[Walk]:
    """The way to the few images whose ids a query finds."""
    return [Walk(_I.id.in_(sa.select(at_most(choice).subquery())), None)]


def at_most(choice: sa.Select[_Value]) -> sa.Select[_Value]:
    """As many of the rows as can be few, and one more; a database makes that list first."""
    return choice.limit(FEW + 1)


def _of(kind: str) -> Walk:
    return Walk(_I.visibility == kind, "visibility")


def _shared_with(me: sa.BindParameter[str], parameters: dict[str, str]) -> Condition:
    rows, status = models.ImageMember, parameters.get("member_status", "accepted")
    found = [rows.member == me, rows.deleted == sa.false()]
    if status != "all":
        found.append(rows.status == status)
    return sa.and_(_is("shared"), _I.id.in_(sa.select(rows.image_id).where(*found)))


def _is(wanted: str) -> Condition:
    """Compare so that no index is walked for it: there is a better one."""
    return _I.visibility.not_in([kind for kind in _VISIBILITIES if kind != wanted])


def page(
    walks: list[Walk],
    conditions: list[Condition],
    sort: Sort,
    after: Marker | None,
    limit: int,
    order: str | None,
) -> sa.Select[Any]:
    """The first `limit` images behind `after`: the first of those that each walk comes to first.

    `order` is that of the indexes which are to be walked (`order_of`).
    """
    firsts = [
        _first(walk, conditions, stretch, _columns(sort), limit, order)
        for walk in walks
        for stretch in _stretches(sort, after)
    ]
    ids = firsts[0]
    if len(firsts) > 1:
        merged = sa.union_all(*(sa.select(one) for one in firsts)).subquery()
        ids = sa.select(merged).order_by(*_order(merged.c, sort)).limit(limit).subquery()
    return records.query().join_from(_I, ids, ids.c.id == _I.id).order_by(*_order(ids.c, sort))


def order_of(parameters: dict[str, str], sort: Sort) -> str | None:
    """Of the indexes, which order serves a list best; None where none of them holds it."""
    if "name" in parameters or sort[0][0] == "name":
        return "name"
    return "created" if sort[0][0] == "created_at" else None


def _first(
    walk: Walk,
    conditions: list[Condition],
    stretch: _Stretch,
    columns: list[Any],
    limit: int,
    index: str | None,
) -> sa.Subquery:
    query = sa.select(*columns).where(walk.part, *conditions, *stretch.conditions)
    if walk.column and index:
        # MariaDB would begin at the end of the index, and pass all the pages before this one.
        hint = f"FORCE INDEX (gantry_images_{walk.column}_{index})"
        query = query.with_hint(_I, hint, "mysql").with_hint(_I, hint, "mariadb")
    return query.order_by(*stretch.order).limit(limit).subquery()


def _columns(sort: Sort) -> list[Any]:
    return [getattr(_I, key) for key in dict.fromkeys(("id", *(key for key, _ in sort)))]


def _order(
    columns: Any, sort: Sort, *, first_is_null_too: bool = True
) -> list[sa.UnaryExpression[Any]]:
    """NULL is less than anything, as SQLite and MariaDB have it and PostgreSQL has not."""
    found: list[sa.UnaryExpression[Any]] = []
    for number, (key, direction) in enumerate(sort):
        column = getattr(columns, key)
        split = key in _NULLABLE and (number or first_is_null_too)
        ways = [column.is_not(None), column] if split else [column]
        found += [way.asc() if direction == "asc" else way.desc() for way in ways]
    return found


def _stretches(sort: Sort, after: Marker | None) -> list[_Stretch]:
    """What of a walk lies behind the image `after`.

    Sorted by name it is two stretches, of the images without a name and of those with one: in neither is an
    index out of order, wherever the database puts NULL.
    """
    key, direction = sort[0]
    if key != "name":
        return [_Stretch([] if after is None else [_behind(after, sort)], _order(_I, sort))]
    no_order = _NoOrder(_I.name)
    nameless: list[Condition] = [_I.name.is_(None)]
    named: list[Condition] = [_I.name.is_not(None)]
    if after is not None and after["name"] is None:
        nameless.append(_behind(after, sort[1:]))
    if after is not None and after["name"] is not None:
        named.append(_behind(after, sort, never_null=True))
    by_nothing = no_order.asc() if direction == "asc" else no_order.desc()
    both = [
        _Stretch(nameless, [by_nothing, *_order(_I, sort[1:])]),
        _Stretch(named, _order(_I, sort, first_is_null_too=False)),
    ]
    if after is None:
        return both
    if direction == "asc":
        return both if after["name"] is None else both[1:]
    return both[:1] if after["name"] is None else both


def _behind(marker: Marker, sort: Sort, *, never_null: bool = False) -> Condition:
    """What comes behind `marker` in the order: its first differing key is on the far side."""
    ways: list[Condition] = []
    same: list[Condition] = []
    for key, direction in sort:
        value = marker[key]
        nullable = key in _NULLABLE and not (never_null and key == sort[0][0])
        ways.append(sa.and_(*same, _beyond(key, direction, value, nullable=nullable)))
        same.append(_equal(key, value))
    first, direction = sort[0]
    if first in _NULLABLE and not never_null:
        return sa.or_(*ways)
    column, value = getattr(_I, first), _named(first, marker[first])
    # It follows from the rest, but only this lets SQLite begin in the middle of an index.
    bound = column >= value if direction == "asc" else column <= value
    return sa.and_(bound, sa.or_(*ways))


def _named(key: str, value: Any) -> Any:
    """The marker's value in a statement, so that one which is built once serves other markers too."""
    return sa.bindparam(f"after_{key}", value, getattr(_I, key).type)


def _equal(key: str, value: Any) -> Condition:
    column = getattr(_I, key)
    return column.is_(None) if value is None else column == _named(key, value)  # type: ignore[no-any-return]


def _beyond(key: str, direction: str, value: Any, *, nullable: bool) -> Condition:
    column = getattr(_I, key)
    if value is None:
        return column.is_not(None) if direction == "asc" else sa.false()
    value = _named(key, value)
    if direction == "asc":
        return column > value  # type: ignore[no-any-return]
    return sa.or_(column < value, column.is_(None)) if nullable else column < value
