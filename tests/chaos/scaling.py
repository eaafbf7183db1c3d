"""`python -m tests.chaos.scaling`: what more workers bring to web-downloads whose server is the limit.

The server gives each connection 20 MB/s. Everything is kept in memory, so that no disk is the limit.
"""

import concurrent.futures
import contextlib
import dataclasses
import pathlib
import shutil
import sys
import tempfile
import time

import psutil

from tests.chaos import cluster, material, records, source

#: Bytes a second of one connection.
RATE = 20_000_000
#: Bytes of an image.
SIZE = 100_000_000
#: Images that each worker imports, one after the other.
EACH = 4
#: Seconds that a measurement may take.
_PATIENCE = 300.0


@dataclasses.dataclass(frozen=True, slots=True)
class Figure:
    """What so many workers did."""

    workers: int
    images: int
    seconds: float
    #: Share of the machine's processors that was in use, by whomever.
    load: float
    #: Processor time of the workers, seconds.
    effort: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.images * SIZE / self.seconds

    def line(self, one: "Figure") -> str:
        """A line of the table; `one` is what one worker did."""
        return (
            f"{self.workers:7} {self.images:7} {self.seconds:8.1f} s {self.rate / 1e6:8.1f} MB/s"
            f" {self.rate / one.rate:7.2f} x {self.load:9.0%}"
            f" {self.effort / (self.images * SIZE / 1e9):9.2f} s/GB"
        )


def measure(workers: int) -> Figure:
    """Import `EACH` images with each of so many worker processes, and look at the clock."""
    state = pathlib.Path(tempfile.mkdtemp(prefix="scaling-", dir="/dev/shm"))
    settings = cluster.Settings(database="postgresql", concurrency=workers, workers=("worker@a",))
    try:
        with contextlib.ExitStack() as stack:
            whole = stack.enter_context(cluster.running(settings, state))
            (state / "material").mkdir()
            image = material.random(state / "material" / "raw", SIZE)
            url = stack.enter_context(source.serving(image.file.parent, state / "source.log"))
            _import_all(whole, f"{url}/raw", workers)  # each process does once what it does once
            return _timed(whole, f"{url}/raw?rate={RATE}", workers)
    finally:
        shutil.rmtree(state)


def _timed(whole: cluster.Cluster, uri: str, workers: int) -> Figure:
    psutil.cpu_percent()
    began, spent = time.monotonic(), _effort(whole)
    _import_all(whole, uri, workers * EACH)
    seconds = time.monotonic() - began
    load, effort = psutil.cpu_percent() / 100, _effort(whole) - spent
    return Figure(workers, workers * EACH, seconds, load, effort)


def _effort(whole: cluster.Cluster) -> float:
    times = [one.cpu_times() for one in whole.family("worker@a")]
    return sum(one.user + one.system for one in times)


def _import_all(whole: cluster.Cluster, uri: str, images: int) -> None:
    """Until every task has ended well."""
    before = records.count(whole.engine, "tasks", "status = 'success'")

    def begin(image_id: str) -> None:
        whole.begin_import(image_id, "web-download", uri=uri)

    ids = [whole.create(disk_format="raw") for _ in range(images)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, ids))
    end = time.monotonic() + _PATIENCE
    while records.count(whole.engine, "tasks", "status = 'success'") < before + images:
        assert time.monotonic() < end, "the imports take too long"
        assert not records.count(whole.engine, "tasks", "status = 'failure'")
        time.sleep(0.05)


def main() -> int:
    """Print the table."""
    print("workers  images       time       rate    factor      load   processors", flush=True)
    figures: list[Figure] = []
    for workers in (1, 2, 4, 8):
        figures.append(measure(workers))
        print(figures[-1].line(figures[0]), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
