"""`gantry worker alive` has a worker do a job: ways in which one can be dead, and some in which it is not."""

import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from images import queue
from tests import service, web

OPTIONS = "[gantry]\nlease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 600\n"
NODE = f"worker@{socket.gethostname()}"


@pytest.fixture
def whole(tmp_path: pathlib.Path, bus: str) -> Iterator[service.Service]:
    with service.running(tmp_path, "api", "worker", options=OPTIONS, bus=bus) as running:
        yield running


def alive(whole: service.Service, *words: str) -> tuple[int, str]:
    """Exit status, and what was said."""
    run = whole.gantry("worker", "alive", "--wait", "3", *words)
    said = run.stderr.strip()
    assert run.stdout == ""
    assert "Traceback" not in said
    return run.returncode, said.splitlines()[-1] if said else ""


def wait_until_it_runs(whole: service.Service, image_id: str) -> None:
    service.wait_for(lambda: whole.task(image_id)["status"] == "processing", "the import to run")


def test_one_that_works(whole: service.Service) -> None:
    assert alive(whole) == (0, "")
    assert (whole.state / "alive" / f"{NODE}.processes").read_text() == "2"


def test_one_that_was_paused(whole: service.Service) -> None:
    whole.signal("worker", signal.SIGSTOP)
    code, said = alive(whole)
    assert (code, said.startswith(f"gantry: {NODE} has done no job for 3 s")) == (1, True), said
    whole.signal("worker", signal.SIGCONT)
    assert alive(whole) == (0, "")


def test_one_that_was_killed(whole: service.Service) -> None:
    whole.kill("worker")
    assert alive(whole)[0] == 1
    whole.start("worker")
    assert alive(whole) == (0, "")


def test_one_that_is_connected_and_deaf(whole: service.Service) -> None:
    """It answers pings, and takes no job."""
    control = [str(pathlib.Path(sys.executable).parent / "celery"), "-A", "workers.app"]
    for name in (*queue.CLASSES, queue.UPKEEP, queue.own_queue(NODE).name):
        command = [*control, "control", "-d", NODE, "cancel_consumer", name]
        subprocess.run(
            command, cwd=service.ROOT, env=whole.environment, check=True, capture_output=True
        )
    ping = [*control, "inspect", "-d", NODE, "ping"]
    answer = subprocess.run(
        ping, cwd=service.ROOT, env=whole.environment, check=True, capture_output=True
    )
    assert b"pong" in answer.stdout
    assert alive(whole)[0] == 1


def test_one_that_is_busy(whole: service.Service) -> None:
    """No process is free for the job; the leases of its imports are renewed, until it is paused."""
    with web.serving({"/slow": web.whole(bytes(1 << 20), seconds=60)}) as url:
        for _ in range(2):
            image_id = whole.create(disk_format="raw")
            whole.begin_import(image_id, "web-download", uri=f"{url}/slow")
            wait_until_it_runs(whole, image_id)
        assert alive(whole) == (0, "")
        whole.signal("worker", signal.SIGSTOP)
        time.sleep(3)
        assert alive(whole)[0] == 1


def test_one_half_of_which_is_busy(whole: service.Service) -> None:
    """One import is no excuse where two could be run: the other process does the job."""
    with web.serving({"/slow": web.whole(bytes(1 << 20), seconds=60)}) as url:
        image_id = whole.create(disk_format="raw")
        whole.begin_import(image_id, "web-download", uri=f"{url}/slow")
        wait_until_it_runs(whole, image_id)
        assert alive(whole) == (0, "")
        top = whole.family("worker")[0]
        top.suspend()  # its processes go on, and renew the one lease
        assert alive(whole)[0] == 1
        top.resume()


def test_where_the_broker_is_away_nothing_is_said(whole: service.Service) -> None:
    whole.kill("broker")
    code, said = alive(whole)
    assert code == 0
    assert said == f"gantry: nothing can be said about {NODE}: The broker does not answer"


def test_names_that_lead_elsewhere(whole: service.Service) -> None:
    code, said = alive(whole, "--node", "worker@../../x")
    assert (code, said) == (1, "gantry: A worker's node has no slash in its name")
