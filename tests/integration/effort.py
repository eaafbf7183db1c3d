"""What statements cost a database, in rows that it reads, and how it runs them."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

Statement = tuple[str, Any]


def sent(engine: sa.Engine, work: Callable[[], object]) -> list[Statement]:
    """The statements that `work` sends to the database, borders of transactions left out."""
    found: list[Statement] = []

    def record(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if not statement.startswith(("BEGIN", "COMMIT", "ROLLBACK")):
            found.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", record)
    try:
        work()
    finally:
        sa.event.remove(engine, "before_cursor_execute", record)
    return found


def cost(engine: sa.Engine, statements: list[Statement]) -> int:
    """Rows that the database reads for these statements; hundreds of steps with SQLite."""
    with engine.connect() as connection:
        return sum(_METERS[engine.dialect.name](connection, *one) for one in statements)


def plan(engine: sa.Engine, statement: Statement) -> list[str]:
    """How the database runs a statement, a line for each part of it."""
    word = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{word} {statement[0]}", statement[1])
        return [" ".join(str(value) for value in row) for row in rows]


def _steps(connection: sa.Connection, statement: str, parameters: Any) -> int:
    driver: Any = connection.connection.dbapi_connection
    hundreds = 0

    def count() -> int:
        nonlocal hundreds
        hundreds += 1
        return 0

    driver.set_progress_handler(count, 100)
    try:
        connection.exec_driver_sql(statement, parameters).all()
    finally:
        driver.set_progress_handler(None, 0)
    return hundreds


def _reads(connection: sa.Connection, statement: str, parameters: Any) -> int:
    connection.exec_driver_sql("FLUSH STATUS")
    connection.exec_driver_sql(statement, parameters).all()
    counters = connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'")
    return sum(int(value) for _, value in counters)


def _rows(connection: sa.Connection, statement: str, parameters: Any) -> int:
    explained = connection.exec_driver_sql(
        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters
    ).scalar_one()
    found = explained if isinstance(explained, list) else json.loads(explained)
    return round(sum(_scanned(node) for node in _nodes(found[0]["Plan"])))


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from _nodes(child)


def _scanned(node: dict[str, Any]) -> float:
    if "Relation Name" not in node and "Index Name" not in node:
        return 0
    removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    rows: float = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return rows


_METERS: dict[str, Callable[[sa.Connection, str, Any], int]] = {
    "sqlite": _steps,
    "mysql": _reads,
    "postgresql": _rows,
}
