"""The blows: what is done to the service in a round, and what it has to show for it at once."""

import dataclasses
import os
import random
import signal
import time
from collections.abc import Callable

import psutil
import redis

from deploy import broker
from tests import service
from tests.chaos import cluster, plans, records

#: Seconds beyond `drain_seconds` within which a worker that is asked to end has ended, and within which what
#: it hands back is taken up.
DRAIN_GRACE = 10.0
TAKEN_UP = 5.0
#: Seconds from a pause until everything is in other hands, beyond the lease.
_TAKEN_OVER = 30.0


@dataclasses.dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be."""

    #: lost, twice, left over, digest, slow or other.
    kind: str
    text: str


@dataclasses.dataclass(slots=True)
class Blow:
    """What was struck, and when."""

    victim: str
    at: float
    #: Processes that no longer work: another one has to go on with what they held.
    pids: set[int] = dataclasses.field(default_factory=set)
    #: What must be started again.
    down: list[str] = dataclasses.field(default_factory=list)
    violations: list[Violation] = dataclasses.field(default_factory=list)
    #: Processes that have lost their parent, and must go by themselves.
    orphans: list[psutil.Process] = dataclasses.field(default_factory=list)
    #: Seconds that a drained worker took to end.
    drained: float | None = None

    def struck(self, state: records.State) -> bool:
        """Whether a task was in the hands of what was struck."""
        return bool(state.worker) and int((state.worker or "").rpartition(":")[2]) in self.pids


class Striker:
    """Strikes one service; `dice` choose where nothing else does."""

    def __init__(
        self, whole: cluster.Cluster, watch: records.Records, plan: plans.Plan, seed: int
    ) -> None:
        self._whole = whole
        self._watch = watch
        self._plan = plan
        self._dice = random.Random(f"{seed}:{plan.number}:blows")  # noqa: S311
        self._blows: dict[str, Callable[[Blow, records.State | None], None]] = {
            "child": self._child,
            "worker": self._worker,
            "parent": self._parent,
            "pause": self._pause,
            "drain": self._drain,
            "flush": self._flush,
            "repeat": self._repeat,
        }

    def strike(self, victim: str, target: records.State | None) -> Blow:
        """Do it; where the victim is a worker it is that of `target`."""
        blow = Blow(victim, time.monotonic())
        self._blows.get(victim, self._server)(blow, target)
        return blow

    def _server(self, blow: Blow, _: records.State | None) -> None:
        self._whole.kill(blow.victim)
        blow.down.append(blow.victim)

    def _child(self, blow: Blow, target: records.State | None) -> None:
        name = self._chosen(target)
        children = self._family(name)[1:]
        wanted = [one for one in children if target and f":{one.pid}" in (target.worker or "")]
        doomed = (wanted or self._dice.sample(children, 1))[0]
        blow.pids.add(doomed.pid)
        blow.at = time.monotonic()
        doomed.kill()

    def _worker(self, blow: Blow, target: records.State | None) -> None:
        name = self._chosen(target)
        blow.pids.update(one.pid for one in self._family(name))
        blow.at = time.monotonic()
        self._whole.kill(name)
        blow.down.append(name)

    def _parent(self, blow: Blow, target: records.State | None) -> None:
        """Its children go on with what they have in hand, or do not: both are allowed."""
        name = self._chosen(target)
        parent, *blow.orphans = self._family(name)
        blow.at = time.monotonic()
        parent.kill()
        self._whole.processes.pop(name).wait(service.PATIENCE)
        blow.down.append(name)

    def _pause(self, blow: Blow, target: records.State | None) -> None:
        name = self._chosen(target)
        family = self._whole.family(name) if self._plan.tools_too else self._family(name)
        blow.pids.update(one.pid for one in family)
        blow.at = time.monotonic()
        cluster.signal_all(family, signal.SIGSTOP)
        held = [one for one in self._watch.before(blow.at) if blow.struck(one)]
        try:
            self._wait_for_others(blow, held)
        finally:
            cluster.signal_all(family, signal.SIGCONT)

    def _wait_for_others(self, blow: Blow, held: list[records.State]) -> None:
        end = time.monotonic() + self._whole.lease_seconds + _TAKEN_OVER
        while any(self._watch.left_hands(one, blow.at) is None for one in held):
            if time.monotonic() > end:
                blow.violations.append(Violation("lost", "nobody takes a paused worker's task"))
                return
            time.sleep(0.1)

    def _drain(self, blow: Blow, target: records.State | None) -> None:
        name = self._chosen(target)
        blow.pids.update(one.pid for one in self._family(name))
        process = self._whole.processes[name]
        bound = self._whole.drain_seconds + DRAIN_GRACE
        blow.at = time.monotonic()
        process.send_signal(signal.SIGTERM)
        blow.down.append(name)
        while process.poll() is None:
            if time.monotonic() > blow.at + bound:
                text = f"{name} has not ended {bound:.0f} s after SIGTERM"
                blow.violations.append(Violation("other", text))
                self._whole.kill(name)
                return
            time.sleep(0.05)
        self._whole.processes.pop(name)
        blow.drained = time.monotonic() - blow.at

    def _flush(self, blow: Blow, _: records.State | None) -> None:
        if self._whole.rabbitmq:
            for name in self._whole.rabbitmq.control("list_queues", "name").split():
                if name in ("fetch", "convert", "upkeep"):
                    self._whole.rabbitmq.control("purge_queue", name)
            return
        with redis.Redis(unix_socket_path=str(broker.socket_path(self._whole.state))) as client:
            client.flushall()

    def _repeat(self, blow: Blow, _: records.State | None) -> None:
        for state in self._watch.latest():
            self._whole.ring(state.task_id, state.queue, 10)

    def _chosen(self, target: records.State | None) -> str:
        """The worker that has the target; else one at random."""
        owner = self._whole.owner_of(target.worker) if target else None
        up = [one for one in self._whole.settings.workers if one in self._whole.processes]
        return owner or self._dice.choice(up)

    def _family(self, name: str) -> list[psutil.Process]:
        """A worker and its children, without the tools that they have started."""
        return [one for one in self._whole.family(name) if not cluster.is_tool(one)]


def handed_on(blow: Blow, watch: records.Records) -> list[Violation]:
    """What a drained worker had and did not end: whether others took it up in time."""
    found = []
    for state in watch.before(blow.at):
        took = watch.left_hands(state, blow.at) if blow.struck(state) else None
        if took is not None and blow.drained is not None and took > blow.drained + TAKEN_UP:
            late = took - blow.drained
            found.append(Violation("slow", f"taken up {late:.1f} s after its worker had ended"))
    return found


def end_orphans(blow: Blow, seconds: float) -> list[Violation]:
    """Children whose parent was killed must be gone by themselves; those that are not are ended here."""
    _, alive = psutil.wait_procs(blow.orphans, seconds)
    for one in alive:
        os.kill(one.pid, signal.SIGKILL)
    if not alive:
        return []
    return [Violation("other", f"{len(alive)} children live on without the killed parent")]
