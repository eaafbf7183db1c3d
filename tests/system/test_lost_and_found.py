"""Processes die, the broker forgets, images are deleted: an import answered 202 ends all the same."""

import pathlib
import shutil
import signal
import statistics
import time

import psutil
import pytest

from tests import service, web

OPTIONS = "[gantry]\nlease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 1\n"
DATA = bytes(range(256)) * (40 << 10)  # 10 MiB
#: A raw image: nothing to convert, and no boot signature that the format inspector could look at.
RAW = {"disk_format": "raw"}


@pytest.fixture(params=["uwsgi", "gunicorn"])
def server(request: pytest.FixtureRequest) -> str:
    """Each of the two web servers."""
    name: str = request.param
    return name


def test_killing_the_api_after_the_202_loses_nothing(
    server: str, bus: str, tmp_path: pathlib.Path
) -> None:
    """Every API process gets kill -9 right after the answer; the image becomes active without them."""
    with (
        web.serving({"/raw": web.whole(DATA, seconds=2)}) as url,
        service.running(
            tmp_path, "api", "worker", "beat", server=server, options=OPTIONS, bus=bus
        ) as whole,
    ):
        image_id = whole.create(**RAW)
        whole.begin_import(image_id, "web-download", uri=f"{url}/raw")
        whole.kill("api")
        service.wait_for(lambda: f"images/{image_id}" in whole.left_over(), "the data in the store")
        whole.start("api")
        assert whole.wait_for_task(image_id)["status"] == "success"
        assert whole.image(image_id)["status"] == "active"


def test_without_workers_the_api_answers_and_the_task_waits(
    bus: str, tmp_path: pathlib.Path
) -> None:
    """The task stays pending, requests are served as ever; a worker starts, and it ends well."""
    with service.running(tmp_path, "api", options=OPTIONS, bus=bus) as whole:
        image_id = whole.create(**RAW)
        whole.stage(image_id, DATA)
        whole.begin_import(image_id)
        assert whole.task(image_id)["status"] == "pending"
        assert whole.image(image_id)["status"] == "importing"
        assert whole.ask("GET", "/v2/images").status == 200
        whole.start("worker", "beat")
        assert whole.wait_for_task(image_id)["status"] == "success"


def test_a_broker_that_is_away_costs_nothing_but_time(bus: str, tmp_path: pathlib.Path) -> None:
    """POST /import is answered 202 all the same; the sweep rings when the broker is back, empty."""
    with service.running(tmp_path, "api", options=OPTIONS, bus=bus) as whole:
        image_id = whole.create(**RAW)
        whole.stage(image_id, DATA)
        whole.kill("broker")
        whole.begin_import(image_id)
        assert whole.task(image_id)["status"] == "pending"
        whole.start("broker", "worker", "beat")
        assert whole.wait_for_task(image_id)["status"] == "success"


def test_a_broker_that_dies_under_its_workers(bus: str, tmp_path: pathlib.Path) -> None:
    """kill -9, and another one in its place: API and worker find their way back by themselves."""
    options = OPTIONS.replace("sweep_seconds = 1", "sweep_seconds = 600")  # nobody else may ring
    with service.running(tmp_path, "api", "worker", options=options, bus=bus) as whole:
        for _ in range(3):
            image_id = whole.create(**RAW)
            whole.stage(image_id, DATA)
            whole.begin_import(image_id)
            assert whole.wait_for_task(image_id)["status"] == "success"
            whole.kill("broker")
            whole.start("broker")


def test_a_broker_that_lost_everything(bus: str, tmp_path: pathlib.Path) -> None:
    """kill -9, and an empty one in its place: what had been rung for is rung for again."""
    with service.running(tmp_path, "api", options=OPTIONS, bus=bus) as whole:
        image_id = whole.create(**RAW)
        whole.stage(image_id, DATA)
        whole.begin_import(image_id)
        whole.kill("broker")
        shutil.rmtree(tmp_path / ("rabbitmq" if whole.rabbitmq else "redis"))
        whole.start("broker", "worker", "beat")
        assert whole.wait_for_task(image_id)["status"] == "success"


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_broker_that_is_away_holds_no_request_up(
    bus: str, how: str, tmp_path: pathlib.Path
) -> None:
    """20 imports are asked for meanwhile: most answers come as ever, the slowest in less than 2.5 seconds."""
    with service.running(tmp_path, "api", options=OPTIONS, bus=bus) as whole:
        images = [whole.create(**RAW) for _ in range(21)]
        for image_id in images:
            whole.stage(image_id, b"x")
        whole.begin_import(images.pop())  # the API is connected
        if how == "killed":
            whole.kill("broker")
        else:
            whole.signal("broker", signal.SIGSTOP)
        took = []
        for image_id in images:
            begun = time.monotonic()
            whole.begin_import(image_id)
            took.append(time.monotonic() - begun)
        print(f"{bus} {how}: median {statistics.median(took):.3f} s, longest {max(took):.3f} s")
        assert statistics.median(took) < 0.1
        assert max(took) < 2.5


def test_a_killed_worker_is_replaced(bus: str, tmp_path: pathlib.Path) -> None:
    """kill -9 of the worker in the middle of a download: the next one starts over and ends it."""
    with (
        web.serving({"/raw": web.whole(DATA, seconds=6)}) as url,
        service.running(tmp_path, "api", "worker", "beat", options=OPTIONS, bus=bus) as whole,
    ):
        image_id = whole.create(**RAW)
        whole.begin_import(image_id, "web-download", uri=f"{url}/raw")
        service.wait_for(lambda: whole.task(image_id)["status"] == "processing", "the download")
        whole.kill("worker")
        whole.start("worker")
        task = whole.wait_for_task(image_id)
        assert (task["status"], task["progress"]["attempt"]) == ("success", 2)
        # A task says that it has ended before its worker has put everything away.
        service.wait_for(lambda: whole.left_over() == [f"images/{image_id}"], "staging to be empty")


def test_deleting_stops_an_import(bus: str, tmp_path: pathlib.Path, qcow2: pathlib.Path) -> None:
    """DELETE while a download, and while a conversion runs: no qemu-img and no byte is left."""
    with (
        web.serving({"/raw": web.whole(DATA, seconds=30)}) as url,
        service.running(tmp_path, "api", "worker", "beat", options=OPTIONS, bus=bus) as whole,
    ):
        downloading = whole.create(**RAW)
        whole.begin_import(downloading, "web-download", uri=f"{url}/raw")
        converting = whole.create(disk_format="qcow2")
        whole.stage(converting, qcow2.read_bytes())
        whole.begin_import(converting)
        service.wait_for(lambda: qemu_img_runs(whole), "the conversion")
        for image_id in (downloading, converting):
            assert whole.ask("DELETE", f"/v2/images/{image_id}").status == 204
            assert whole.ask("GET", f"/v2/images/{image_id}").status == 404
        service.wait_for(lambda: not qemu_img_runs(whole), "qemu-img to be gone", 5)
        service.wait_for(lambda: not whole.left_over(), "the bytes to be gone", 10)


def qemu_img_runs(whole: service.Service) -> bool:
    """Whether the worker has a qemu-img below it."""
    for one in whole.family("worker"):
        try:
            if one.name() == "qemu-img":
                return True
        except psutil.NoSuchProcess:
            continue
    return False
