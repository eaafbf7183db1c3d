"""Finding long texts by an index: it holds how they begin, since only SQLite's may hold all of 64 KiB."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

#: Characters that the index holds.
LENGTH = 64
#: MariaDB has indexes of a column's beginning, and SQLite takes all of any text.
_PLAIN = ("mysql", "mariadb", "sqlite")


def indexes(name: str, column: str, text: str, *rest: str) -> list[sa.Index]:
    """An index of a column and the beginning of another one, as each database wants it.

    With the columns of `rest` it answers by itself; PostgreSQL would look into the table all the same.
    """
    length = {text: LENGTH}
    plain = sa.Index(name, column, text, *rest, mysql_length=length, mariadb_length=length)
    other = sa.Index(name, column, sa.text(f"substr({text}, 1, {LENGTH})"))
    return [
        plain.ddl_if(dialect=_PLAIN),  # type: ignore[arg-type] # it takes several as well
        other.ddl_if(dialect="postgresql"),
    ]


def same(
    column: sa.ColumnElement[Any] | orm.InstrumentedAttribute[Any],
    value: str | sa.BindParameter[str],
) -> sa.ColumnElement[bool]:
    """Whether a text begins as another one does, as far as the index looks.

    Only PostgreSQL has to be told; the others look the text up in their index by itself.
    """
    numbers: list[Any] = [sa.literal_column("1"), sa.literal_column(str(LENGTH))]
    return sa.func.substr(column, *numbers) == sa.func.substr(value, *numbers)
