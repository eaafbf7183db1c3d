"""Eight callers that write at the same time: each is served, on every database."""

import concurrent.futures
import contextlib
import random
from collections.abc import Callable, Iterator

import pytest
import urllib3

from tests import service
from tests.integration import databases

WRITERS = 8
ROUNDS = 12
_RAW = {"disk_format": "raw", "container_format": "bare"}
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


def test_all_at_once_on_the_same_images(running: service.Service) -> None:
    """Each does everything to everybody's images: refused or too late at times, but never a 5xx."""
    ids = [running.create(disk_format="raw") for _ in range(WRITERS)]

    def replace(path: str) -> urllib3.BaseHTTPResponse:
        assert running.ask("DELETE", path).status in (204, 404, 409)
        made = running.ask("POST", "/v2/images", _RAW)
        ids.append(made.json()["id"])
        return made

    patch = [{"op": "add", "path": "/round", "value": "1"}]
    body = {"method": {"name": "glance-direct"}}
    acts: list[Callable[[str], urllib3.BaseHTTPResponse]] = [
        lambda path: running.ask("PUT", f"{path}/stage", b"x" * 5000),
        lambda path: running.ask("POST", f"{path}/import", body),
        lambda path: running.ask("PUT", f"{path}/tags/one"),
        lambda path: running.ask("PATCH", path, patch, Content_Type=_PATCH),
        lambda _: running.ask("GET", "/v2/images?tag=one&round=1&sort=name:asc"),
        lambda path: running.ask("DELETE", f"{path}/tags/one"),
        lambda path: running.ask("PUT", f"{path}/file", b"x" * 5000),
        replace,
    ]

    def work(writer: int) -> set[int]:
        chosen = random.Random(writer)  # noqa: S311 - the same in every run
        newest = range(3 * ROUNDS)
        return {
            chosen.choice(acts)(f"/v2/images/{chosen.choice(ids[-WRITERS:])}").status
            for _ in newest
        }

    with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
        statuses = set().union(*pool.map(work, range(WRITERS)))
    assert max(statuses) < 500, statuses
    for image_id in ids:
        assert running.ask("DELETE", f"/v2/images/{image_id}").status in (204, 404)


@pytest.mark.parametrize(("how", "rounds"), [("upload", 200), ("import", 40)])
def test_delete_right_after_an_image_turned_active(
    running: service.Service, how: str, rounds: int
) -> None:
    """A poller sees `active`, and deletes at once, while the upload or the worker is still tidying up."""

    def once(_: int) -> int:
        image_id = running.create(disk_format="raw")
        path = f"/v2/images/{image_id}"
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            if how == "upload":
                bringing = other.submit(running.ask, "PUT", f"{path}/file", b"x" * 5000)
            else:
                running.stage(image_id, b"x" * 5000)
                body = {"method": {"name": "glance-direct"}}
                bringing = other.submit(running.ask, "POST", f"{path}/import", body)
            service.wait_for(
                lambda: running.image(image_id)["status"] == "active", "the image to be active"
            )
            status = running.ask("DELETE", path).status
            assert bringing.result().status in (202, 204)
        return status

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(once, range(rounds))) == {204}
    assert running.ask("GET", "/v2/images").json()["images"] == []


def test_all_fill_a_namespace_that_is_deleted(running: service.Service) -> None:
    """Whoever comes too late is told that it is gone; nobody meets an error of the server."""
    spaces, kind = "/v2/metadefs/namespaces", "OS::Nova::Server"
    for n in range(ROUNDS):
        assert running.ask("POST", spaces, {"namespace": f"n{n}"}).status == 201
        space = f"{spaces}/n{n}"

        def fill(writer: int, space: str = space) -> set[tuple[str, int]]:
            done = [
                ("POST", "objects", {"name": f"o{writer}"}),
                ("POST", "properties", {"name": f"p{writer}", "title": "p", "type": "string"}),
                ("POST", f"tags/t{writer}", None),
                ("POST", "resource_types", {"name": f"{kind}{writer}"}),
                ("DELETE", f"tags/t{writer}", None),
            ]
            return {
                (method, running.ask(method, f"{space}/{part}", body).status)
                for method, part, body in done
            }

        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            filled = [pool.submit(fill, writer) for writer in range(WRITERS)]
            ended = pool.submit(running.ask, "DELETE", space)
        seen = set[tuple[str, int]]().union(*(one.result() for one in filled))
        assert seen <= {("POST", 201), ("POST", 404), ("DELETE", 204), ("DELETE", 404)}
        assert ended.result().status == 204
        assert running.ask("GET", space).status == 404


def test_all_name_the_same_new_resource_type(running: service.Service) -> None:
    """It is made once, and each namespace is meant for it."""
    for n in range(ROUNDS):

        def make(writer: int, n: int = n) -> int:
            types = [{"name": f"OS::New::{n}"}]
            body = {"namespace": f"w{writer}-{n}", "resource_type_associations": types}
            return running.ask("POST", "/v2/metadefs/namespaces", body).status

        with concurrent.futures.ThreadPoolExecutor(WRITERS) as pool:
            assert set(pool.map(make, range(WRITERS))) == {201}
    found = running.ask("GET", "/v2/metadefs/resource_types").json()["resource_types"]
    assert len({one["name"] for one in found}) == len(found) >= ROUNDS
