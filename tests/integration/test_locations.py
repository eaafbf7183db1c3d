"""Locations and stores on each database, through real servers, by several callers at once."""

import concurrent.futures
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import service, web
from tests.integration import databases

DATA = bytes(range(256)) * 4096  # 1 MiB
KIND = "application/openstack-images-v2.1-json-patch"
#: How often two callers race.
ROUNDS = 8


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat with three stores, one of the web."""
    state = tmp_path_factory.mktemp("gantry")
    options = f"""allowed_hosts = [127.0.0.1]
[DEFAULT]
enabled_backends = fast:file,cheap:file,web:http
show_multiple_locations = true
[fast]
filesystem_store_datadir = {state}/fast
[cheap]
filesystem_store_datadir = {state}/cheap
weight = 9
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[glance_store]
default_backend = fast
[gantry]
lease_seconds = 5
heartbeat_seconds = 0.2
sweep_seconds = 1
"""
    names = ("api", "worker", "beat")
    if request.param == "sqlite":
        with service.running(state, *names, options=options) as whole:
            yield whole
        return
    with getattr(databases, request.param)() as url:
        options += f"[database]\nconnection = {url}\n"
        with service.running(state, *names, options=options) as whole:
            yield whole


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with web.serving({"/data": web.whole(DATA), "/same": web.whole(DATA)}) as url:
        yield url


def patch(running: service.Service, image_id: str, *changes: dict[str, Any]) -> int:
    body = json.dumps(changes).encode()
    return running.ask("PATCH", f"/v2/images/{image_id}", body, Content_Type=KIND).status


def add(url: str) -> dict[str, Any]:
    return {"op": "add", "path": "/locations/-", "value": {"url": url, "metadata": {}}}


def at_once(*calls: Callable[[], int]) -> list[int]:
    """The statuses of calls that are made at the same time, sorted."""
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return sorted(pool.map(lambda call: call(), calls))


def in_both(running: service.Service) -> str:
    """An image in the stores `fast` and `cheap`."""
    image_id = running.create(disk_format="raw")
    running.stage(image_id, DATA)
    body = {"method": {"name": "glance-direct"}, "stores": ["fast", "cheap"]}
    assert running.ask("POST", f"/v2/images/{image_id}/import", body).status == 202
    assert running.wait_for_task(image_id)["status"] == "success"
    return image_id


def holders(running: service.Service, image_id: str) -> set[str]:
    return {name for name in ("fast", "cheap") if (running.state / name / image_id).exists()}


def test_locations_come_and_go(running: service.Service, server: str) -> None:
    image_id = running.create(disk_format="raw")
    assert patch(running, image_id, add(f"{server}/data"), add(f"{server}/same")) == 200
    image = running.image(image_id)
    assert (image["status"], image["size"], image["stores"]) == ("active", len(DATA), "web,web")
    described = [one | {"metadata": {"n": "1"}} for one in image["locations"]]
    assert (
        patch(running, image_id, {"op": "replace", "path": "/locations", "value": described}) == 200
    )
    assert running.image(image_id)["locations"][1]["metadata"] == {"n": "1", "store": "web"}
    assert patch(running, image_id, {"op": "remove", "path": "/locations/0"}) == 200
    assert [one["url"] for one in running.image(image_id)["locations"]] == [f"{server}/same"]
    assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


@pytest.mark.parametrize("good", [True, False])
def test_a_location_is_added(running: service.Service, server: str, *, good: bool) -> None:
    image_id = running.create(disk_format="raw")
    value = hashlib.sha256(DATA).hexdigest() if good else "ab" * 32
    said = {"os_hash_algo": "sha256", "os_hash_value": value}
    body = {"url": f"{server}/data", "validation_data": said}
    assert running.ask("POST", f"/v2/images/{image_id}/locations", body).status == 202
    task, image = running.wait_for_task(image_id), running.image(image_id)
    assert (task["status"], image["status"]) == (
        ("success", "active") if good else ("failure", "queued")
    )
    assert image["os_hash_value"] == (value if good else None)
    assert (len(image["locations"]), image["stores"]) == (int(good), "web")
    assert "os_glance_import_task" not in image


def test_two_add_a_location_at_once(running: service.Service, server: str) -> None:
    for _ in range(ROUNDS):
        image_id = running.create(disk_format="raw")

        def post(image_id: str = image_id) -> int:
            body = {"url": f"{server}/data"}
            return running.ask("POST", f"/v2/images/{image_id}/locations", body).status

        assert at_once(post, post) == [202, 409]
        assert running.wait_for_task(image_id)["status"] == "success"
        assert len(running.image(image_id)["locations"]) == 1


def test_a_location_and_an_upload_at_once(running: service.Service, server: str) -> None:
    """Whoever is first; the image has the data of one of them only."""
    for _ in range(ROUNDS):
        image_id = running.create(disk_format="raw")
        path = f"/v2/images/{image_id}"

        def post(path: str = path) -> int:
            return running.ask("POST", f"{path}/locations", {"url": f"{server}/data"}).status

        def put(path: str = path) -> int:
            return running.ask("PUT", f"{path}/file", DATA[:4096]).status

        found = at_once(post, put)
        assert found in ([202, 204], [204, 409], [202, 409])
        if 202 in found:
            running.wait_for_task(image_id)
        image = running.image(image_id)
        size = 4096 if 204 in found else len(DATA)
        assert (image["status"], image["size"], len(image["locations"])) == ("active", size, 1)
        assert "os_glance_import_task" not in image


def test_two_remove_the_last_but_one_at_once(running: service.Service) -> None:
    """An active image never loses all its data."""
    remove = {"op": "remove", "path": "/locations/0"}
    for _ in range(ROUNDS // 2):
        image_id = in_both(running)

        def take(image_id: str = image_id) -> int:
            return patch(running, image_id, remove)

        assert at_once(take, take) == [200, 403]
        assert len(holders(running, image_id)) == 1
        assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA


def test_two_take_from_different_stores_at_once(running: service.Service) -> None:
    for _ in range(ROUNDS // 2):
        image_id = in_both(running)

        def leave(store: str, image_id: str = image_id) -> int:
            return running.ask("DELETE", f"/v2/stores/{store}/{image_id}").status

        assert at_once(lambda: leave("fast"), lambda: leave("cheap")) == [204, 403]
        assert len(holders(running, image_id)) == 1
        assert running.ask("GET", f"/v2/images/{image_id}/file").data == DATA


def test_a_preferred_store(running: service.Service) -> None:
    image_id = in_both(running)
    cheap = running.state / "cheap" / image_id
    cheap.unlink()  # on one file system both stores hold the same file
    cheap.write_bytes(DATA[::-1])
    path = f"/v2/images/{image_id}/file"
    assert running.ask("GET", path).data == DATA[::-1]
    assert running.ask("GET", f"{path}?prefer=fast").data == DATA
    cheap.unlink()
    assert running.ask("GET", path).data == DATA
    assert running.ask("GET", path, Range="bytes=1-2").data == DATA[1:3]


def test_what_the_stores_are(running: service.Service) -> None:
    found = running.ask("GET", "/v2/info/stores/detail").json()["stores"]
    assert [(one["id"], one["type"], one["weight"]) for one in found] == [
        ("fast", "file", 0),
        ("cheap", "file", 9),
        ("web", "http", 0),
    ]
