"""Deleting an image ends its import within three seconds, whatever it is waiting for, with default beats."""

import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests import service, web
from tests.system.test_lost_and_found import qemu_img_runs

#: The bar: seconds from the answer to DELETE until nothing is left.
SOON = 3.0
GIB = 1 << 30
HEAD = b"HTTP/1.0 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """An API and a worker; nobody tidies up, so the worker has to."""
    state = tmp_path_factory.mktemp("gantry")
    with service.running(state, "api", "worker") as running:
        yield running


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A qcow2 of six GiB, mostly holes: to digest it takes its time."""
    file = tmp_path_factory.mktemp("large") / "qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(file), str(6 * GIB)]
    subprocess.run(command, check=True)
    return file


def is_at(whole: service.Service, image_id: str, step: str) -> Callable[[], bool]:
    """Whether a task says that it does this step."""

    def look() -> bool:
        progress = whole.task(image_id)["progress"]
        return bool(progress and progress["step"] == step)

    return look


def check_cancelled(whole: service.Service, image_id: str) -> None:
    task_id = whole.task(image_id)["id"]
    assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204
    begun = time.monotonic()

    def is_over() -> bool:
        task = whole.ask("GET", f"/v2/tasks/{task_id}").json()
        left = [name for name in whole.left_over() if image_id in name]
        works = "worker" in whole.processes and qemu_img_runs(whole)
        return task["status"] == "failure" and not left and not works

    service.wait_for(is_over, "the import to be over", 20)
    took = time.monotonic() - begun
    print(f"over after {took:.1f} s")
    assert took < SOON
    task = whole.ask("GET", f"/v2/tasks/{task_id}").json()
    assert "deleted" in task["message"]


@pytest.mark.parametrize(
    "answer", [web.silent, web.dripping(HEAD, b"x", 1.0)], ids=["silent", "trickling"]
)
def test_while_a_server_says_little(whole: service.Service, answer: web.Answer) -> None:
    with web.serving({"/raw": answer}) as url:
        image_id = whole.create(disk_format="raw")
        whole.begin_import(image_id, "web-download", uri=f"{url}/raw")
        service.wait_for(is_at(whole, image_id, "fetch"), "the download")
        check_cancelled(whole, image_id)


def test_while_it_waits_for_the_next_try(whole: service.Service) -> None:
    """The first pause is a second long, the third one four."""
    image_id = whole.create(disk_format="raw")
    closed = service.free_port()
    whole.begin_import(image_id, "web-download", uri=f"http://127.0.0.1:{closed}/raw")

    def is_retrying() -> bool:
        progress = whole.task(image_id)["progress"]
        return bool(progress and progress["retries"] >= 2)

    service.wait_for(is_retrying, "the third try")
    assert "refused" in whole.task(image_id)["message"]
    check_cancelled(whole, image_id)


def test_while_it_is_converted(whole: service.Service, qcow2: pathlib.Path) -> None:
    image_id = whole.create(disk_format="qcow2")
    whole.stage(image_id, qcow2.read_bytes())
    whole.begin_import(image_id)
    service.wait_for(lambda: qemu_img_runs(whole), "the conversion")
    check_cancelled(whole, image_id)


def test_while_it_is_digested(whole: service.Service, large: pathlib.Path) -> None:
    image_id = whole.create(disk_format="qcow2")
    whole.stage(image_id, large.read_bytes())
    whole.begin_import(image_id)
    service.wait_for(is_at(whole, image_id, "digest"), "the digest")
    check_cancelled(whole, image_id)


def test_while_nobody_has_begun_it(whole: service.Service) -> None:
    whole.stop("worker")
    image_id = whole.create(disk_format="raw")
    whole.stage(image_id, b"x" * 5000)
    whole.begin_import(image_id)
    check_cancelled(whole, image_id)
