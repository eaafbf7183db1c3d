"""What rounds came to, as lines and as a table."""

from collections.abc import Callable, Iterable

from tests.chaos import rounds

KINDS = ("lost", "twice", "left over", "digest", "slow", "other")


def line(outcome: rounds.Outcome) -> str:
    """One round."""
    plan = outcome.plan
    met = "" if outcome.met else " (not met)"
    went_on = f"went on after {outcome.recovery:.1f} s ({outcome.slowest})"
    told = f"{plan.number:4} {str(plan) + met:32} {went_on:36} clean +{outcome.cleaning:.1f} s"
    told += f" takeovers {outcome.takeovers} {outcome.seconds:5.1f} s"
    told += f"  {','.join(plan.kinds)}{' deleted ' + str(plan.deleted) if plan.deleted is not None else ''}"
    return "\n".join([told, *[f"     !! {one.kind}: {one.text}" for one in outcome.violations]])


class Summary:
    """All rounds together."""

    def __init__(self) -> None:
        self.outcomes: list[rounds.Outcome] = []

    def add(self, outcome: rounds.Outcome) -> None:
        """One more."""
        self.outcomes.append(outcome)

    @property
    def is_good(self) -> bool:
        """Whether nothing was wrong in any, and there was one."""
        return bool(self.outcomes) and all(one.is_good for one in self.outcomes)

    def table(self) -> str:
        """Counts by what was struck, and by the step in which it was."""
        head = f"{'':12}{'rounds':>8}" + "".join(f"{kind:>11}" for kind in KINDS)
        head += f"{'takeovers':>11}{'longest':>10}"
        rows = ["", head]
        rows += self._rows(lambda one: one.plan.victims)
        rows += ["", *self._rows(lambda one: (one.plan.step or "any time",))]
        rows += ["", _row("all", self.outcomes)]
        return "\n".join(rows)

    def _rows(self, of: Callable[[rounds.Outcome], Iterable[str]]) -> list[str]:
        names = sorted({name for one in self.outcomes for name in of(one)})
        return [_row(name, [one for one in self.outcomes if name in of(one)]) for name in names]


def _row(name: str, outcomes: list[rounds.Outcome]) -> str:
    found = [violation.kind for one in outcomes for violation in one.violations]
    told = f"{name:12}{len(outcomes):>8}" + "".join(f"{found.count(kind):>11}" for kind in KINDS)
    longest = max((one.recovery for one in outcomes), default=0)
    return told + f"{sum(one.takeovers for one in outcomes):>11}{longest:>8.1f} s"
