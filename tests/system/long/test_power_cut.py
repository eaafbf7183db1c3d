"""The power is cut: every image that anybody was told to be active is whole, and nothing is stuck.

The whole state of a service lies on disks of its own (`loopback`). While clients bring images in, at a moment
that the seed decides, the disks stop at once, everything is killed, the disks are mounted again with what had
reached them, and the service is started on them. A file that was not synced is empty then, or ends in zeros,
for of its own accord the kernel writes data only half a minute later; a name that was not synced is gone.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.chaos import material, source
from tests.system.long import loopback, power_clients, power_machine

SEED = 20261125
#: Cuts of each machine.
CUTS = int(os.environ.get("GANTRY_POWER_CUTS", "2"))
#: Seconds for which the clients work before the cut, at least and at most.
SOONEST, LATEST = 3.0, 6.0
MACHINES = {
    "postgresql": power_machine.Layout("postgresql", (4096,)),
    "mariadb-two-stores": power_machine.Layout("mariadb", (3072, 3072)),
}
#: Bytes, MD5 and SHA-512.
Content = tuple[int, str, str]

pytestmark = pytest.mark.skipif(bool(loopback.why_not()), reason=loopback.why_not())


def test_a_cut_loses_what_was_not_synced(tmp_path: pathlib.Path) -> None:
    """Else the test below could not fail."""
    with loopback.disks(tmp_path, 64) as (disk,):
        disk.mount()
        (disk.path / "old").write_bytes(b"old")
        disk.sync()
        (disk.path / "new").write_bytes(b"new")
        (disk.path / "old").rename(disk.path / "renamed")
        disk.cut()
        with pytest.raises(OSError, match="Input/output error"):
            (disk.path / "late").write_bytes(b"late")
        disk.unmount()
        disk.mount()
        assert {one.name for one in disk.path.iterdir()} == {"old", "lost+found"}
        assert (disk.path / "old").read_bytes() == b"old"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> list[material.Material]:
    """The files that the clients bring."""
    return power_clients.make_shelf(tmp_path_factory.mktemp("shelf"), SEED)


@pytest.mark.parametrize("name", MACHINES)
def test_power_cut(name: str, shelf: list[material.Material], tmp_path: pathlib.Path) -> None:
    with (
        source.serving(shelf[0].file.parent, tmp_path / "source.log") as url,
        power_machine.machine(MACHINES[name]) as machine,
    ):
        rounds = Rounds(machine, power_clients.Clients(shelf, url, list(machine.stores)))
        for number in range(CUTS):
            rounds.run(number)
    assert rounds.faults == []
    # Else nothing was tried: images that were active, and others that were under way.
    for status in ("active", "saving", "importing"):
        assert any(rounds.met[f"{kind} {status}"] for kind in power_clients.KINDS), status


class Rounds:
    """Cuts of one machine, and what was wrong after each."""

    def __init__(self, machine: power_machine.Machine, clients: power_clients.Clients) -> None:
        self._machine, self._clients = machine, clients
        self.faults: list[str] = []
        #: Images by what they were, on the disk, when the power was cut.
        self.met: Counter[str] = Counter()

    def run(self, number: int) -> None:
        """Work, cut, boot, and look; at the end of a round every image is active, and then deleted."""
        seconds = random.Random(f"{SEED} {number}").uniform(SOONEST, LATEST)  # noqa: S311
        with self._clients.at_work(self._machine.service, f"{SEED} {number}") as complaints:
            time.sleep(seconds)
            assert complaints == []
            self._machine.cut()
        self._machine.boot()
        known = len(self.faults)
        met = Counter(map(self._look_on_disk, self._clients.images))
        self._await_accepted()
        self._try_again()
        self._hold_all()
        self._delete_all()
        self.met += met
        print(
            f"seed {SEED}, round {number}: cut after {seconds:.2f} s, {dict(met)}",
            *self.faults[known:],
            sep="\n  ",
        )

    def _look_on_disk(self, image: power_clients.Image) -> str:
        """What the power has left of an image's record."""
        status = self._machine.found.get(image.image_id, "lost")
        if status == "lost" or (image.is_active and status != "active"):
            self._fault(image, f"its client was told more than the disk, which says {status}")
        return f"{image.kind} {status}"

    def _await_accepted(self) -> None:
        """An import that was answered 202 ends well by itself."""
        for image in self._clients.images:
            if image.is_accepted and not image.is_active:
                with self._noting(image):
                    power_clients.wait_for_import(self._machine.service, image)

    def _try_again(self) -> None:
        """Whatever was cut off before that is given back, and can be brought again."""
        whole = self._machine.service
        self._machine.let_time_pass()
        for image in self._clients.images:
            with self._noting(image):
                power_clients.wait_until_settled(whole, image)
                if not image.is_active:
                    self._clients.bring(whole, image)

    def _hold_all(self) -> None:
        """Hold all images against what was sent, and whatever is active against the images."""
        listed = self._machine.service.ask("GET", "/v2/images?status=active&limit=1000").json()
        records = {record["id"]: record for record in listed["images"]}
        for image in self._clients.images:
            if record := records.pop(image.image_id, None):
                self._hold(image, record)
            else:
                self._fault(image, "it is not active in the end")
        self.faults += [f"nobody has made {record}" for record in records.values()]

    def _hold(self, image: power_clients.Image, record: dict[str, Any]) -> None:
        expected = (image.expected.size, image.expected.md5, image.expected.sha512)
        said = (record["size"], record["checksum"], record["os_hash_value"])
        if said != expected:
            self._fault(image, f"its record says {said}")
        for store in record.get("stores", "").split(","):
            held = content(self._machine.stores[store] / image.image_id)
            if held != expected:
                self._fault(image, f"the store {store} holds {held}")

    def _delete_all(self) -> None:
        """Make room."""
        for image in self._clients.images:
            self._machine.service.ask("DELETE", f"/v2/images/{image.image_id}")
        self._clients.images.clear()

    @contextlib.contextmanager
    def _noting(self, image: power_clients.Image) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            self._fault(image, str(error))

    def _fault(self, image: power_clients.Image, text: str) -> None:
        self.faults.append(f"{image.kind} {image.image_id} of {image.expected.size} bytes: {text}")


def content(file: pathlib.Path) -> Content | str:
    """What a file holds, or why it cannot be read."""
    try:
        with file.open("rb") as data:
            md5 = hashlib.file_digest(data, "md5").hexdigest()
            data.seek(0)
            return file.stat().st_size, md5, hashlib.file_digest(data, "sha512").hexdigest()
    except OSError as error:
        return str(error)
