"""Every hostile file, imported by a real worker: what it takes of the machine, and how well it goes on.

One worker process, with every plugin that opens files. For each file: the task ends with words that name the
cause, or well where the file harms nobody; the worker, and what it starts, stay within their memory; nothing
is left, no process, no byte, no lease; and the same process completes a harmless import at once.

`pytest -s` prints what each file has cost.
"""

import dataclasses
import functools
import pathlib
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from tests import service
from tests.integration import image_files
from tests.security import crafted, packed_bombs, vitals

MIB = 1 << 20
#: KiB that a worker's process may ever hold, and the address space of what it starts.
WORKER, TOOL = 250 << 10, 1024 << 10
#: How the causes are named of what is wrong with a file.
REFUSED = (
    "cannot open|damaged or cut short|failed a safety check|more memory|image_size_cap|is encrypted"
)
#: Seconds that a conversion may take; and within which each task must have ended, on a busy machine.
CONVERSION, DEADLINE = 30, 120
OPTIONS = f"""
[DEFAULT]
image_size_cap = {2 << 30}
# So that reservations are made.
user_storage_quota = 1TB
[image_import_opts]
image_import_plugins = [image_decompression,image_conversion]
[gantry]
heartbeat_seconds = 0.2
conversion_timeout = {CONVERSION}
qemu_img_memory_mib = {TOOL >> 10}
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """A file, and what is to become of it."""

    name: str
    make: Callable[[], bytes]
    #: The `disk_format` of its image.
    declared: str
    #: What the task's message says where it fails; "" where the file harms nobody.
    says: str = ""
    #: KiB that the worker may hold for it besides.
    beside: int = 0


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one file has taken of the machine; memory in KiB."""

    name: str
    size: int
    said: str
    seconds: float
    worker: int
    tool: int


class Scene:
    """The service, its one worker process, and what the files before have cost."""

    def __init__(self, whole: service.Service, harmless: bytes) -> None:
        self.whole = whole
        self.costs: list[Cost] = []
        self._harmless = harmless
        (self.worker,) = [one.pid for one in whole.family("worker")[1:]]

    def bring_in(self, data: bytes, declared: str) -> dict[str, Any]:
        """Import it; the task when it has ended. The image is deleted."""
        image_id = self.whole.create(disk_format=declared)
        self.whole.stage(image_id, data)
        self.whole.begin_import(image_id)
        task = self.whole.wait_for_task(image_id, DEADLINE)
        status = self.whole.image(image_id)["status"]
        assert status == ("active" if task["status"] == "success" else "queued")
        if status == "queued":
            service.wait_for(lambda: not self.whole.left_over(), "every byte to be gone")
        assert self.whole.ask("DELETE", f"/v2/images/{image_id}").status == 204
        return task

    def measure(self, case: Case, data: bytes) -> Cost:
        """Import a hostile file, and look at what is running meanwhile."""
        vitals.forget(self.worker)
        begun = time.monotonic()
        with vitals.Onlooker(self.worker) as seen:
            task = self.bring_in(data, case.declared)
        took = time.monotonic() - begun
        said = task["message"] if task["status"] == "failure" else ""
        tool = seen.peaks.get("qemu-img", 0)
        cost = Cost(case.name, len(data), said, took, vitals.peak(self.worker), tool)
        self.costs.append(cost)
        assert seen.limits.get("qemu-img", {TOOL}) == {TOOL}
        return cost

    def check_well(self) -> None:
        """Nothing is left of what was there, and the same process goes on with the next import."""
        service.wait_for(lambda: not vitals.children(self.worker), "every program to be gone")
        assert self.bring_in(self._harmless, "qcow2")["status"] == "success"
        assert [one.pid for one in self.whole.family("worker")[1:]] == [self.worker]
        # A task says that it has ended before its worker has put everything away.
        service.wait_for(lambda: not self.whole.left_over(), "every byte to be gone")
        service.wait_for(lambda: not self._held(), "every lease and reservation to be given back")

    def _held(self) -> list[Any]:
        """Leases, reservations, and states of flows that somebody still has."""
        engine = sa.create_engine(f"sqlite:///{self.whole.state}/gantry.sqlite")
        try:
            with engine.connect() as connection:
                return [
                    row
                    for what in (
                        "task_id FROM gantry_task_runs WHERE worker IS NOT NULL",
                        "task_id FROM gantry_flow_states",
                        "* FROM gantry_reservations",
                    )
                    for row in connection.execute(sa.text(f"SELECT {what}"))
                ]
        finally:
            engine.dispose()

    def table(self) -> str:
        """What the files have cost, the greediest first."""
        lines = [f"{'KiB':>8} {'s':>6} {'worker':>7} {'qemu-img':>8} MiB"]
        for one in sorted(self.costs, key=lambda one: -max(one.worker, one.tool)):
            said = one.said or "success"
            lines.append(
                f"{one.size >> 10:8} {one.seconds:6.1f} {one.worker >> 10:7} {one.tool >> 10:8} "
                f"{one.name}: {said[:110]}"
            )
        return "\n".join(lines)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """API and worker with one process; nobody tidies up, so the worker has to."""
    state = tmp_path_factory.mktemp("gantry")
    harmless = crafted.filled("qcow2")
    with service.running(state, options=OPTIONS) as whole:
        whole.environment["GANTRY_WORKER_CONCURRENCY"] = "1"
        whole.start("api", "worker")
        made = Scene(whole, harmless)
        made.check_well()  # what the first import loads is no file's doing
        yield made
        print(f"\n{made.table()}")


def check(scene: Scene, case: Case) -> None:
    """Import a file: its outcome, its cost, and that the worker is well afterwards."""
    cost = scene.measure(case, case.make())
    assert re.search(case.says, cost.said) if case.says else not cost.said, cost.said
    assert "/" not in cost.said, "a path may have got into the message"
    assert cost.worker <= WORKER + case.beside
    assert cost.tool <= TOOL
    scene.check_well()


def packed() -> Iterator[Case]:
    """Packed files."""
    for kind in packed_bombs.PACK:
        bomb = functools.partial(packed_bombs.bomb, kind)
        yield Case(f"{kind} bomb", bomb, "raw", "decompression_ratio")
        cut = functools.partial(packed_bombs.cut, kind)
        yield Case(f"{kind} cut short", cut, "raw", "cut short")
    for kind in packed_bombs.STREAMS:
        late = functools.partial(packed_bombs.late_bomb, kind)
        yield Case(f"{kind} bomb behind 5000 empty ones", late, "raw", "decompression_ratio")
    yield Case("gzip in gzip in gzip", packed_bombs.nested, "raw")
    yield Case("gzip with a name of 8 MiB", packed_bombs.named_at_length, "raw")
    yield Case("zip of 80000", packed_bombs.zip_of_many, "raw", "80000 members")
    yield Case("zip of 20000 that are one", packed_bombs.zip_overlapping, "raw", "20000 members")
    yield Case("zip that claims 2^62 bytes", lambda: packed_bombs.zip_claiming(1 << 62), "raw")
    for claim in (60, 1 << 50):
        zip64 = functools.partial(packed_bombs.zip64, 1 << 40, claim)
        yield Case(f"zip64 of 2^40 in {claim} bytes", zip64, "raw", "damaged")


def windows() -> Iterator[Case]:
    """Packed files that say how much of what came out must be at hand."""
    memory = "too much memory"
    for name, dictionary, says in (
        ("64 MiB", 28, ""),
        ("192 MiB", 31, memory),
        ("4 GiB", 40, memory),
    ):
        xz = functools.partial(packed_bombs.xz, dictionary, 200)
        yield Case(f"xz with a dictionary of {name}", xz, "raw", says)
    for window in (28, 31):
        zstd = functools.partial(packed_bombs.zstd, window, 160)
        yield Case(f"zstd with a window of 2^{window}", zstd, "raw", memory)
    zstd = functools.partial(packed_bombs.zstd, 27, 160)
    yield Case("zstd with a window of 2^27", zstd, "raw", beside=70 << 10)
    yield Case("zstd in one piece of 1 TiB", packed_bombs.zstd_in_one, "raw", memory)


def claims() -> Iterator[Case]:
    """Disk images with one number that lies; most are refused, the others come out as some disk."""
    for makes, kind, table in (
        (crafted.qcow2, "qcow2", crafted.QCOW2),
        (crafted.vmdk, "vmdk", crafted.VMDK),
        (crafted.vdi, "vdi", crafted.VDI),
        (crafted.vhd, "vhd", crafted.VHD),
        (crafted.vhdx, "vhdx", crafted.VHDX),
    ):
        for what in table:
            name = f"{kind}: {what}"
            says = "" if name in crafted.HARMLESS else REFUSED
            yield Case(name, functools.partial(makes, what), kind, says)


def shapes() -> Iterator[Case]:
    """Disk images that are built to be followed for ever, or to become much."""
    for level in (1, 2):
        circle = functools.partial(crafted.circular_qcow2, level)
        yield Case(f"qcow2: table {level} in circles", circle, "qcow2", "damaged")
    ways = functools.partial(crafted.qcow2_of_many_ways, 1_500_000)
    yield Case("qcow2: one table 1,500,000 times", ways, "qcow2", "time to read|long to read")
    yield Case("qcow2: 256 MiB packed", lambda: crafted.packed_disk(256), "qcow2")
    yield Case("qcow2: names a file", crafted.backed, "qcow2", "backing_file")
    yield Case("qcow2: names a file, as raw", crafted.backed, "raw", "backing_file")
    yield Case("qcow2: its data elsewhere", crafted.outside, "qcow2", "data_file")
    yield Case("vmdk: names a parent", crafted.child, "vmdk", "parent")
    yield Case("vmdk: names its data", crafted.flat, "vmdk", "create_type")
    yield Case("vmdk: 100000 extents", crafted.vmdk_of_many_extents, "vmdk", "extents")
    yield Case("vhdx: a log", crafted.vhdx_with_log, "vhdx", "log")
    yield Case("iso: in circles", crafted.circular_iso, "iso")
    yield Case("gpt: 2^32 entries", lambda: crafted.gpt(0xFFFFFFFF, 128), "raw")
    yield Case("gpt: a million large entries", lambda: crafted.gpt(1_000_000, 1 << 31), "raw")
    yield Case("luks: 2 TiB of header", lambda: crafted.luks(0xFFFFFFFF), "raw", "virtual_size")
    yield Case("luks: keys of 4 GiB", lambda: crafted.luks(8, 0xFFFFFFFF), "raw", "data are luks")
    yield Case("qed: the largest tables", crafted.qed, "raw", "banned")
    yield Case("raw: 512 MiB of nothing", lambda: bytes(512 * MIB), "raw")


def cut() -> Iterator[Case]:
    """Good images, cut where their parts end; `whole` are those that have lost no data, or only zeros."""
    ends = (4, 512, 1024, 64 << 10, 192 << 10, 1 << 20, 2 << 20, -512, -1)
    whole = {("vmdk", -512), ("vmdk", -1), ("vhd", -512), ("vhd", -1), ("vhdx", -1)}
    for kind in ("qcow2", "vmdk", "vdi", "vhd", "vhdx"):
        for left in ends:
            made = functools.partial(crafted.cut, kind, left)
            says = "" if (kind, left) in whole else f"{REFUSED}|but the data are raw"
            yield Case(f"{kind}: cut at {left}", made, kind, says)


def named(case: Case) -> str:
    """A name for a test."""
    return case.name


CASES = [*packed(), *windows(), *claims(), *shapes(), *cut()]


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_hostile_file(scene: Scene, case: Case) -> None:
    check(scene, case)


@pytest.mark.parametrize(
    "row",
    [row for row in image_files.rows() if row["outcome"] != "active"],
    ids=lambda row: f"{pathlib.PurePath(row['path']).name}-{row['declared']}",
)
def test_a_file_of_others(scene: Scene, tmp_path: pathlib.Path, row: dict[str, str]) -> None:
    """Those of the corpus that are refused."""
    file = image_files.image(row["package"], row["path"], tmp_path)
    name = f"{file.name}, as {row['declared']}"
    check(scene, Case(name, file.read_bytes, row["declared"], re.escape(row["outcome"])))
