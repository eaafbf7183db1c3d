"""Locations through real processes: digested by workers that die, cancelled by deletion, deleted at once."""

import http.server
import pathlib
import threading
import time
from collections.abc import Iterator

import pytest

from tests import service, web

DATA = bytes(range(256)) * 4096  # 1 MiB
SLOW = DATA * 4


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat that may ask servers of this machine; images of more than 5 MiB are too large."""
    state = tmp_path_factory.mktemp("gantry")
    options = (
        "allowed_hosts = [127.0.0.1]\n"
        "[DEFAULT]\nshow_multiple_locations = true\nimage_size_cap = 5242880\n"
        "[gantry]\nlease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 1\n"
    )
    names = ("api", "worker", "beat")
    with service.running(state, *names, server=request.param, options=options) as whole:
        yield whole


class Server:
    """A web server whose slow path tells how often it was read, and whether to the end."""

    def __init__(self) -> None:
        self.begun, self.broken = 0, threading.Event()

    def slow(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """4 MiB in at least four seconds."""
        self.begun += 1
        try:
            web.whole(SLOW, seconds=4)(handler)
        except OSError:
            self.broken.set()
            raise


@pytest.fixture
def server() -> Iterator[tuple[Server, str]]:
    whole = Server()
    with web.serving({"/data": web.whole(DATA), "/slow": whole.slow}) as url:
        yield whole, url


def add(running: service.Service, url: str) -> str:
    """An image that is given a location."""
    image_id = running.create(disk_format="raw")
    answer = running.ask("POST", f"/v2/images/{image_id}/locations", {"url": url})
    assert answer.status == 202, answer.data
    return image_id


def wait_for(running: service.Service, image_id: str, status: str) -> None:
    service.wait_for(lambda: running.image(image_id)["status"] == status, f"{image_id} {status}")


def test_a_location_is_added_and_digested(
    running: service.Service, server: tuple[Server, str]
) -> None:
    image_id = add(running, f"{server[1]}/data")
    task = running.wait_for_task(image_id)
    assert (task["type"], task["status"]) == ("location_import", "success"), task["message"]
    image = running.image(image_id)
    assert (image["status"], image["size"]) == ("active", len(DATA))
    assert image["os_hash_algo"] == "sha512"
    assert len(image["os_hash_value"]) == 128
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert running.ask("GET", f"/v2/images/{image_id}/file", Range="bytes=7-8").data == DATA[7:9]


def test_another_worker_takes_over(running: service.Service, server: tuple[Server, str]) -> None:
    """The image is active while its data are digested; when a worker dies, the next one begins again."""
    image_id = add(running, f"{server[1]}/slow")
    wait_for(running, image_id, "active")
    image = running.image(image_id)
    assert (image["os_hash_algo"], image["os_hash_value"]) == ("sha512", None)
    service.wait_for(lambda: server[0].begun >= 2, "the digest to begin")
    running.kill("worker")
    running.start("worker")
    task = running.wait_for_task(image_id)
    assert (task["status"], task["progress"]["attempt"]) == ("success", 2), task["message"]
    image = running.image(image_id)
    assert (image["status"], len(image["os_hash_value"] or "")) == ("active", 128)
    assert len(image["locations"]) == 1


def test_deleting_the_image_cancels_the_digest(
    running: service.Service, server: tuple[Server, str]
) -> None:
    image_id = add(running, f"{server[1]}/slow")
    wait_for(running, image_id, "active")
    service.wait_for(lambda: server[0].begun >= 2, "the digest to begin")
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    assert running.ask("GET", f"/v2/images/{image_id}").status == 404
    assert server[0].broken.wait(3.5), "the worker goes on reading"


def test_deleting_right_after_the_image_turned_active(running: service.Service) -> None:
    """Glance answers 500 now and then: the end of the task and the deletion meet in the database."""
    for number in range(15):
        image_id = running.create(disk_format="raw")
        running.stage(image_id, DATA[: 4096 + number])
        running.begin_import(image_id)
        end = time.monotonic() + service.PATIENCE
        while running.image(image_id)["status"] != "active":
            assert time.monotonic() < end
        assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
        assert running.ask("GET", f"/v2/images/{image_id}").status == 404
    service.wait_for(lambda: not running.left_over(), "nothing to be left over", 20)


def test_deleting_while_an_import_is_ending(running: service.Service) -> None:
    """At any moment of it: 204, or nothing; and nothing stays."""
    for number in range(15):
        image_id = running.create(disk_format="raw")
        running.stage(image_id, DATA[: 4096 + number])
        running.begin_import(image_id)
        time.sleep(number / 100)
        assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
        assert running.ask("DELETE", f"/v2/images/{image_id}").status == 404
    service.wait_for(lambda: not running.left_over(), "nothing to be left over", 20)


@pytest.mark.parametrize("what", ["file", "stage"])
@pytest.mark.parametrize("chunked", [False, True])
def test_r48_data_over_the_cap(running: service.Service, what: str, *, chunked: bool) -> None:
    """413, the image `queued`, nothing left; and the next try works."""
    image_id = running.create(disk_format="raw")
    pieces = (SLOW[: 1 << 20] for _ in range(6))
    body = pieces if chunked else SLOW + DATA + b"x"
    headers = {"Transfer_Encoding": "chunked"} if chunked else {}
    answer = running.ask("PUT", f"/v2/images/{image_id}/{what}", body, **headers)
    assert (answer.status, b"image_size_cap" in answer.data) == (413, True)
    image = running.image(image_id)
    assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
    assert not [name for name in running.left_over() if image_id in name]
    assert running.ask("PUT", f"/v2/images/{image_id}/{what}", DATA).status == 204
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_r01_the_log_says_that_the_option_goes(running: service.Service) -> None:
    said = 'Option "show_multiple_locations" from group "DEFAULT" is deprecated for removal'
    assert said in running.log("api").decode()


def test_r02_another_node_hides_locations(
    running: service.Service, server: tuple[Server, str], tmp_path: pathlib.Path
) -> None:
    """Two API processes on one database, of which only one shows locations."""
    image_id = add(running, f"{server[1]}/data")
    running.wait_for_task(image_id)
    assert running.image(image_id)["locations"]
    shared = f"sqlite:///{running.state}/gantry.sqlite"
    options = f"allowed_hosts = [127.0.0.1]\n[database]\nconnection = {shared}\n"
    public = service.Service(tmp_path, options=options)
    try:
        public.start("api")
        assert not {"locations", "direct_url"} & public.image(image_id).keys()
        assert public.ask("GET", f"/v2/images/{image_id}/file").data == DATA
        change = [{"op": "remove", "path": "/locations/0"}]
        kind = "application/openstack-images-v2.1-json-patch"
        path = f"/v2/images/{image_id}"
        assert public.ask("PATCH", path, change, Content_Type=kind).status == 403
    finally:
        public.stop_all()
