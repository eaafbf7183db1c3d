"""What was measured, one row a run: kept for the tables, and written to a file as JSON lines."""

import json
import pathlib
import statistics
from collections.abc import Callable
from typing import Any

#: `work`, `service`, `run`, and figures; `cpu` has processor seconds by group.
Row = dict[str, Any]

LIMIT = "limit"


class Rows:
    """All rows of one run of the bench."""

    def __init__(self, file: pathlib.Path) -> None:
        self.file = file
        self._rows: list[Row] = []
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")

    def add(self, row: Row) -> None:
        """Keep a row."""
        self._rows.append(row)
        self.write(row)

    def write(self, row: Row) -> None:
        """Append a line to the file without keeping it: what describes the machine."""
        with self.file.open("a") as sink:
            sink.write(json.dumps(row) + "\n")

    def of(self, work: str, service: str) -> list[Row]:
        """The rows of one service at one work."""
        return [r for r in self._rows if r["work"] == work and r["service"] == service]

    def median(self, work: str, service: str, value: Callable[[Row], float]) -> float | None:
        """The median of what `value` finds in the rows; None where there are none."""
        found = [value(row) for row in self.of(work, service)]
        return statistics.median(found) if found else None

    def limit(self, work: str, name: str) -> float | None:
        """The median seconds of one of the machine's limits beside a work."""
        found = [row["seconds"] for row in self.of(work, LIMIT) if row["what"] == name]
        return statistics.median(found) if found else None
