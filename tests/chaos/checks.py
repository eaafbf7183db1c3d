"""What must be true when a round is over: of each import, and of everything that is left."""

import contextlib
import hashlib
import pathlib
import re
import time
from collections import Counter

from tests.chaos import cluster, load, records
from tests.chaos.blows import Violation

#: Seconds after which upkeep has removed what a worker left in staging that died behind its last record
#: (`images.upkeep`: such files are left alone for 60 s).
TIDY_BOUND = 100.0
#: Tables of ours that hold something only while a task is under way.
_TABLES = ("gantry_reservations", "gantry_task_secrets", "gantry_flow_states")
_LOCK = "name = 'os_glance_import_task' AND NOT deleted"
_MARKS = ("os_glance_importing_to_stores", "os_glance_failed_import")
_SAID = re.compile(rb"\[[^\]]*: \w+/([\w-]+)\] (.*)")
_BEGUN = re.compile(rb"Task ([0-9a-f-]{36}), image")
_RETURNED = re.compile(rb"Task run-import\[[^\]]*\] succeeded in .*'active'")


def of_import(whole: cluster.Cluster, one: load.Import, watch: records.Records) -> list[Violation]:
    """One import after it has ended: its record, its bytes, its task, its locations."""
    if one.deleted:
        return _deleted(whole, one)
    tasks = watch.of(one.image_id)
    ended = [task.status for task in tasks]
    if ended != ["success"]:
        return [Violation("lost", f"{one.kind}: tasks ended {ended}: {_message(whole, one)}")]
    return [
        Violation(kind, f"{one.kind} {one.image_id}: {text}")
        for kind, text in _record(whole, one) + _data(whole, one) + _places(whole, one)
    ]


def _message(whole: cluster.Cluster, one: load.Import) -> str:
    answer = load.patiently(whole, "GET", f"/v2/tasks/{one.task_id}")
    return str(answer.json().get("message"))


def _deleted(whole: cluster.Cluster, one: load.Import) -> list[Violation]:
    answer = load.patiently(whole, "GET", f"/v2/images/{one.image_id}")
    if answer.status == 404:
        return []
    return [Violation("other", f"{one.kind}: a deleted image answers {answer.status}")]


def _record(whole: cluster.Cluster, one: load.Import) -> list[tuple[str, str]]:
    """What the image's record says."""
    record = load.patiently(whole, "GET", f"/v2/images/{one.image_id}").json()
    found = []
    if record.get("status") != "active":
        found.append(("lost", f"status {record.get('status')} although its task is well"))
    for name, value in (("os_hash_value", one.expected.sha512), ("checksum", one.expected.md5)):
        if record.get(name) != value:
            found.append(("digest", f"{name} is not that of the source"))
    if record.get("size") != one.expected.size:
        found.append(("digest", f"size {record.get('size')}, not {one.expected.size}"))
    if "os_glance_import_task" in record or any(record.get(name) for name in _MARKS):
        found.append(("left over", "a lock, or a store that is still to come"))
    return found


def _data(whole: cluster.Cluster, one: load.Import) -> list[tuple[str, str]]:
    """The bytes: those that the API gives out, and those in each store."""
    answer = load.patiently(whole, "GET", f"/v2/images/{one.image_id}/file")
    found = []
    if hashlib.sha512(answer.data).hexdigest() != one.expected.sha512:
        found.append(("digest", "the downloaded bytes are not those of the source"))
    for store in one.stores:
        file = whole.state / store / one.image_id
        with contextlib.suppress(OSError), file.open("rb") as data:
            if hashlib.file_digest(data, "sha512").hexdigest() == one.expected.sha512:
                continue
        found.append(("digest", f"the store {store} does not have the bytes"))
    return found


def _places(whole: cluster.Cluster, one: load.Import) -> list[tuple[str, str]]:
    """One location a store, written down once, and its file not written again after the end."""
    found = []
    rows = records.locations(whole.engine, one.image_id)
    if sorted(rows) != [("active", False)] * one.locations:
        found.append(("twice", f"locations {rows}, expected {one.locations}"))
    for store, inode in one.inodes.items():
        if _inode(whole.state / store / one.image_id) != inode:
            found.append(("twice", f"the store {store} was written to after the end"))
    return found


def note_inodes(whole: cluster.Cluster, one: load.Import) -> None:
    """Remember which files an import has made, as soon as it has ended."""
    if not one.inodes:
        one.inodes = {store: _inode(whole.state / store / one.image_id) for store in one.stores}


def _inode(file: pathlib.Path) -> int:
    try:
        return file.stat().st_ino
    except OSError:
        return 0


class Logs:
    """Counts, in the workers' logs, how often each task's flow was run to its end."""

    def __init__(self, whole: cluster.Cluster) -> None:
        self._whole = whole
        self._read = dict.fromkeys(whole.settings.workers, 0)
        self._running: dict[tuple[str, bytes], str] = {}
        self.ends: Counter[str] = Counter()

    def read(self) -> None:
        """Go on where the last reading ended."""
        for name in self._read:
            said = self._whole.log(name)[self._read[name] :]
            said = said[: said.rfind(b"\n") + 1]
            self._read[name] += len(said)
            for line in said.splitlines():
                self._hear(name, line)

    def _hear(self, name: str, line: bytes) -> None:
        if not (found := _SAID.match(line)):
            return
        process, text = found.groups()
        if begun := _BEGUN.match(text):
            self._running[name, process] = begun[1].decode()
        elif _RETURNED.match(text):
            self.ends[self._running.pop((name, process), "")] += 1

    def violations(self, ours: list[load.Import]) -> list[Violation]:
        """Tasks that were run to their end more than once."""
        self.read()
        if not self.ends:
            return [Violation("other", "the logs do not tell which tasks were run to their end")]
        found = [one for one in ours if self.ends[one.task_id] > 1]
        return [
            Violation("twice", f"{one.kind} {one.task_id} has ended well twice") for one in found
        ]


def ended_alone(whole: cluster.Cluster) -> list[Violation]:
    """Processes that have ended although nobody has struck them; they are started again."""
    ended = [name for name, one in whole.processes.items() if one.poll() is not None]
    whole.start(*ended)
    return [Violation("other", f"{name} has ended by itself") for name in ended]


def left_over(whole: cluster.Cluster, wanted: dict[str, set[str]]) -> list[str]:
    """Everything that should not be there; `wanted` are the images that each store is to hold."""
    found = []
    for name, images in wanted.items():
        there = {one.name for one in (whole.state / name).glob("*")}
        found += [f"{name}/{one}" for one in sorted(there - images)]
    found += [f"{name} {key}" for name in _TABLES for key in records.keys(whole.engine, name)]
    if records.count(whole.engine, "image_properties", _LOCK):
        found.append("locks")
    if records.count(whole.engine, "tasks", "status IN ('pending', 'processing')"):
        found.append("tasks that have not ended")
    if whole.tools():
        found.append("qemu-img")
    return found


def wait_until_clean(
    whole: cluster.Cluster, wanted: dict[str, set[str]], known: set[str], seconds: float
) -> tuple[float, list[str]]:
    """Seconds until nothing is left over that is not `known`, and what is after the most that is allowed."""
    began = time.monotonic()
    while found := [one for one in left_over(whole, wanted) if one not in known]:
        if time.monotonic() - began > seconds:
            break
        time.sleep(0.2)
    return time.monotonic() - began, found
