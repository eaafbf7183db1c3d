"""Rows as JSON, made by the database: an image with all its parts is one row with one text.

A row for each property and tag of a page would cost many times as much to fetch and to take apart as the
text does (docs/performance.md). `packed` is one row of a table, `gathered` are the rows of a part, and
`whole` puts them together; `unpacked` reads that.
"""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

#: Bytes that MariaDB and MySQL may gather (`group_concat_max_len`); what is longer they cut (`Cut`).
MOST = 1 << 20
#: So are rows of more characters: with longer ones they would make a table on the disk for each image.
_LONGEST = 512


class Cut(Exception):
    """The rows are too long together to be gathered; they have to be read one by one."""

    def __init__(self, row: list[Any]) -> None:
        #: The values of the row itself, which is never cut.
        self.row = row


class _Packed(functions.FunctionElement[str]):
    type = sa.Text()
    inherit_cache = True


class _Gathered(functions.FunctionElement[str]):
    type = sa.Text()
    inherit_cache = True


def packed(*columns: Any) -> sa.ColumnElement[str]:
    """The values of a row as a JSON array; booleans are 0 and 1 on some databases, and dates are text."""
    return _Packed(*columns)


def gathered(*columns: Any) -> sa.ColumnElement[str]:
    """All rows of a query, each `packed`, in any order; how many there are stands in front."""
    return _Gathered(*columns)


def whole(row: sa.ColumnElement[str], *parts: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    """A `packed` row and what is `gathered` of its parts."""
    text: sa.ColumnElement[str] = sa.literal_column("'['", sa.Text()) + row
    for part in parts:
        text = (
            text + sa.literal_column("',['", sa.Text()) + part + sa.literal_column("']'", sa.Text())
        )
    return text + sa.literal_column("']'", sa.Text())


def unpacked(text: str) -> list[list[Any]]:
    """The values of the row, and the rows of each part, that are in a `whole`.

    Raises:
        Cut: they did not fit.
    """
    try:
        row, *parts = json.loads(text)
    except ValueError:
        row, _ = json.JSONDecoder().raw_decode(text, 1)
        raise Cut(row) from None
    if any(part[0] != len(part) - 1 for part in parts):
        raise Cut(row)
    return [row, *(part[1:] for part in parts)]


def _arguments(element: functions.FunctionElement[str], compile_: Any, options: Any) -> str:
    return ", ".join(compile_.process(part, **options) for part in element.clauses)


@compiler.compiles(_Packed)
def _array(element: _Packed, compile_: Any, **options: Any) -> str:
    return f"json_array({_arguments(element, compile_, options)})"


@compiler.compiles(_Packed, "postgresql")
def _array_of_postgresql(element: _Packed, compile_: Any, **options: Any) -> str:
    return f"(json_build_array({_arguments(element, compile_, options)})::text)"


@compiler.compiles(_Gathered)
def _rows(element: _Gathered, compile_: Any, **options: Any) -> str:
    one = _array(element, compile_, **options)  # type: ignore[arg-type] # the same clauses
    return f"(count(*) || coalesce(',' || group_concat({one}, ','), ''))"


@compiler.compiles(_Gathered, "mysql")
@compiler.compiles(_Gathered, "mariadb")
def _rows_of_mariadb(element: _Gathered, compile_: Any, **options: Any) -> str:
    one = _array(element, compile_, **options)  # type: ignore[arg-type]
    one = f"cast({one} as char({_LONGEST}))"
    return f"concat(count(*), coalesce(concat(',', group_concat({one} separator ',')), ''))"


@compiler.compiles(_Gathered, "postgresql")
def _rows_of_postgresql(element: _Gathered, compile_: Any, **options: Any) -> str:
    one = _array_of_postgresql(element, compile_, **options)  # type: ignore[arg-type]
    return f"(count(*) || coalesce(',' || string_agg({one}, ','), ''))"
