"""In which order the transactions of this process lock rows: the image's before those of its parts.

Two that lock the same rows in other orders wait for each other, and MariaDB or PostgreSQL ends one of them: a
client gets 503, or an import loses an attempt. That takes two at the same moment, but each shows its order by
itself, on SQLite too.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

#: Tables by the turn in which their rows are locked; those of one turn in any order.
_TURNS: dict[str, int] = {
    "gantry_task_runs": 0,
    "images": 1,
    "image_properties": 2,
    "image_tags": 2,
    "image_members": 2,
    "image_locations": 2,
    "gantry_reservations": 2,
}
_KEY = "tests.lock_order"


@contextlib.contextmanager
def watched() -> Iterator[list[str]]:
    """What went out of order while the block ran, in words: tables in the order in which they were locked."""
    found: list[str] = []

    def note(connection: sa.Connection, clause: Any, *_: Any) -> None:
        order: list[str] = connection.info.setdefault(_KEY, [])
        for name in _locked_by(clause):
            if name not in _TURNS or name in order:
                continue
            late = any(_TURNS[one] > _TURNS[name] for one in order)
            order.append(name)
            if late and not _is_free(clause):
                found.append(" > ".join(order))

    def begin(connection: sa.Connection) -> None:
        connection.info[_KEY] = []

    listeners = (("before_execute", note), ("begin", begin))
    for name, listener in listeners:
        sa.event.listen(sa.Engine, name, listener)
    try:
        yield found
    finally:
        for name, listener in listeners:
            sa.event.remove(sa.Engine, name, listener)


def _locked_by(clause: Any) -> list[str]:
    """Tables whose rows a statement locks."""
    if isinstance(clause, sa.sql.dml.UpdateBase):
        return [clause.table.name] if isinstance(clause.table, sa.Table) else []
    if isinstance(clause, sa.Select) and clause._for_update_arg is not None:
        of = clause._for_update_arg.of
        named = of or clause.get_final_froms()
        return [one.name for one in named if isinstance(one, sa.Table)]
    return []


def _is_free(clause: Any) -> bool:
    """Whether it waits for nobody: a new row, but one of a part, which needs its image's."""
    return isinstance(clause, sa.Insert) and not clause.table.foreign_keys
