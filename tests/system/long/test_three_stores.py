"""1 GiB into three file stores costs what it costs into one, and two plain copies."""

import pathlib
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator

import pytest

from tests import service

SIZE = 1 << 30
NAMES = ("one", "two", "three")
ROUNDS = 3
#: What three stores may cost, in what one costs together with the plain copies.
FACTOR = 1.3


@pytest.fixture
def running() -> Iterator[service.Service]:
    """A service with three file stores, on a disk and not in memory."""
    state = pathlib.Path(tempfile.mkdtemp(prefix="three-stores-", dir="/var/tmp"))
    backends = ",".join(f"{name}:file" for name in NAMES)
    sections = "".join(f"[{name}]\nfilesystem_store_datadir = {state}/{name}\n" for name in NAMES)
    options = f"""
[DEFAULT]
enabled_backends = {backends}
{sections}
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[glance_store]
default_backend = one
[image_import_opts]
image_import_plugins = []
"""
    try:
        with service.running(state, "api", "worker", "beat", options=options) as whole:
            yield whole
    finally:
        shutil.rmtree(state)


def imported(running: service.Service, data: bytes, stores: tuple[str, ...]) -> float:
    """Seconds of an import of staged bytes from the request to the end of its task."""
    image_id = running.create(disk_format="raw")
    running.stage(image_id, data)
    began = time.monotonic()
    body = {"method": {"name": "glance-direct"}, "stores": list(stores)}
    assert running.ask("POST", f"/v2/images/{image_id}/import", body).status == 202
    task = running.wait_for_task(image_id, 300)
    seconds = time.monotonic() - began
    assert task["status"] == "success", task["message"]
    assert set(running.image(image_id)["stores"].split(",")) == set(stores)
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    return seconds


def copied(room: pathlib.Path) -> float:
    """Seconds that plain copies take, one after the other, until they are on the disk."""
    began = time.monotonic()
    for number in range(len(NAMES) - 1):
        target = room / f"copy-{number}"
        subprocess.run(["cp", "--reflink=never", room / "source", target], check=True)
        subprocess.run(["sync", target], check=True)
    seconds = time.monotonic() - began
    for number in range(len(NAMES) - 1):
        (room / f"copy-{number}").unlink()
    return seconds


def test_three_stores(running: service.Service) -> None:
    source = running.state / "source"
    with pathlib.Path("/dev/urandom").open("rb") as noise:
        data = noise.read(SIZE)
    source.write_bytes(data)
    subprocess.run(["sync", source], check=True)
    one, three, copies = [], [], []
    for _ in range(ROUNDS):
        one.append(imported(running, data, NAMES[:1]))
        copies.append(copied(running.state))
        three.append(imported(running, data, NAMES))
    medians = [statistics.median(some) for some in (one, three, copies)]
    told = "one store {:.2f} s, three stores {:.2f} s, two plain copies {:.2f} s".format(*medians)
    ratio = medians[1] / (medians[0] + medians[2])
    print(f"\n{told}: {ratio:.2f} times")
    assert ratio <= FACTOR, told
