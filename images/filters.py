"""What a list of images may be narrowed by: each parameter as one SQL condition (contract section 2.1.3)."""

import datetime
import re
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import beginning, collation, context, errors, models, protections, visibility

Condition = sa.ColumnElement[bool]
_Column = orm.InstrumentedAttribute[Any]

_I = models.Image
#: Columns that are compared as they are.
_TEXTS: dict[str, _Column] = {
    "checksum": _I.checksum,
    "os_hash_algo": _I.os_hash_algo,
    "os_hash_value": _I.os_hash_value,
    "owner": _I.owner,
}
#: Columns whose filter may name several values.
_CHOICES: dict[str, _Column] = {
    "name": _I.name,
    "id": _I.id,
    "status": _I.status,
    "container_format": _I.container_format,
    "disk_format": _I.disk_format,
}
_NUMBERS: dict[str, _Column] = {
    "size": _I.size,
    "virtual_size": _I.virtual_size,
    "min_ram": _I.min_ram,
    "min_disk": _I.min_disk,
}
_DATES: dict[str, _Column] = {"created_at": _I.created_at, "updated_at": _I.updated_at}
#: Parameters of other kinds; a name that is nowhere here is a custom property's.
_OTHERS = ("protected", "os_hidden", "changes-since", "deleted")
#: Parameters that are no filter of one column or property.
_LISTS = ("tag", "visibility", "member_status")

#: What is gone, or never became an image.
_UNLISTED = ("deleted", "pending_delete", "killed")
#: What Glance's tables (three-byte UTF-8) and PostgreSQL (no NUL) cannot hold, nor be asked for.
UNSTORABLE = re.compile("[\0\ud800-\udfff\U00010000-\U0010ffff]")
#: Each filter is a condition of its own, and databases bound how many a statement may have.
_MOST = 100
#: The largest number that the database can hold.
BIGGEST = (1 << 63) - 1
#: A value of a list: quoted, with \" for a quote inside, or anything that has no comma and no quote.
_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",]*)')


#: (name, value), in the order of the query.
Parameters = tuple[tuple[str, str], ...]


class Later(str):
    """In the place of a value: the name under which it is said when the statement is run."""

    __slots__ = ()


def usable(asker: context.Context, parameters: Sequence[tuple[str, str]]) -> Parameters:
    """The parameters that narrow the asker's list: all but those by properties that it may not read.

    Raises:
        Invalid: there are too many, or one can fit no image.
    """
    if len(parameters) > _MOST:
        raise errors.Invalid(f"A list can be narrowed by at most {_MOST} filters")
    if any(UNSTORABLE.search(name + value) for name, value in parameters):
        raise errors.Invalid("A filter holds characters that no record has: 4-byte UTF-8 or NUL")
    judge = protections.Judge(asker)
    return tuple(
        (name, value)
        for name, value in parameters
        if name in _LISTS or not _is_property(name) or judge.allows("read", name)
    )


def open_values(parameters: Parameters) -> tuple[Parameters, dict[str, str]]:
    """The parameters with `Later` for what is only compared with, and what these stand for.

    To build and compile a statement takes longer than to run it: lists by different names have one.
    """
    opened: list[tuple[str, str]] = []
    values: dict[str, str] = {}
    for number, (name, value) in enumerate(parameters):
        if _is_compared(name, value):
            key = Later(f"filter_{number}")
            values[key] = value
            opened.append((name, key))
        else:
            opened.append((name, value))
    return tuple(opened), values


def _is_compared(name: str, value: str) -> bool:
    """Whether any other value would make the same statement."""
    if name in _CHOICES:
        return ":" not in value
    return name == "tag" or name in _TEXTS or (name not in _LISTS and _is_property(name))


def compared(value: str) -> str | sa.BindParameter[str]:
    """What a column is compared with."""
    return sa.bindparam(str(value), "", sa.String()) if isinstance(value, Later) else value


def conditions(asker: context.Context, parameters: Parameters) -> list[Condition]:
    """What images of the list must fulfil besides what `walks.pinned` says, what the asker sees included.

    `parameters` are `usable`: of a name that is given twice the last one counts, but of tags all do.

    Raises:
        Invalid: a filter has a value that it cannot have.
    """
    last = dict(parameters)
    scope: list[Condition] = [_I.status.not_in(_UNLISTED)]
    scope += visibility.listed(
        asker, last.pop("visibility", None), last.pop("member_status", "accepted")
    )
    found = [*scope, *(_tagged(value) for name, value in parameters if name == "tag")]
    elsewhere = ("tag", "deleted", "os_hidden")
    return found + [_condition(name, last[name]) for name in last if name not in elsewhere]


def wants_hidden(parameters: Parameters) -> bool:
    """Whether the list is one of hidden images.

    Raises:
        Invalid: the filter has a value that it cannot have.
    """
    return _truth("os_hidden", dict(parameters).get("os_hidden", "false").lower())


def choices(parameters: Parameters) -> dict[tuple[str, str], sa.Select[str]]:
    """Queries for ids that an index alone answers: of each filter that may leave but few images.

    The images of a list are among those of each query, and a query finds no others than its filter would.
    `parameters` are such as `conditions` takes.
    """
    last = dict(parameters)
    found = {(name, value): _ids_tagged(value) for name, value in parameters if name == "tag"}
    for name in ("id", "checksum", "os_hash_value"):
        if name in last:
            found[name, last[name]] = sa.select(_I.id).where(_condition(name, last[name]))
    properties = [name for name in last if name not in _LISTS and _is_property(name)]
    return found | {(name, last[name]): _ids_having(name, last[name]) for name in properties}


def _is_property(name: str) -> bool:
    column = any(name in columns for columns, _ in _BY_COLUMN)
    return not (column or name in _OTHERS or name.endswith(("_min", "_max")))


def _condition(name: str, value: str) -> Condition:
    for columns, make in _BY_COLUMN:
        if name in columns:
            return make(columns[name], name, value)
    if name == "protected":
        return _I.protected != (sa.false() if _truth(name, value) else sa.true())
    if name == "changes-since":
        raise errors.Invalid("changes-since is no filter of this version; use updated_at")
    if name.endswith(("_min", "_max")):
        return _bound(name, value)
    return _has_property(name, value)


def _tagged(tag: str) -> Condition:
    return _ids_tagged(tag).where(models.ImageTag.image_id == _I.id).exists()


def _ids_tagged(tag: str) -> sa.Select[str]:
    rows = models.ImageTag
    there = sa.and_(collation.Exactly(rows.value, compared(tag)), rows.deleted == sa.false())
    return _by_value(sa.select(rows.image_id).where(there), rows)


def _has_property(name: str, value: str) -> Condition:
    rows = models.ImageProperty
    same = sa.and_(collation.Exactly(rows.name, name), rows.value == compared(value))
    there = sa.and_(rows.image_id == _I.id, same, rows.deleted == sa.false())
    return _by_value(sa.select(rows.image_id).where(there), rows).exists()


def _ids_having(name: str, value: str) -> sa.Select[str]:
    rows, wanted = models.ImageProperty, compared(value)
    same = sa.and_(rows.name == name, rows.value == wanted, beginning.same(rows.value, wanted))
    return _by_value(sa.select(rows.image_id).where(same, rows.deleted == sa.false()), rows)


def _by_value(query: sa.Select[str], rows: type[models.Base]) -> sa.Select[str]:
    """MariaDB would read all tags or properties of an image to see whether this one is among them."""
    hint = f"FORCE INDEX (gantry_{rows.__tablename__}_value)"
    return query.with_hint(rows, hint, "mysql").with_hint(rows, hint, "mariadb")


def _text(column: _Column, _name: str, value: str) -> Condition:
    return column == compared(value)


def _choice(column: _Column, name: str, value: str) -> Condition:
    operator, colon, operand = value.partition(":")
    if not colon:
        return column == compared(value)
    if operator == "eq":
        return column == operand
    if operator != "in":
        raise errors.Invalid(f"Unable to filter {name} by the operator '{operator}': eq or in")
    return column.in_(_split(operand))


def _split(text: str) -> list[str]:
    """The values of a list that commas separate; double quotes protect a comma."""
    items, at = [], 0
    while True:
        item = _ITEM.match(text, at)
        if item is None or text[item.end() : item.end() + 1] not in ("", ","):
            raise errors.Invalid(f"The quotes of the list {text} are not balanced")
        items.append(item[2] if item[1] is None else re.sub(r"\\(.)", r"\1", item[1]))
        at = item.end() + 1
        if at > len(text):
            return items


def _number(column: _Column, _name: str, value: str) -> Condition:
    number = _integer(value)
    return sa.false() if number is None or abs(number) > BIGGEST else column == number


def _bound(name: str, value: str) -> Condition:
    column = _NUMBERS.get(name[:-4])
    number = _integer(value)
    if column is None or number is None:
        raise errors.Invalid(f"Unable to filter by {name}: a number, and of {', '.join(_NUMBERS)}")
    number = max(-BIGGEST, min(number, BIGGEST))
    return column >= number if name.endswith("_min") else column <= number


def _integer(text: str) -> int | None:
    return int(text) if re.fullmatch("[+-]?[0-9]{1,400}", text) else None


def _truth(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise errors.Invalid(f"{name} must be true or false")
    return text == "true"


def _date(column: _Column, name: str, value: str) -> Condition:
    """Compare with a whole second: what Glance shows has no fraction."""
    operator, colon, operand = value.partition(":")
    if not (colon and operator.isalpha()):
        operator, operand = "eq", value
    begin, end = _second(name, operand)
    if operator == "neq":
        return sa.or_(column < begin, column >= end)
    bounds = {
        "gt": (end, None),
        "gte": (begin, None),
        "lt": (None, begin),
        "lte": (None, end),
        "eq": (begin, end),
    }
    if operator not in bounds:
        raise errors.Invalid(f"Unable to filter {name} by the operator '{operator}'")
    first, last = bounds[operator]
    return sa.and_(column >= first if first else sa.true(), column < last if last else sa.true())


def _second(name: str, text: str) -> tuple[datetime.datetime, datetime.datetime]:
    """The second that a date names: its beginning and its end, in UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
        moment = moment.replace(microsecond=0)
        return moment, moment + datetime.timedelta(seconds=1)
    except (ValueError, OverflowError) as error:
        raise errors.Invalid(f"The value of {name} is no date of ISO 8601: {text}") from error


_BY_COLUMN: tuple[tuple[dict[str, _Column], Callable[[_Column, str, str], Condition]], ...] = (
    (_TEXTS, _text),
    (_CHOICES, _choice),
    (_NUMBERS, _number),
    (_DATES, _date),
)
