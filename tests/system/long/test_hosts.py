"""Two hosts with an API, a worker, a beat and a staging directory each; one database, broker and store."""

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator

import pytest

from tests import service, web

DATA = bytes(range(256)) * 4096  # 1 MiB
PATIENCE = 4
OPTIONS = f"""
[gantry]
lease_seconds = 3
heartbeat_seconds = 0.2
sweep_seconds = 1
upkeep_seconds = 1
host_patience_seconds = {PATIENCE}
staging_is_shared = false
"""


class Host(service.Service):
    """One of the hosts. What all share belongs to the first one."""

    def __init__(self, state: pathlib.Path, name: str, first: "Host | None" = None) -> None:
        super().__init__(state, options=OPTIONS)
        shared = first.state if first else state
        self.environment |= {
            "OS_GANTRY__HOST": name,
            "OS_DEFAULT__NODE_STAGING_URI": f"file://{state}/staging",
            "OS_DATABASE__CONNECTION": f"sqlite:///{shared}/gantry.sqlite",
            "OS_GANTRY__BROKER_URL": f"redis+socket://{shared}/redis/redis.sock",
            "OS_GLANCE_STORE__FILESYSTEM_STORE_DATADIR": f"{shared}/images",
        }

    def staged(self) -> list[pathlib.Path]:
        """What lies in this host's staging."""
        room = self.state / "staging"
        return sorted(room.iterdir()) if room.exists() else []

    def has_seen(self, image_id: str) -> bool:
        """Whether this host's worker has begun an import of the image."""
        return image_id.encode() in self.log("worker")


@pytest.fixture
def hosts(
    tmp_path: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Host, Host]]:
    """Both hosts, whose APIs run."""
    one = Host(tmp_path, "host-a")
    two = Host(tmp_path_factory.mktemp("b"), "host-b", one)
    with contextlib.ExitStack() as stack:
        stack.callback(one.stop_all)
        stack.callback(two.stop_all)
        one.sync()
        one.start("broker", "api")
        two.start("api")
        yield one, two


def staged_image(host: Host) -> str:
    """An image whose bytes are in a host's staging."""
    image_id = host.create(disk_format="raw")
    host.stage(image_id, DATA)
    assert [file.name for file in host.staged()] == [image_id, f"{image_id}.facts"]
    return image_id


def test_the_worker_that_has_the_bytes_does_it(hosts: tuple[Host, Host]) -> None:
    """Whichever API is asked; the other host's worker is idle and is never asked."""
    one, two = hosts
    one.start("worker")
    two.start("worker", "beat")
    for asked in (two, one, two):
        image_id = staged_image(one)
        asked.begin_import(image_id)
        assert two.wait_for_task(image_id)["status"] == "success"
        assert two.ask("GET", f"/v2/images/{image_id}/file").data == DATA
        assert (one.has_seen(image_id), two.has_seen(image_id)) == (True, False)
        service.wait_for(lambda: not one.staged(), "staging to be empty")
    image_id = staged_image(two)
    one.begin_import(image_id)
    assert one.wait_for_task(image_id)["status"] == "success"
    assert (one.has_seen(image_id), two.has_seen(image_id)) == (False, True)


def test_staged_bytes_wait_for_their_host(hosts: tuple[Host, Host]) -> None:
    """For longer than any patience: they are nowhere else."""
    one, two = hosts
    two.start("worker", "beat")
    image_id = staged_image(one)
    two.begin_import(image_id)
    time.sleep(2 * PATIENCE)
    assert two.task(image_id)["status"] == "pending"
    assert not two.has_seen(image_id)
    one.start("worker")
    assert two.wait_for_task(image_id)["status"] == "success"
    assert (one.has_seen(image_id), two.has_seen(image_id)) == (True, False)
    assert two.ask("GET", f"/v2/images/{image_id}/file").data == DATA


def test_a_download_goes_on_elsewhere(hosts: tuple[Host, Host]) -> None:
    """Its host stays down; what it had begun there is removed when it comes back."""
    one, two = hosts
    answers = {"/raw": web.whole(DATA, seconds=120)}
    with web.serving(answers) as url:
        one.start("worker", "beat")
        image_id = one.create(disk_format="raw")
        two.begin_import(image_id, "web-download", uri=f"{url}/raw")
        service.wait_for(one.staged, "the download")
        two.start("worker", "beat")
        killed = time.monotonic()
        one.kill("worker")
        one.kill("beat")
        answers["/raw"] = web.whole(DATA)
        service.wait_for(lambda: two.has_seen(image_id), "the other host to go on")
        assert time.monotonic() - killed > PATIENCE - 1  # since the last sign of life
        assert two.wait_for_task(image_id)["status"] == "success"
    assert two.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert one.staged()
    for file in one.staged():
        os.utime(file, (0, 0))
    one.start("worker", "beat")
    service.wait_for(lambda: not one.staged() + two.staged(), "what was begun to be removed")


def test_deleted_at_another_host(hosts: tuple[Host, Host]) -> None:
    """At once for whoever looks; the bytes go with the upkeep of the host that has them."""
    one, two = hosts
    two.start("worker", "beat")
    staged, importing = (staged_image(one), one.create(disk_format="raw"))
    one.stage(importing, DATA)
    two.begin_import(importing)
    task_id = two.task(importing)["id"]
    for image_id in (staged, importing):
        assert two.ask("DELETE", f"/v2/images/{image_id}").status == 204
        assert one.ask("GET", f"/v2/images/{image_id}").status == 404
    task = two.ask("GET", f"/v2/tasks/{task_id}").json()
    assert (task["status"], task["message"]) == ("failure", "The image was deleted")
    time.sleep(3)  # the other host's upkeep runs meanwhile, and sees none of it
    assert len(one.staged()) == 4
    one.start("worker", "beat")
    service.wait_for(lambda: not one.staged(), "the bytes to be gone")
    assert not (one.state / "images").exists() or not list((one.state / "images").iterdir())
