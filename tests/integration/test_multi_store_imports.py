"""Imports and copies into several stores, as a caller sees them go on (contract sections 2.5 and 4.4)."""

import pathlib
import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import service, web

DATA = bytes(range(256)) * (16 << 10)  # 4 MiB
DIRECT = {"method": {"name": "glance-direct"}}
COPY = {"method": {"name": "copy-image"}}
MARKS = ("os_glance_importing_to_stores", "os_glance_failed_import")
NAMES = ("fast", "cheap", "frail")


def options(state: pathlib.Path) -> str:
    """Three file stores, a read-only one, and a method that is off by default."""
    return f"""
[DEFAULT]
enabled_backends = fast:file,cheap:file,frail:file,web:http
enabled_import_methods = [glance-direct,web-download,copy-image]
[fast]
filesystem_store_datadir = {state}/fast
weight = 5
[cheap]
filesystem_store_datadir = {state}/cheap
[frail]
filesystem_store_datadir = {state}/frail
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[glance_store]
default_backend = fast
[image_import_opts]
image_import_plugins = []
[gantry]
lease_seconds = 3
heartbeat_seconds = 0.2
sweep_seconds = 1
retry_pause = 0.1
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """API, worker and beat with these stores."""
    state = tmp_path_factory.mktemp("gantry")
    with service.running(state, "api", "worker", "beat", options=options(state)) as whole:
        yield whole


@pytest.fixture
def broken(running: service.Service) -> Iterator[str]:
    """The store `frail` while its disk is away: where the directory was there is a file."""
    place = running.state / "frail"
    shutil.rmtree(place, ignore_errors=True)
    place.touch()
    yield "frail"
    mend(running)


def mend(whole: service.Service) -> None:
    """The disk of the store `frail` is back, empty."""
    place = whole.state / "frail"
    if place.is_file():
        place.unlink()
        place.mkdir()


def holders(whole: service.Service, image_id: str) -> set[str]:
    """The stores that hold an image's whole data; nobody else may share a file with one."""
    found = set()
    for name in NAMES:
        file = whole.state / name / image_id
        if file.is_file():
            assert file.read_bytes() == DATA
            found.add(name)
    return found


def begin(whole: service.Service, image_id: str, body: dict[str, Any], **headers: str) -> int:
    """POST /import; the status of the answer."""
    return whole.ask("POST", f"/v2/images/{image_id}/import", body, **headers).status


def active(whole: service.Service, store: str = "fast") -> str:
    """An image whose data are in one store."""
    image_id = whole.create(disk_format="raw")
    path = f"/v2/images/{image_id}/file"
    assert whole.ask("PUT", path, DATA, X_Image_Meta_Store=store).status == 204
    return image_id


def staged(whole: service.Service) -> str:
    """An image with bytes in staging."""
    image_id = whole.create(disk_format="raw")
    whole.stage(image_id, DATA)
    return image_id


def in_stores(record: dict[str, Any]) -> set[str]:
    """What the record says."""
    return set(filter(None, record.get("stores", "").split(",")))


def marks(record: dict[str, Any]) -> tuple[str, str]:
    """Stores to come, and stores that failed."""
    coming, failed = (record[name] for name in MARKS)
    return coming, failed


def watch(whole: service.Service, image_id: str) -> list[tuple[str, str, frozenset[str]]]:
    """Each state that a poller sees until the task ends: status, stores to come, stores that hold it."""
    seen: list[tuple[str, str, frozenset[str]]] = []
    end = time.monotonic() + service.PATIENCE
    while time.monotonic() < end:
        record = whole.image(image_id)
        state = record["status"], record[MARKS[0]], frozenset(in_stores(record))
        if not seen or seen[-1] != state:
            seen.append(state)
        if "os_glance_import_task" not in record:
            return seen
    raise AssertionError(seen)


@pytest.mark.parametrize("must_succeed", [True, False])
def test_an_import_goes_on_store_by_store(running: service.Service, must_succeed: bool) -> None:
    """The list shrinks as `stores` grows; never active before the first store, or before the last one."""
    image_id = staged(running)
    body = DIRECT | {"all_stores": True, "all_stores_must_succeed": must_succeed}
    assert begin(running, image_id, body) == 202
    for status, coming, held in watch(running, image_id):
        assert set(filter(None, coming.split(","))).isdisjoint(held)
        assert status in ("importing", "active")
        if status == "active" and must_succeed:
            assert held == set(NAMES)
        if not must_succeed:
            assert (status == "active") == bool(held)
    record = running.image(image_id)
    assert (record["status"], in_stores(record), marks(record)) == ("active", set(NAMES), ("", ""))
    assert running.wait_for_task(image_id)["status"] == "success"


def test_one_of_several_stores_may_fail(running: service.Service, broken: str) -> None:
    """The image is active, the list names the store, and a copy makes up for it."""
    image_id = staged(running)
    body = DIRECT | {"all_stores": True, "all_stores_must_succeed": False}
    assert begin(running, image_id, body) == 202
    assert running.wait_for_task(image_id)["status"] == "success"
    record = running.image(image_id)
    assert (record["status"], marks(record)) == ("active", ("", "frail"))
    assert holders(running, image_id) == in_stores(record) == {"fast", "cheap"}
    assert record["size"] == len(DATA)
    mend(running)
    assert begin(running, image_id, COPY | {"stores": ["frail"]}) == 202
    assert running.wait_for_task(image_id)["status"] == "success"
    record = running.image(image_id)
    assert (marks(record), in_stores(record)) == (("", ""), set(NAMES))


def test_a_copy_into_named_stores(running: service.Service) -> None:
    """The image stays active all the time; the copies are files of their own."""
    image_id = active(running)
    before = running.image(image_id)
    assert begin(running, image_id, COPY | {"stores": ["cheap", "frail"]}) == 202
    states = watch(running, image_id)
    assert {status for status, _, _ in states} == {"active"}
    record = running.image(image_id)
    assert (in_stores(record), marks(record)) == (set(NAMES), ("", ""))
    for name in ("checksum", "os_hash_value", "size", "virtual_size", "disk_format"):
        assert record[name] == before[name]
    assert holders(running, image_id) == set(NAMES)
    inodes = {(running.state / name / image_id).stat().st_ino for name in NAMES}
    assert len(inodes) == len(NAMES)
    task = running.task(image_id)
    assert (task["type"], task["status"]) == ("api_image_import", "success")
    assert task["result"] == {"image_id": image_id}
    assert task["input"]["backend"] == ["cheap", "frail"]
    assert not list((running.state / "staging").iterdir())


def test_a_copy_into_all_stores(running: service.Service) -> None:
    """Those that hold the image are passed over; where none is left, nothing is done and no task made."""
    image_id = active(running, "cheap")
    assert begin(running, image_id, COPY | {"all_stores": True}) == 202
    assert running.wait_for_task(image_id)["input"]["backend"] == ["fast", "frail"]
    assert holders(running, image_id) == set(NAMES)
    assert begin(running, image_id, COPY | {"all_stores": True}) == 202
    tasks = running.ask("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]
    assert len(tasks) == 1


def test_a_copy_that_must_succeed(running: service.Service, broken: str) -> None:
    """The image is as it was, the copies that were made are gone, and it can be tried again."""
    image_id = active(running)
    assert begin(running, image_id, COPY | {"all_stores": True}) == 202
    task = running.wait_for_task(image_id)
    assert (task["status"], broken in task["message"]) == ("failure", True), task["message"]
    record = running.image(image_id)
    assert (record["status"], in_stores(record)) == ("active", {"fast"})
    assert marks(record) == ("", "cheap,frail")
    assert holders(running, image_id) == {"fast"}
    assert begin(running, image_id, COPY | {"stores": ["cheap"]}) == 202
    assert running.wait_for_task(image_id)["status"] == "success"
    record = running.image(image_id)
    assert (in_stores(record), marks(record)) == ({"fast", "cheap"}, ("", "frail"))


def test_a_copy_that_need_not_succeed(running: service.Service, broken: str) -> None:
    """What can be copied is."""
    image_id = active(running)
    body = COPY | {"all_stores": True, "all_stores_must_succeed": False}
    assert begin(running, image_id, body) == 202
    assert running.wait_for_task(image_id)["status"] == "success"
    record = running.image(image_id)
    assert (in_stores(record), marks(record)) == ({"fast", "cheap"}, ("", "frail"))


def test_data_that_have_changed_are_not_copied(running: service.Service) -> None:
    """A store that lost bits must not spread them: the copy is held against the record's checksum."""
    image_id = active(running)
    file = running.state / "fast" / image_id
    file.write_bytes(b"\1" + DATA[1:])
    assert begin(running, image_id, COPY | {"stores": ["cheap"]}) == 202
    task = running.wait_for_task(image_id)
    assert (task["status"], "checksum" in task["message"]) == ("failure", True), task["message"]
    assert not (running.state / "cheap" / image_id).exists()
    record = running.image(image_id)
    assert (record["status"], in_stores(record)) == ("active", {"fast"})


def test_data_of_a_store_that_is_not_local(running: service.Service) -> None:
    """They come through staging, once, which is empty again at the end."""
    with web.serving({"/raw": web.whole(DATA)}) as url:
        image_id = running.create(disk_format="raw")
        path = f"/v2/images/{image_id}/locations"
        assert running.ask("POST", path, {"url": f"{url}/raw"}).status == 202
        service.wait_for(lambda: running.image(image_id)["status"] == "active", "the location")
        service.wait_for(
            lambda: "os_glance_import_task" not in running.image(image_id), "its digest"
        )
        assert begin(running, image_id, COPY | {"stores": ["cheap", "frail"]}) == 202
        task = running.wait_for_task(image_id)
        assert task["status"] == "success", task["message"]
        assert holders(running, image_id) == {"cheap", "frail"}
    assert not list((running.state / "staging").iterdir())


def test_a_copy_whose_worker_dies(tmp_path: pathlib.Path) -> None:
    """kill -9 with a copy waiting and one running: the next worker ends both, none is done twice."""
    with service.running(tmp_path, "api", "worker", "beat", options=options(tmp_path)) as whole:
        ids = [active(whole) for _ in range(4)]
        for image_id in ids:
            assert begin(whole, image_id, COPY | {"all_stores": True}) == 202
            assert begin(whole, image_id, COPY | {"all_stores": True}) in (202, 409)
        whole.kill("worker")
        whole.start("worker")
        for image_id in ids:
            assert whole.wait_for_task(image_id)["status"] == "success"
            assert holders(whole, image_id) == set(NAMES)
            record = whole.image(image_id)
            assert sorted(record["stores"].split(",")) == sorted(NAMES)
        assert not list((tmp_path / "staging").iterdir())


def test_an_import_whose_worker_dies_between_two_stores(tmp_path: pathlib.Path) -> None:
    """Whatever was stored when it died: one location for each store in the end, and the same data in all."""
    with service.running(tmp_path, "api", "worker", "beat", options=options(tmp_path)) as whole:
        ids = [staged(whole) for _ in range(4)]
        for image_id in ids:
            body = DIRECT | {"all_stores": True, "all_stores_must_succeed": image_id == ids[0]}
            assert begin(whole, image_id, body) == 202
        whole.kill("worker")
        whole.start("worker")
        for image_id in ids:
            task = whole.wait_for_task(image_id)
            assert task["status"] == "success", task["message"]
            assert holders(whole, image_id) == set(NAMES)
            assert sorted(whole.image(image_id)["stores"].split(",")) == sorted(NAMES)
        assert not list((tmp_path / "staging").iterdir())


def test_deleting_stops_a_copy(running: service.Service) -> None:
    """No byte is left in any store."""
    image_id = active(running)
    assert begin(running, image_id, COPY | {"all_stores": True}) == 202
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204
    service.wait_for(lambda: not holders(running, image_id), "the data to be gone", 20)
