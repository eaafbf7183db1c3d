"""Rounds of chaos in a service that stands for as long: one process is killed in one step of an import."""

import contextlib
import shutil
from collections.abc import Iterator

import pytest

from tests.chaos import cluster, material, plans, report, rounds, source

VICTIMS = ("child", "worker", "api", "broker", "database")
#: The imports in which each step is met; the last one of `pending` finds all workers busy.
STEPS = {
    "pending": ("download", "rangeless", "location", "legacy", "direct"),
    "fetch": ("download", "direct"),
    "convert": ("convert",),
    "digest": ("convert",),
    "store": ("convert",),
}
#: Large enough for each step to last.
SIZES = material.Sizes(qcow2=256)
#: A step may have passed before it was seen, on a machine that is busy with something else.
_TRIES = 3


class Ring:
    """Rounds in one service, and what they came to."""

    def __init__(self, arena: rounds.Arena) -> None:
        self._arena = arena
        self.summary = report.Summary()

    def strike(self, victim: str, step: str) -> rounds.Outcome:
        """One round in which the step is met."""
        for _ in range(_TRIES):
            outcome = self._once(victim, step)
            if outcome.met or not outcome.is_good:
                return outcome
        pytest.fail(f"the step {step} was never seen", pytrace=False)

    def _once(self, victim: str, step: str) -> rounds.Outcome:
        number = len(self.summary.outcomes) + 1
        plan = plans.Plan(number, (victim,), STEPS[step], step=step, pause=1.0)
        outcome = self._arena.run(plan)
        self.summary.add(outcome)
        print(report.line(outcome))
        return outcome


@contextlib.contextmanager
def standing(settings: cluster.Settings) -> Iterator[Ring]:
    """A service with everything that is imported; its directory stays where something was wrong."""
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(cluster.running(settings))
        shelf = material.make(whole.state / "material", SIZES)
        url = stack.enter_context(source.serving(shelf.directory, whole.state / "source.log"))
        ring = Ring(rounds.Arena(whole, shelf, url, goes_on=True))
        yield ring
        print(ring.summary.table())
    if ring.summary.is_good:
        shutil.rmtree(whole.state)
