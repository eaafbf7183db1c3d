"""What can be seen of imports from outside, and what cannot: Flower, and what lies in the broker."""

import base64
import pathlib
from collections.abc import Iterator

import psutil
import pytest
import urllib3

from deploy import broker
from tests import service, web

DATA = bytes(range(256)) * 4096
SECRET = "planted-7f3a"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """API, worker and Flower."""
    state = tmp_path_factory.mktemp("gantry")
    with service.running(state, "api", "worker", "flower") as running:
        yield running


def flower(
    whole: service.Service, path: str, password: str | None = None
) -> urllib3.BaseHTTPResponse:
    """A page of Flower; with the right password unless another one, or "" for none, is given."""
    if password is None:
        password = whole.environment["FLOWER_BASIC_AUTH"].partition(":")[2]
    known = base64.b64encode(f"watcher:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {known}"} if password else {}
    url = f"http://127.0.0.1:{whole.flower_port}{path}"
    return urllib3.request("GET", url, headers=headers, retries=10)


@pytest.mark.parametrize(
    "path", ["/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"]
)
def test_no_page_without_the_password(whole: service.Service, path: str) -> None:
    """Neither the pages nor the API, without one or with a wrong one."""
    assert flower(whole, path, "").status == 401
    assert flower(whole, path, "wrong").status == 401
    assert flower(whole, path).status == 200


def test_it_listens_on_loopback_only(whole: service.Service) -> None:
    flower(whole, "/")
    ports = [
        one.laddr.ip
        for process in whole.family("flower")
        for one in process.net_connections("inet")
        if one.status == psutil.CONN_LISTEN
    ]
    assert set(ports) == {"127.0.0.1"}


@pytest.mark.parametrize("path", ["/api/task/send-task/run-import", "/api/worker/shutdown/worker"])
def test_nothing_is_started_or_ended_from_it(whole: service.Service, path: str) -> None:
    """Without the password, and with it: it is for looking."""
    flower(whole, "/")
    url = f"http://127.0.0.1:{whole.flower_port}{path}"
    known = urllib3.make_headers(basic_auth=whole.environment["FLOWER_BASIC_AUTH"])
    for headers, codes in (({}, {401}), (known, {400, 403, 404, 405})):
        answer = urllib3.request("POST", url, headers=headers, body=b'{"args": []}', retries=10)
        assert answer.status in codes


def test_it_shows_the_import_jobs(whole: service.Service) -> None:
    """By their names, with how they ended; the argument is the task's id and nothing else."""
    flower(whole, "/")
    image_id = whole.create(disk_format="raw")
    with web.serving({f"/{SECRET}": web.whole(DATA)}) as url:
        uri = f"{url.replace('//', f'//user:{SECRET}@')}/{SECRET}"
        whole.begin_import(image_id, "web-download", uri=uri)
        task = whole.wait_for_task(image_id)
    assert task["status"] == "success", task["message"]

    def shown() -> list[dict[str, str]]:
        jobs = flower(whole, "/api/tasks").json().values()
        return [job for job in jobs if task["id"] in (job["args"] or "")]

    job = service.wait_for(shown, "Flower to show the job")[0]
    service.wait_for(lambda: shown()[0]["state"] == "SUCCESS", "Flower to show its end")
    assert (job["name"], job["args"].strip("()[],'\"")) == ("run-import", task["id"])
    assert SECRET not in flower(whole, "/api/tasks").data.decode()
    for name in ("api", "worker", "flower"):
        assert SECRET.encode() not in whole.log(name), f"the URL is in the log of {name}"


def test_the_broker_holds_no_url(tmp_path: pathlib.Path) -> None:
    """A job that waits is an id; what Redis writes to its file shows nothing of the request."""
    with service.running(tmp_path, "api") as whole:
        image_id = whole.create(disk_format="raw")
        whole.begin_import(image_id, "web-download", uri=f"http://{SECRET}.example/x")
        kept = service.wait_for(lambda: written(tmp_path), "the job in the broker's file")
        assert SECRET.encode() not in kept
        assert b"run-import" in kept


def written(state: pathlib.Path) -> bytes:
    """All that the broker has written, once there is a job in it."""
    files = [file for file in broker.socket_path(state).parent.rglob("*") if file.is_file()]
    kept = b"".join(file.read_bytes() for file in files)
    return kept if b"run-import" in kept else b""
