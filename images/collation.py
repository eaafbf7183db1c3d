"""Comparing text as it is written, on every database.

SQLite and PostgreSQL do so by themselves. The collation of Glance's tables in MariaDB and MySQL takes `a`,
`A`, `ä` and `a` with a space behind it for the same, which as tags and as names of properties they are not
(contract sections 2.9 and 3.1).
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions


class Exactly(functions.FunctionElement[bool]):
    """Whether a text column has this value, to the byte: `Exactly(column, value)`."""

    type = sa.Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> "Exactly":
        """It has its own parentheses; `(…) = 1`, which SQLAlchemy would write, finds nothing in an index."""
        return self


@compiler.compiles(Exactly)
def _plainly(element: Exactly, compile_: Any, **options: Any) -> str:
    column, value = (compile_.process(part, **options) for part in element.clauses)
    return f"({column} = {value})"


@compiler.compiles(Exactly, "mysql")
@compiler.compiles(Exactly, "mariadb")
def _by_the_byte(element: Exactly, compile_: Any, **options: Any) -> str:
    """The comparison by the collation as well: only that one finds its rows in an index."""
    column, value = (compile_.process(part, **options) for part in element.clauses)
    bytes_ = "CAST(CONVERT({} USING utf8mb4) AS BINARY)".format
    return f"({column} = {value} AND {bytes_(column)} = {bytes_(value)})"
