"""The works done by both services in turn, several times."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence

from sqlalchemy.exc import SQLAlchemyError

from tests.bench import cost, limits, ours, peer, works, wrk
from tests.bench.contender import Contender
from tests.bench.rows import LIMIT, Rows
from tests.bench.scene import Scene, Work
from tests.bench.trouble import Trouble

#: Seconds for which a service that has just started is asked before anything is measured.
_WARM = 5


@dataclasses.dataclass(frozen=True)
class Contest:
    """Where the works are done, how often, and where the rows go."""

    scene: Scene
    rows: Rows
    calm: cost.Calm
    runs: int

    def hold(self, wanted: Sequence[Work], has_peer: bool) -> list[Trouble]:
        """Do every work; what could not be measured is returned, and the others are done all the same."""
        troubles: list[Trouble] = []
        starts = (peer.running, ours.running) if has_peer else (ours.running,)
        for converts in (False, True):
            chosen = [one for one in wanted if one.run and one.converts == converts]
            if not chosen:
                continue
            print(f"starting{', to convert to qcow2' if converts else ''}", flush=True)
            with contextlib.ExitStack() as stack:
                ground = self.scene.ground
                running = [stack.enter_context(one(ground, converts=converts)) for one in starts]
                for one in running:
                    wrk.warm(one.client, "/v2/images", seconds=_WARM)
                for work in chosen:
                    troubles += self._do(work, running)
        self._sum_memory(wanted)
        return troubles

    def _do(self, work: Work, running: Sequence[Contender]) -> list[Trouble]:
        """All runs of one work, or as many as went well."""
        doing = [one for one in running if work.has_peer or one.name == "gantry"]
        print(f"{work.name}: {work.what}", flush=True)
        try:
            for one in doing:
                self.scene.fill(one, work.images)
            for run in range(1, self.runs + 1):
                self._look_at_limits(work, run)
                for one in doing:
                    self._run(work, one, run)
        except (Trouble, OSError, AssertionError, SQLAlchemyError) as error:
            print(f"  not measured: {error}", flush=True)
            return [Trouble(f"{work.name}: {error}")]
        return []

    def _settle(self) -> None:
        """What an earlier run has left in memory is not written at the next one's expense."""
        os.sync()
        self.calm.wait()

    def _look_at_limits(self, work: Work, run: int) -> None:
        for name in work.limits:
            os.sync()
            for what, seconds in limits.measure(name, self.scene.file).items():
                found = {"run": run, "what": what, "seconds": round(seconds, 3)}
                self.rows.add({"work": work.name, "service": LIMIT} | found)

    def _run(self, work: Work, one: Contender, run: int) -> None:
        assert work.run
        self._settle()
        print(f"  {time.strftime('%H:%M:%S')} run {run} {one.name:7}", end="", flush=True)
        row = work.run(self.scene, one)
        row |= {
            "peak_mib": cost.peak_mib(one.importing()),
            "api_peak_mib": cost.peak_mib(one.serving()),
        }
        self.rows.add({"work": work.name, "service": one.name, "run": run} | row)
        rate = f"{row['per_second']:9.1f}/s" if "per_second" in row else f"{row['seconds']:9.3f} s"
        cpu = ", ".join(f"{name} {value:.2f}" for name, value in row["cpu"].items())
        print(f" {rate}   CPU s: {cpu}   others: {row['noise_cores']:.2f} cores", flush=True)

    def _sum_memory(self, wanted: Sequence[Work]) -> None:
        """The row of the work that consists of the others' rows."""
        for service in ("glance", "gantry"):
            every = [row for work in wanted for row in self.rows.of(work.name, service)]
            if every and works.MEMORY in wanted:
                names = ("peak_mib", "api_peak_mib", "qemu_img_mib")
                most = {name: max(row.get(name, 0.0) for row in every) for name in names}
                self.rows.add({"work": works.MEMORY.name, "service": service, "run": 1} | most)
