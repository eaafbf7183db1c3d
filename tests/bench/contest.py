"""The works done by both services in turn, several times."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence

from sqlalchemy.exc import SQLAlchemyError

from tests.bench import cost, limits, ours, peer, works
from tests.bench.contender import Contender
from tests.bench.ground import Ground
from tests.bench.rows import LIMIT, Row, Rows
from tests.bench.scene import Scene, Work
from tests.bench.trouble import Trouble


def hold(
    scene: Scene, wanted: Sequence[Work], rows: Rows, *, runs: int, has_peer: bool
) -> list[Trouble]:
    """Do every work; what could not be measured is returned, and the others are done all the same."""
    troubles: list[Trouble] = []
    for converts in (False, True):
        chosen = [one for one in wanted if one.run and one.converts == converts]
        if not chosen:
            continue
        print(f"starting the services{', which convert to qcow2' if converts else ''}", flush=True)
        with contextlib.ExitStack() as stack:
            starts = (peer.running, ours.running) if has_peer else (ours.running,)
            contenders = [stack.enter_context(s(scene.ground, converts=converts)) for s in starts]
            for work in chosen:
                troubles += _do(work, scene, contenders, rows, runs)
    if works.MEMORY in wanted:
        _sum_memory(rows, wanted)
    return troubles


def _do(
    work: Work, scene: Scene, contenders: Sequence[Contender], rows: Rows, runs: int
) -> list[Trouble]:
    """All runs of one work, or as many as went well."""
    doing = [one for one in contenders if work.has_peer or one.name == "gantry"]
    print(f"{work.name}: {work.what}", flush=True)
    try:
        for one in doing:
            scene.fill(one, work.images)
        for run in range(1, runs + 1):
            _look_at_limits(work, scene.ground, rows, run)
            for one in doing:
                _run(work, scene, one, rows, run)
    except (Trouble, OSError, AssertionError, SQLAlchemyError) as error:
        print(f"  not measured: {error}", flush=True)
        return [Trouble(f"{work.name}: {error}")]
    return []


def _look_at_limits(work: Work, ground: Ground, rows: Rows, run: int) -> None:
    for name in work.limits:
        os.sync()
        seconds = round(limits.measure(name, ground.file), 3)
        rows.add(
            {"work": work.name, "service": LIMIT, "run": run, "what": name, "seconds": seconds}
        )


def _run(work: Work, scene: Scene, contender: Contender, rows: Rows, run: int) -> None:
    assert work.run
    os.sync()  # what an earlier run has left in memory is not written at this one's expense
    print(f"  {time.strftime('%H:%M:%S')} run {run} {contender.name:7}", end="", flush=True)
    row = work.run(scene, contender)
    row |= {
        "peak_mib": cost.peak_mib(contender.importing()),
        "api_peak_mib": cost.peak_mib(contender.serving()),
    }
    rows.add({"work": work.name, "service": contender.name, "run": run} | row)
    rate = f"{row['per_second']:9.1f}/s" if "per_second" in row else f"{row['seconds']:9.3f} s"
    cpu = ", ".join(f"{name} {value:.2f}" for name, value in row["cpu"].items())
    print(f" {rate}   CPU s: {cpu}   others: {row['noise_cores']:.2f} cores", flush=True)


def _sum_memory(rows: Rows, wanted: Sequence[Work]) -> None:
    for service in ("glance", "gantry"):
        every = [row for work in wanted for row in rows.of(work.name, service)]
        if every:
            names = ("peak_mib", "api_peak_mib", "qemu_img_mib")
            most: Row = {name: _most(every, name) for name in names}
            rows.add({"work": works.MEMORY.name, "service": service, "run": 1} | most)


def _most(rows: Sequence[Row], name: str) -> float:
    found: Callable[[Row], float] = lambda row: float(row.get(name, 0))  # noqa: E731 - a key
    return max(map(found, rows))
