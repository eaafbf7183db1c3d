"""The tables at the end: what each service needed, how they compare, and what the machine could do."""

from collections.abc import Sequence

from tests.bench import limits
from tests.bench.bars import Bar, Judgement, judge
from tests.bench.rows import Rows
from tests.bench.scene import Work

_HEAD = ("work", "figure", "Glance", "Gantry", "ratio", "bar", "verdict")
#: More processors than this in the hands of strangers, and a work is marked.
_NOISY = 0.3


def results(works: Sequence[Work], rows: Rows) -> str:
    """Medians of all works, held against their bars."""
    lines: list[Sequence[str]] = []
    for work in works:
        lines += [_line(work, bar, rows) for bar in work.bars if _has(work, bar, rows)]
    return aligned(_HEAD, lines)


def verdicts(works: Sequence[Work], rows: Rows) -> tuple[int, int]:
    """How many bars were met, and how many were not."""
    found = [judge(bar, work.name, rows).is_met for work in works for bar in work.bars]
    return found.count(True), found.count(False)


def noise(works: Sequence[Work], rows: Rows) -> str:
    """Which works were disturbed by other programs of the machine; empty where none was."""
    found = []
    for work in works:
        values = [
            row.get("noise_cores", 0.0)
            for s in ("glance", "gantry")
            for row in rows.of(work.name, s)
        ]
        if values and max(values) > _NOISY:
            found.append(f"{work.name} {max(values):.1f}")
    if not found:
        return ""
    return f"Others used the processors meanwhile (most cores in a run): {', '.join(found)}."


def bounds(works: Sequence[Work], rows: Rows) -> str:
    """The machine's own limits in the minutes of each work that moves data, seconds."""
    chosen = [work for work in works if rows.of(work.name, "limit")]
    told = {row["what"] for work in chosen for row in rows.of(work.name, "limit")}
    names = [name for name in limits.NAMES if name in told]
    lines = [
        (limits.NAMES[name], *(number(rows.limit(work.name, name)) for work in chosen))
        for name in names
    ]
    return aligned(("the machine alone, s", *(work.name for work in chosen)), lines)


def _has(work: Work, bar: Bar, rows: Rows) -> bool:
    found = judge(bar, work.name, rows)
    return found.gantry is not None or found.glance is not None


def _line(work: Work, bar: Bar, rows: Rows) -> Sequence[str]:
    found = judge(bar, work.name, rows)
    numbers = (number(found.glance), number(found.gantry), _ratio(found))
    return work.name, bar.what, *numbers, bar.text, _verdict(found)


def _ratio(found: Judgement) -> str:
    return "" if found.ratio is None else f"{number(found.ratio)} x"


def _verdict(found: Judgement) -> str:
    return {True: "met", False: "MISSED", None: ""}[found.is_met]


def number(value: float | None) -> str:
    """Three digits are what a median of a few runs has to say."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table whose columns stand under each other in plain text too."""
    if not lines:
        return ""
    widths = [max(len(row[place]) for row in (head, *lines)) for place in range(len(head))]

    def row(cells: Sequence[str]) -> str:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([row(head), rule, *map(row, lines)])
