"""A task whose worker died, taken up by another one: nothing twice, nothing lost, nothing left over.

The first worker is one that stops at a chosen place; its lease then lapses.
"""

import hashlib
import os
import pathlib
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import config, errors, imports, legacy, models, staging, stores, task_secrets
from tests import web
from tests.functional.conftest import Api, Caller
from workers import jobs

Execute = Callable[[Any], None]
DATA = os.urandom(64 << 10)
DIRECT = {"method": {"name": "glance-direct"}}
COPY = {"method": {"name": "copy-image"}}
CONVERT = "[image_import_opts]\nimage_import_plugins = [image_conversion]\n"


@pytest.fixture
def api(caller: Caller, several_stores: str) -> Api:
    """An administrator of a service with several stores."""
    return caller(roles="admin", options=f"{several_stores}{CONVERT}")


@pytest.fixture
def lapse(execute: Execute) -> Callable[[], None]:
    """The first worker has not been heard of for too long."""
    return lambda: execute(sa.update(models.TaskRun).values(expires=0))


def begun(api: Api, body: dict[str, Any], data: bytes = DATA, disk_format: str = "raw") -> str:
    """An image that is being imported into every store; its id."""
    image_id = api.create(disk_format=disk_format, container_format="bare")
    assert api.put(image_id, data, "stage").status_code == 204
    assert api.ask("POST", f"/v2/images/{image_id}/import", DIRECT | body).status_code == 202
    return image_id


def task_of(api: Api, image_id: str) -> dict[str, Any]:
    """Its newest task."""
    task: dict[str, Any] = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"][0]
    return task


def store_first(api: Api, image_id: str, *, written: bool) -> imports.Plan:
    """What the first worker does: it stores into `fast`, and perhaps writes that down."""
    plan = imports.begin(task_of(api, image_id)["id"], "first")
    assert plan is not None
    file = staging.path(image_id)
    place = stores.add("fast", image_id, file)
    if written:
        facts = staging.facts(file) or staging.inspect(file, digest=True)
        assert facts.digest
        staged = {"size": facts.size, "virtual_size": facts.size}
        formats = {"disk_format": "raw", "container_format": "bare"}
        imports.stored(plan, "fast", place, staged | formats, facts.digest)
    return plan


def holders(image_id: str, data: bytes = DATA) -> set[str]:
    """Stores that hold whole data."""
    found = set()
    for name in ("fast", "cheap"):
        file = pathlib.Path(config.CONF[name].filesystem_store_datadir) / image_id
        if file.exists():
            assert file.read_bytes() == data
            found.add(name)
    return found


def check_done(api: Api, image_id: str, data: bytes = DATA) -> None:
    """One location for each store, and nothing in staging."""
    record = api.show(image_id)
    assert record["status"] == "active"
    assert sorted(record["stores"].split(",")) == ["cheap", "fast"]
    assert record["os_glance_importing_to_stores"] == record["os_glance_failed_import"] == ""
    assert "os_glance_import_task" not in record
    assert holders(image_id, data) == {"fast", "cheap"}
    assert record["checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert not list(staging.path().iterdir())
    assert task_of(api, image_id)["status"] == "success"


@pytest.mark.parametrize("must_succeed", [True, False])
@pytest.mark.parametrize("written", [True, False])
def test_an_import_goes_on(
    api: Api, lapse: Callable[[], None], must_succeed: bool, written: bool
) -> None:
    """What is written down stays, what is not is written again."""
    body = {"all_stores": True, "all_stores_must_succeed": must_succeed}
    image_id = begun(api, body)
    store_first(api, image_id, written=written)
    is_active = written and not must_succeed
    assert api.show(image_id)["status"] == ("active" if is_active else "importing")
    lapse()
    jobs.run_import(task_of(api, image_id)["id"])
    check_done(api, image_id)


@pytest.mark.parametrize("must_succeed", [True, False])
def test_an_import_that_converts_goes_on(
    api: Api, lapse: Callable[[], None], tmp_path: pathlib.Path, must_succeed: bool
) -> None:
    """The record says what was brought until the image is active: the second attempt converts again."""
    (tmp_path / "raw").write_bytes(DATA)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(tmp_path / "raw")]
    subprocess.run([*command, str(tmp_path / "qcow2")], check=True)
    body = {"all_stores": True, "all_stores_must_succeed": must_succeed}
    image_id = begun(api, body, (tmp_path / "qcow2").read_bytes(), "qcow2")
    plan = imports.begin(task_of(api, image_id)["id"], "first")
    assert plan is not None
    converted = staging.path(image_id, ".raw")
    converted.write_bytes(DATA)
    facts = staging.inspect(converted, digest=True)
    assert facts.digest
    staged = {"size": len(DATA), "virtual_size": len(DATA)}
    staged |= {"disk_format": "raw", "container_format": "bare"}  # type: ignore[dict-item]
    place = stores.add("fast", image_id, converted)
    imports.stored(plan, "fast", place, staged, facts.digest)
    assert api.show(image_id)["disk_format"] == ("qcow2" if must_succeed else "raw")
    lapse()
    jobs.run_import(task_of(api, image_id)["id"])
    check_done(api, image_id)
    assert api.show(image_id)["disk_format"] == "raw"


def test_a_second_attempt_that_fails_takes_back_what_the_first_one_stored(
    api: Api, lapse: Callable[[], None]
) -> None:
    """No location, no byte, and the image can be imported again."""
    image_id = begun(api, {"all_stores": True})
    store_first(api, image_id, written=True)
    staging.remove(image_id)
    lapse()
    with pytest.raises(errors.ImportFailed, match="stage them again"):
        jobs.run_import(task_of(api, image_id)["id"])
    record = api.show(image_id)
    assert (record["status"], record["checksum"], record["size"]) == ("queued", None, None)
    assert "stores" not in record
    assert holders(image_id) == set()
    assert api.put(image_id, DATA, "stage").status_code == 204
    assert api.ask("POST", f"/v2/images/{image_id}/import", DIRECT).status_code == 202


def test_an_image_that_was_active_needs_nothing_from_staging(
    api: Api, lapse: Callable[[], None]
) -> None:
    """The other stores get their data from the store that has them."""
    image_id = begun(api, {"all_stores": True, "all_stores_must_succeed": False})
    store_first(api, image_id, written=True)
    staging.remove(image_id)
    lapse()
    jobs.run_import(task_of(api, image_id)["id"])
    check_done(api, image_id)


def test_a_source_that_gives_other_data_the_second_time(
    api: Api, lapse: Callable[[], None]
) -> None:
    """So does qemu-img. The stores of an image never hold different data: the second ones count."""
    image_id = begun(api, {"all_stores": True})
    store_first(api, image_id, written=True)
    staging.path(image_id).unlink()
    staging.path(image_id).write_bytes(DATA[::-1])
    lapse()
    jobs.run_import(task_of(api, image_id)["id"])
    check_done(api, image_id, DATA[::-1])


def test_a_worker_that_wakes_up_changes_nothing(api: Api, lapse: Callable[[], None]) -> None:
    """Its lease is another one's."""
    image_id = begun(api, {"all_stores": True})
    plan = store_first(api, image_id, written=True)
    lapse()
    jobs.run_import(task_of(api, image_id)["id"])
    before = api.show(image_id)
    place = ("file:///elsewhere", {"store": "cheap"})
    with pytest.raises(errors.Abandoned):
        imports.stored(plan, "cheap", place, {"size": 1, "virtual_size": 1}, {})
    with pytest.raises(errors.Abandoned):
        imports.missed(plan, "cheap")
    with pytest.raises(errors.Abandoned):
        imports.activate(plan, {"size": 1, "disk_format": "x", "container_format": "y"})
    with pytest.raises(errors.Abandoned):
        imports.fail(plan, "too late")
    assert api.show(image_id) == before
    assert task_of(api, image_id)["status"] == "success"
    check_done(api, image_id)


def test_a_copy_goes_on(api: Api, lapse: Callable[[], None]) -> None:
    """The store that was written down is passed over, the other one done."""
    image_id = api.create(disk_format="raw", container_format="bare")
    assert api.put(image_id, DATA).status_code == 204
    body = COPY | {"stores": ["cheap"]}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 202
    plan = imports.begin(task_of(api, image_id)["id"], "first")
    assert plan is not None
    source = imports.original_of(plan).places["fast"].value.removeprefix("file://")
    place = stores.add("cheap", image_id, pathlib.Path(source), link=False)
    imports.stored(plan, "cheap", place, {}, {})
    lapse()
    jobs.run_import(task_of(api, image_id)["id"])
    check_done(api, image_id)


def test_a_legacy_task_goes_on(caller: Caller, lapse: Callable[[], None]) -> None:
    """The image that the first attempt made is the one that is imported into."""
    api = caller(roles="admin", options=web.LOOPBACK)
    with web.serving({"/raw": web.whole(DATA)}) as url:
        properties = {"disk_format": "raw", "container_format": "bare", "name": "mine"}
        document = {"import_from": f"{url}/raw", "import_from_format": "raw"}
        body = {"type": "import", "input": document | {"image_properties": properties}}
        task_id = api.ask("POST", "/v2/tasks", body).get_json()["id"]
        plan = imports.begin(task_id, "first")
        assert plan is not None
        legacy.create(plan)
        assert api.show(plan.image_id)["status"] == "importing"
        lapse()
        jobs.run_import(task_id)
    task = api.ask("GET", f"/v2/tasks/{task_id}").get_json()
    assert (task["status"], task["result"]) == ("success", {"image_id": plan.image_id})
    images = api.ask("GET", "/v2/images?visibility=all").get_json()["images"]
    assert [(image["id"], image["status"]) for image in images] == [(plan.image_id, "active")]


def test_hostile_input_of_a_legacy_task(caller: Caller) -> None:
    """Members that other types of tasks have mean nothing here."""
    api = caller(roles="admin")
    document = {
        "import_from": "http://example.org/x",
        "import_req": "x",
        "backend": 5,
        "name": "copy-image",
        "all_stores_must_succeed": [],
    }
    task_id = api.ask("POST", "/v2/tasks", {"type": "import", "input": document}).get_json()["id"]
    with pytest.raises(errors.ImportFailed, match="import_from_format"):
        jobs.run_import(task_id)
    assert api.ask("GET", f"/v2/tasks/{task_id}").get_json()["status"] == "failure"


def test_a_token_is_not_kept_as_it_is(api: Api, execute: Execute) -> None:
    """Whoever has a copy of the table has no token; another database's key does not open it."""
    sealed = task_secrets.seal({"endpoint": "http://two", "token": "very-secret"})
    assert "secret" not in sealed
    execute(sa.insert(models.TaskSecret).values(task_id="a", value=sealed))
    assert task_secrets.of_task("a") == {"endpoint": "http://two", "token": "very-secret"}
    for task_id, value in (("b", sealed[:-4] + "AAAA"), ("c", "")):
        execute(sa.insert(models.TaskSecret).values(task_id=task_id, value=value))
        with pytest.raises(errors.ImportFailed, match="not at hand"):
            task_secrets.of_task(task_id)
    with pytest.raises(errors.ImportFailed, match="not at hand"):
        task_secrets.of_task("none")
