"""Eight callers that write at the same time: each is served, on every database."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import pytest

from tests import service
from tests.integration import databases

WRITERS = 8
ROUNDS = 12
_PATCH = "application/openstack-images-v2.1-json-patch"


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """The API, with a worker and beat writing beside it."""
    state = tmp_path_factory.mktemp("gantry")
    with contextlib.ExitStack() as stack:
        options = "[gantry]\nsweep_seconds = 1\n"
        if request.param != "sqlite":
            url = stack.enter_context(getattr(databases, request.param)())
            options += f"[database]\nconnection = {url}\n"
        names = ("api", "worker", "beat")
        yield stack.enter_context(service.running(state, *names, options=options))


def change(running: service.Service, image_id: str, name: str, value: str) -> int:
    """Set one property; the status of the answer."""
    patch = [{"op": "add", "path": f"/{name}", "value": value}]
    return running.ask("PATCH", f"/v2/images/{image_id}", patch, Content_Type=_PATCH).status


def own_images(running: service.Service, writer: int) -> list[tuple[str, int]]:
    """Create, change, tag, fill, list and delete images of one's own; what was done, with its status."""
    seen = []
    for n in range(ROUNDS):
        made = running.ask(
            "POST",
            "/v2/images",
            {"name": f"{writer}-{n}", "disk_format": "raw", "container_format": "bare"},
        )
        seen.append(("create", made.status))
        image_id = made.json()["id"]
        path = f"/v2/images/{image_id}"
        seen.append(("change", change(running, image_id, "round", str(n))))
        seen.append(("tag", running.ask("PUT", f"{path}/tags/one").status))
        seen.append(("upload", running.ask("PUT", f"{path}/file", b"x" * 5000).status))
        seen.append(("list", running.ask("GET", "/v2/images?limit=5").status))
        seen.append(("delete", running.ask("DELETE", path).status))
    return seen


def test_each_writes_its_own(running: service.Service) -> None:
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        seen = list(pool.map(lambda writer: own_images(running, writer), range(WRITERS)))
    expected = {"create": 201, "change": 200, "tag": 204, "upload": 204, "list": 200, "delete": 204}
    assert {answer for answers in seen for answer in answers} == set(expected.items())
    assert running.ask("GET", "/v2/images").json()["images"] == []


def test_all_write_the_same(running: service.Service) -> None:
    """No change that was answered 200 is lost to another caller's."""
    image_id = running.create()

    def write(writer: int) -> list[int]:
        return [change(running, image_id, f"p{writer}", str(n)) for n in range(ROUNDS)]

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(write, range(WRITERS)))
    assert {status for one in answers for status in one} <= {200, 409}
    record = running.image(image_id)
    for writer, statuses in enumerate(answers):
        kept = [str(n) for n, status in enumerate(statuses) if status == 200]
        assert record.get(f"p{writer}") == (kept[-1] if kept else None)
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


def test_all_delete_the_same(running: service.Service) -> None:
    image_id = running.create()
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        asked = [
            pool.submit(running.ask, "DELETE", f"/v2/images/{image_id}") for _ in range(WRITERS)
        ]
    statuses = sorted(one.result().status for one in asked)
    assert statuses[0] == 204
    assert set(statuses[1:]) <= {204, 404, 409}


def test_all_import_the_same(running: service.Service) -> None:
    """One of them gets its import, the others are told of a conflict."""
    image_id = running.create(disk_format="raw")
    running.stage(image_id, b"x" * 5000)
    body = {"method": {"name": "glance-direct"}}
    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        path = f"/v2/images/{image_id}/import"
        asked = [pool.submit(running.ask, "POST", path, body) for _ in range(WRITERS)]
    assert sorted(one.result().status for one in asked) == [202, *[409] * (WRITERS - 1)]
    assert running.wait_for_task(image_id)["status"] == "success"
    assert len(running.ask("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]) == 1
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
