"""A round: imports are begun, something is struck, and everything must come out well."""

import dataclasses
import time

from tests.chaos import blows, checks, cluster, load, material, plans, records

#: Seconds that imports may take after the last blow: a lease, the sweep, and their own time.
_BOUND = 150.0
#: Seconds that a step is waited for.
_STEP_PATIENCE = 15.0
#: Seconds from a blow until the work went on, at most (with a lease of 30 s).
RECOVERY_BAR = 60.0


@dataclasses.dataclass(slots=True)
class Outcome:
    """What came of a round."""

    plan: plans.Plan
    #: Whether the step that was waited for was met.
    met: bool = True
    violations: list[blows.Violation] = dataclasses.field(default_factory=list)
    #: Longest time from the blow until a task went on.
    recovery: float = 0.0
    #: Which import that was, and in which step it was.
    slowest: str = ""
    #: Seconds until nothing was left over.
    cleaning: float = 0.0
    seconds: float = 0.0
    #: Times that a worker has begun a task beyond the first.
    takeovers: int = 0

    @property
    def is_good(self) -> bool:
        """Whether nothing was wrong."""
        return not self.violations


class Arena:
    """A running service, and rounds in it."""

    def __init__(
        self,
        whole: cluster.Cluster,
        shelf: material.Shelf,
        source: str,
        *,
        seed: int = 0,
        rate: int = load.SLOW,
        goes_on: bool = False,
    ) -> None:
        self.whole = whole
        self._load = load.Load(whole, shelf, source, rate)
        self._logs = checks.Logs(whole)
        self._seed = seed
        #: Whether there are rounds after one that was not well: then it leaves nothing to look at.
        self._goes_on = goes_on
        #: What earlier rounds have left over, which was said already.
        self._known: set[str] = set()
        self._load.origin  # noqa: B018 - made now, not in a round

    def run(self, plan: plans.Plan) -> Outcome:
        """One round; what it has made is deleted afterwards."""
        outcome, began = Outcome(plan), time.monotonic()
        with records.watching(self.whole.engine) as watch:
            ours = [self._load.begin(kind, watch) for kind in plan.kinds]
            struck = self._strike_all(plan, watch, ours, outcome)
            self._await_ends(ours, watch, outcome)
            self._judge(ours, watch, struck, outcome)
        if outcome.is_good or self._goes_on:
            self._clear(ours)
        outcome.seconds = time.monotonic() - began
        return outcome

    def _strike_all(
        self,
        plan: plans.Plan,
        watch: records.Records,
        ours: list[load.Import],
        outcome: Outcome,
    ) -> list[blows.Blow]:
        striker = blows.Striker(self.whole, watch, plan, self._seed)
        struck = []
        for number, victim in enumerate(plan.victims):
            target = self._await_moment(plan, watch, outcome) if number == 0 else None
            blow = striker.strike(victim, target)
            struck.append(blow)
            # Without the API or the database nobody can be asked to delete, until they are back.
            doomed = ours[plan.deleted] if number == 0 and plan.deleted is not None else None
            can_delete = victim not in ("api", "database")
            if doomed and can_delete:
                self._delete(doomed, watch)
            if victim == "broker":  # the answer is 202 all the same
                ours.append(self._load.begin("direct", watch))
            time.sleep(plan.pause)
            self.whole.start(*blow.down)
            if doomed and not can_delete:
                self._delete(doomed, watch)
        return struck

    def _await_moment(
        self, plan: plans.Plan, watch: records.Records, outcome: Outcome
    ) -> records.State | None:
        """Wait for the step, or for the time; the task that is in the step."""
        if plan.step is None:
            time.sleep(plan.delay)
            return None
        end = time.monotonic() + _STEP_PATIENCE
        while time.monotonic() < end:
            states = watch.latest()
            if found := self._in_step(states, plan.step):
                return found
            if len(states) >= len(plan.kinds) and all(one.has_ended for one in states):
                break
            time.sleep(0.01)
        outcome.met = False
        return None

    def _in_step(self, states: list[records.State], step: str) -> records.State | None:
        """A task that is in a step, `pending` being one: it waits because all workers are busy."""
        if step == "pending":
            settings = self.whole.settings
            busy = [one for one in states if one.status == "processing" and one.worker]
            if len(busy) < settings.concurrency * len(settings.workers):
                return None
            return next((one for one in states if one.status == "pending"), None)
        named = [one for one in states if one.step and not one.has_ended]
        return next((one for one in named if (one.step or "").split(":")[0] == step), None)

    def _delete(self, one: load.Import, watch: records.Records) -> None:
        if one.image_id and load.patiently(
            self.whole, "DELETE", f"/v2/images/{one.image_id}"
        ).status in (204, 404):
            one.deleted = True

    def _await_ends(
        self, ours: list[load.Import], watch: records.Records, outcome: Outcome
    ) -> None:
        """Until every task has ended; which ones have not is found by the checks."""
        end = time.monotonic() + _BOUND
        waiting = list(ours)
        while waiting and time.monotonic() < end:
            ended = {one.task_id: one for one in watch.latest() if one.has_ended}
            for one in [one for one in waiting if one.task_id in ended]:
                one.image_id = ended[one.task_id].image_id or one.image_id
                checks.note_inodes(self.whole, one)
                waiting.remove(one)
            time.sleep(0.05)
        outcome.takeovers = sum(max(0, one.attempt - 1) for one in watch.latest())

    def _judge(
        self,
        ours: list[load.Import],
        watch: records.Records,
        struck: list[blows.Blow],
        outcome: Outcome,
    ) -> None:
        found = outcome.violations
        for blow in struck:
            self._measure(blow, watch, outcome)
            found += blow.violations + blows.handed_on(blow, watch)
            found += blows.end_orphans(blow, 30.0)
        outcome.cleaning, left = checks.wait_until_clean(
            self.whole, self._wanted(ours), self._known, checks.TIDY_BOUND
        )
        self._known.update(left)
        found += checks.ended_alone(self.whole)
        found += [blows.Violation("left over", text) for text in left]
        for one in ours:
            found += checks.of_import(self.whole, one, watch)
        found += self._logs.violations(ours)

    def _measure(self, blow: blows.Blow, watch: records.Records, outcome: Outcome) -> None:
        """How long each task that was under way stood still."""
        for was in watch.before(blow.at):
            took = watch.went_on(was, blow.at, elsewhere=blow.struck(was))
            if took is not None and took > outcome.recovery:
                outcome.recovery, outcome.slowest = took, f"{was.step or was.status}"
        if outcome.recovery > RECOVERY_BAR:
            text = f"work went on {outcome.recovery:.0f} s after the blow"
            outcome.violations.append(blows.Violation("slow", text))

    def _wanted(self, ours: list[load.Import]) -> dict[str, set[str]]:
        """The files that may be where bytes are kept."""
        alive = [one for one in ours if not one.deleted]
        held = {
            store: {one.image_id for one in alive if store in one.stores}
            for store in cluster.STORES
        }
        held["fast"].add(self._load.origin)
        return held | {"staging": set(), "tasks": set()}

    def _clear(self, ours: list[load.Import]) -> None:
        for one in [one for one in ours if one.image_id]:
            load.patiently(self.whole, "DELETE", f"/v2/images/{one.image_id}")


def make_shelf(whole: cluster.Cluster, sizes: material.Sizes) -> material.Shelf:
    """What is imported, beside the service's own files."""
    return material.make(whole.state / "material", sizes)
