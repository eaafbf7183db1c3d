"""What is demanded: of which figure, how much better than Glance, or at most how much."""

import dataclasses
from collections.abc import Callable

from tests.bench.rows import Row, Rows


@dataclasses.dataclass(frozen=True, slots=True)
class Bar:
    """One demand. It is judged on medians; without `times` and `at_most` the figure is only shown."""

    #: What is measured, with its unit.
    what: str
    value: Callable[[Row], float]
    #: At least so many times better than Glance in the same run.
    times: float | None = None
    more_is_better: bool = False
    #: Gantry's own figure is at most this.
    at_most: float | None = None
    #: What Gantry's figure is divided by before `at_most` is looked at: a figure of other rows.
    beside: Callable[[Rows], float | None] | None = None

    @property
    def text(self) -> str:
        """The demand, to read."""
        if self.times is not None:
            return f"≥ {self.times:g} x"
        return "" if self.at_most is None else f"≤ {self.at_most:g}"


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """What came out for one bar; None where nothing was measured."""

    glance: float | None
    gantry: float | None
    ratio: float | None
    #: Whether the bar was met; None where there is no bar, or nothing to hold against it.
    is_met: bool | None


def judge(bar: Bar, work: str, rows: Rows) -> Judgement:
    """Hold the medians of a work against a bar."""
    glance = rows.median(work, "glance", bar.value)
    gantry = rows.median(work, "gantry", bar.value)
    if bar.beside:
        base = bar.beside(rows)
        glance, gantry = _divided(glance, base), _divided(gantry, base)
    ratio = _divided(gantry, glance) if bar.more_is_better else _divided(glance, gantry)
    is_met = None
    if bar.times is not None and ratio is not None:
        is_met = ratio >= bar.times
    if bar.at_most is not None and gantry is not None:
        is_met = gantry <= bar.at_most
    return Judgement(glance, gantry, ratio, is_met)


def _divided(one: float | None, other: float | None) -> float | None:
    return None if one is None or not other else one / other


# Figures of a row


def seconds(row: Row) -> float:
    """Of the whole work."""
    return float(row["seconds"])


def per_second(row: Row) -> float:
    """Requests."""
    return float(row["per_second"])


def service_cpu(row: Row) -> float:
    """Processor seconds of all of a service's processes; for bytes, of each GiB."""
    total = sum(used for group, used in row["cpu"].items() if group != "database")
    return float(total / row.get("gib", 1))


def request_cpu(group: str) -> Callable[[Row], float]:
    """Milliseconds of processor time that one group takes for a request."""
    return lambda row: float(row["cpu"][group] / row["requests"] * 1000)


def figure(name: str) -> Callable[[Row], float]:
    """Any other figure."""
    return lambda row: float(row[name])


def quotient(one: str, other: str) -> Callable[[Row], float]:
    """One figure of a row by another."""
    return lambda row: float(row[one] / row[other])
