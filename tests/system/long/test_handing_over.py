"""Workers that are asked to end, or stand still: what they were doing goes on elsewhere, once."""

import os
import pathlib
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tests import service, web

OPTIONS = (
    "[gantry]\nlease_seconds = 4\nheartbeat_seconds = 0.3\nsweep_seconds = 1\ndrain_seconds = 2\n"
    "upkeep_seconds = 2\n"
)
DATA = os.urandom(16 << 20)
RAW = {"disk_format": "raw"}


class Second(service.Service):
    """A second worker of the same service, with a name of its own."""

    def __init__(self, first: service.Service) -> None:
        super().__init__(first.state, options=OPTIONS)
        self.port, self.url = first.port, first.url

    def command(self, name: str) -> str:
        return super().command(name).replace("worker@%h", "second@%h")


@pytest.fixture
def whole(tmp_path: pathlib.Path) -> Iterator[service.Service]:
    """An API, beat, and one worker."""
    with service.running(tmp_path, "api", "worker", "beat", options=OPTIONS) as running:
        yield running


@pytest.fixture
def other(whole: service.Service) -> Iterator[Second]:
    """Another worker, which is not started yet."""
    second = Second(whole)
    try:
        yield second
    finally:
        second.stop_all()


def downloading(whole: service.Service, url: str) -> str:
    """An image whose download is under way."""
    image_id = whole.create(**RAW)
    whole.begin_import(image_id, "web-download", uri=url)
    service.wait_for(lambda: (whole.task(image_id)["progress"] or {}).get("bytes_done"), "bytes")
    return image_id


def attempt(whole: service.Service, image_id: str) -> int | None:
    """The how-manieth worker is busy with it."""
    progress = whole.task(image_id)["progress"]
    return progress["attempt"] if progress else None


def start_second(other: Second, whole: service.Service) -> None:
    """The log of the first one is kept: both write to files of their names."""
    (whole.state / "worker.log").rename(whole.state / "first.log")
    other.start("worker")


def check_done(whole: service.Service, image_id: str, data: bytes = DATA) -> None:
    task = whole.wait_for_task(image_id)
    assert (task["status"], task["message"]) == ("success", f"Copied {len(data) >> 20} MiB")
    assert whole.ask("GET", f"/v2/images/{image_id}/file").data == data
    service.wait_for(lambda: whole.left_over() == [f"images/{image_id}"], "staging to be empty")


def test_what_ends_soon_is_finished(whole: service.Service) -> None:
    """SIGTERM with an import that has a second to go: the worker ends it, then itself."""
    with web.serving({"/raw": web.whole(DATA, seconds=2)}) as url:
        image_id = downloading(whole, f"{url}/raw")
        whole.stop("worker")
        task = whole.task(image_id)
        assert (task["status"], task["progress"]["attempt"]) == ("success", 1)
        check_done(whole, image_id)


def test_the_rest_is_handed_over_at_once(whole: service.Service, other: Second) -> None:
    """SIGTERM with an import that takes long: the worker is gone in time, the other one goes on."""
    with web.serving({"/raw": web.whole(DATA, seconds=20)}) as url:
        image_id = downloading(whole, f"{url}/raw")
        start_second(other, whole)
        begun = time.monotonic()
        whole.stop("worker")
        stopped = time.monotonic() - begun
        service.wait_for(lambda: attempt(whole, image_id) == 2, "the other one")
        taken = time.monotonic() - begun
        print(f"stopped after {stopped:.1f} s, taken up after {taken:.1f} s")
        assert stopped < 2 + 6
        assert taken < stopped + 3
        check_done(whole, image_id)


def test_a_worker_that_stood_still_changes_nothing(whole: service.Service, other: Second) -> None:
    """SIGSTOP, and SIGCONT after another one has taken over, and again after it has ended."""
    with web.serving({"/raw": web.whole(DATA, seconds=5)}) as url:
        image_id = downloading(whole, f"{url}/raw")
        family = whole.family("worker")
        send(family, signal.SIGSTOP)
        start_second(other, whole)
        service.wait_for(lambda: attempt(whole, image_id) == 2, "the other one")
        send(family, signal.SIGCONT)
        time.sleep(0.5)
        send(family, signal.SIGSTOP)
        check_done(whole, image_id)
        before = whole.image(image_id)
        send(family, signal.SIGCONT)
        time.sleep(3)
        assert whole.image(image_id) == before
        check_done(whole, image_id)
        assert b"left to another worker" in (whole.state / "first.log").read_bytes()


def test_a_worker_that_stood_still_while_the_image_was_deleted(
    whole: service.Service, other: Second
) -> None:
    """It leaves no byte."""
    with web.serving({"/raw": web.whole(DATA, seconds=5)}) as url:
        image_id = downloading(whole, f"{url}/raw")
        family = whole.family("worker")
        send(family, signal.SIGSTOP)
        assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204
        start_second(other, whole)
        time.sleep(6)
        send(family, signal.SIGCONT)
        service.wait_for(lambda: not whole.left_over(), "the bytes to be gone", 90)


def send(family: list[psutil.Process], number: signal.Signals) -> None:
    for one in family:
        one.send_signal(number)
