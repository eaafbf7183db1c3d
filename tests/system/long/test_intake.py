"""A worker takes what it can begin at once, and leaves the rest to others (on RabbitMQ: in `long`)."""

import contextlib
import pathlib
import time
from collections.abc import Iterator

import psutil
import pytest

from tests import service, web

DATA = bytes(range(256)) * 4096
RAW = {"disk_format": "raw"}
#: No sweep: nobody but the API rings.
OPTIONS = "[gantry]\nlease_seconds = 30\nsweep_seconds = 600\n"
#: Seconds in which an idle worker has done a small import; a message that waits behind one of
#: `LONG` seconds comes much later.
SOON, LONG = 8, 40


@pytest.fixture
def whole(tmp_path: pathlib.Path, bus: str) -> Iterator[service.Service]:
    with service.running(tmp_path, "api", options=OPTIONS, bus=bus) as running:
        yield running


@pytest.fixture
def slow() -> Iterator[str]:
    with web.serving({"/slow": web.whole(DATA, seconds=LONG)}) as url:
        yield f"{url}/slow"


def occupy(whole: service.Service, slow: str) -> str:
    """An import that goes on for a long time."""
    image_id = whole.create(**RAW)
    whole.begin_import(image_id, "web-download", uri=slow)
    service.wait_for(lambda: whole.task(image_id)["status"] == "processing", "the long import")
    return image_id


def small_import(whole: service.Service) -> str:
    image_id = whole.create(**RAW)
    whole.stage(image_id, DATA)
    whole.begin_import(image_id)
    return image_id


def test_a_busy_worker_holds_nothing_back(whole: service.Service, slow: str) -> None:
    """Three bells behind a long import: a worker that starts then gets all of them at once."""
    whole.start_worker("first", "--concurrency", "1")
    long = occupy(whole, slow)
    waiting = [small_import(whole) for _ in range(3)]
    time.sleep(1)  # for the first worker to take what it would take
    whole.start_worker("second", "--concurrency", "1")
    begun = time.monotonic()
    for image_id in waiting:
        assert whole.wait_for_task(image_id)["status"] == "success"
    assert time.monotonic() - begun < SOON
    assert whole.task(long)["status"] == "processing"


def test_idle_processes_of_a_busy_worker_are_used(whole: service.Service, slow: str) -> None:
    """Two processes, one busy: the other goes on; both busy: nothing is taken, until one is free again."""
    whole.start_worker("first", "--concurrency", "2")
    occupy(whole, slow)
    for _ in range(3):
        assert whole.wait_for_task(small_import(whole), SOON)["status"] == "success"
    second = occupy(whole, slow)
    waiting = small_import(whole)
    time.sleep(1)
    assert whole.task(waiting)["status"] == "pending"
    assert whole.ask("DELETE", f"/v2/images/{second}").status == 204
    assert whole.wait_for_task(waiting, SOON)["status"] == "success"


def test_a_busy_worker_ends_when_it_is_told_to(whole: service.Service, slow: str) -> None:
    """While it takes nothing it hears signals all the same, and what it did not take is another's."""
    whole.start_worker("first", "--concurrency", "1")
    long = occupy(whole, slow)
    waiting = small_import(whole)
    top = psutil.Process(whole.processes["first"].pid)
    top.terminate()
    time.sleep(0.5)
    whole.start_worker("second", "--concurrency", "1")
    assert whole.wait_for_task(waiting, SOON)["status"] == "success"
    assert whole.ask("DELETE", f"/v2/images/{long}").status == 204
    with contextlib.suppress(psutil.NoSuchProcess):
        top.wait(service.PATIENCE)
    assert not top.is_running()


def test_a_broker_that_comes_back_finds_a_busy_worker_busy(
    whole: service.Service, slow: str
) -> None:
    """kill -9 of the broker: the import goes on, nothing is held back, and the worker consumes again."""
    whole.start_worker("first", "--concurrency", "1")
    long = occupy(whole, slow)
    whole.kill("broker")
    whole.start("broker")
    waiting = small_import(whole)
    service.wait_for(lambda: whole.log("first").count(b"Connected to") > 1, "the worker to be back")
    time.sleep(1)
    assert whole.task(long)["status"] == "processing"
    assert whole.task(long)["progress"]["attempt"] == 1
    whole.start_worker("second", "--concurrency", "1")
    assert whole.wait_for_task(waiting, SOON)["status"] == "success"
    whole.kill("second")
    assert whole.ask("DELETE", f"/v2/images/{long}").status == 204
    assert whole.wait_for_task(small_import(whole), SOON)["status"] == "success"
