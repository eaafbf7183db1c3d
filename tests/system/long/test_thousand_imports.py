"""A thousand imports queued at once: the API stays quick, memory stays bounded, another project is served."""

import concurrent.futures
import contextlib
import pathlib
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Self

import psutil
import pytest

from tests import service
from tests.chaos import cluster, records

IMPORTS = 1000
#: One in so many is large.
LARGE_EACH = 50
SMALL, LARGE = 64 << 10, 8 << 20
#: What GET /v2/images may take while they drain, in its 99th percentile, to what it takes without load.
SLOWER = 3.0
#: Seconds until another project's one import has ended.
OTHERS_TURN = 10.0
MEMORY = 300 << 20
#: Seconds between two requests of the one who watches, and between two looks at memory.
_PAUSE, _LOOK = 0.03, 2.0
#: Requests of the measurement without load.
_CALM = 400
#: Seconds that all of it may take.
_PATIENCE = 1200.0


class Latencies:
    """Milliseconds that GET /v2/images took, one request after the other."""

    def __init__(self, whole: service.Service) -> None:
        self._whole = whole
        self.taken: list[float] = []

    def ask(self) -> None:
        """Once."""
        began = time.perf_counter()
        answer = self._whole.ask("GET", "/v2/images")
        self.taken.append((time.perf_counter() - began) * 1000)
        assert answer.status == 200
        time.sleep(_PAUSE)

    @property
    def median(self) -> float:
        return statistics.median(self.taken)

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.taken, n=100)[98]

    def __str__(self) -> str:
        return f"median {self.median:.1f} ms, p99 {self.p99:.1f} ms, {len(self.taken)} requests"


class Memory(threading.Thread):
    """Samples what each process holds, for the length of its `with` block."""

    def __init__(self, whole: cluster.Cluster) -> None:
        super().__init__(daemon=True)
        self._whole = whole
        self.over = threading.Event()
        self.seen: dict[int, list[int]] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def run(self) -> None:
        while not self.over.wait(_LOOK):
            for pid, held in cluster.rss(self._processes()).items():
                self.seen.setdefault(pid, []).append(held)

    def _processes(self) -> list[psutil.Process]:
        names = ("api", "beat", *self._whole.settings.workers)
        return [one for name in names for one in self._whole.family(name)]

    @property
    def most(self) -> int:
        return max(max(held) for held in self.seen.values())

    def grown(self) -> int:
        """Bytes by which the process that grew most has, from its second quarter to its last."""
        long = [held for held in self.seen.values() if len(held) >= 8]
        return max(_median_of(held, 3) - _median_of(held, 1) for held in long)


def _median_of(held: list[int], quarter: int) -> int:
    size = len(held) // 4
    return int(statistics.median(held[quarter * size : (quarter + 1) * size]))


@pytest.fixture(scope="module")
def whole() -> Iterator[cluster.Cluster]:
    """Everything on PostgreSQL, with the options of the default."""
    state = pathlib.Path(tempfile.mkdtemp(prefix="thousand-", dir="/tmp"))
    settings = cluster.Settings(database="postgresql", workers=("worker@a",))
    with cluster.running(settings, state) as made:
        yield made
    shutil.rmtree(state)


@contextlib.contextmanager
def other_project(whole: cluster.Cluster, state: pathlib.Path) -> Iterator[service.Service]:
    """A second API of the same service, whose callers are of another project."""
    other = service.Service(state)
    other.environment |= {
        name: whole.environment[name]
        for name in ("OS_GLANCE_CONFIG_FILES", "OS_GANTRY__STATE_PATH")
    }
    other.environment |= {"OS_NOAUTH__PROJECT_ID": "other", "GANTRY_API_PROCESSES": "1"}
    other.start("api")
    try:
        yield other
    finally:
        other.stop_all()


def stage_all(whole: service.Service) -> list[str]:
    """Images with their bytes in staging."""

    def stage(number: int) -> str:
        image_id = whole.create(disk_format="raw", name=f"image {number}")
        whole.stage(image_id, bytes(SMALL if number % LARGE_EACH else LARGE))
        return image_id

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return list(pool.map(stage, range(IMPORTS)))


def drain(whole: cluster.Cluster, busy: Latencies) -> None:
    """Ask for lists until every import has ended."""
    end = time.monotonic() + _PATIENCE
    while records.count(whole.engine, "tasks", "status IN ('pending', 'processing')"):
        assert time.monotonic() < end, "the imports take too long"
        for _ in range(20):
            busy.ask()


def other_import(other: service.Service) -> float:
    """Seconds that one import of the other project takes from its request to its end."""
    image_id = other.create(disk_format="raw")
    other.stage(image_id, bytes(SMALL))
    began = time.monotonic()
    other.begin_import(image_id)
    assert other.wait_for_task(image_id, _PATIENCE)["status"] == "success"
    return time.monotonic() - began


def test_a_thousand(whole: cluster.Cluster, tmp_path: pathlib.Path) -> None:
    calm, busy, memory = Latencies(whole), Latencies(whole), Memory(whole)
    with other_project(whole, tmp_path) as other, concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = stage_all(whole)
        for _ in range(_CALM):
            calm.ask()
        whole.stop("worker@a")
        list(pool.map(whole.begin_import, ids))
        whole.start("worker@a")
        began = time.monotonic()
        theirs = pool.submit(other_import, other)
        with memory:
            drain(whole, busy)
        seconds, waited = time.monotonic() - began, theirs.result()
    told = (
        f"\n{IMPORTS} imports in {seconds:.0f} s, the other project's one in {waited:.1f} s"
        f"\nwithout load: {calm}\nwhile they drain: {busy}"
        f"\nmost memory of a process {memory.most >> 20} MiB, grown by {memory.grown() >> 20} MiB"
    )
    print(told)
    assert records.count(whole.engine, "images", "status = 'active'") == IMPORTS + 1, told
    assert waited <= OTHERS_TURN, told
    assert busy.p99 <= SLOWER * calm.p99, told
    assert memory.most < MEMORY, told
    assert memory.grown() < 16 << 20, told
