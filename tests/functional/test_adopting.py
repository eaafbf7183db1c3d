"""What `gantry db adopt` makes of what Glance has left; tests/integration/test_adopt.py has a real Glance."""

import hashlib
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import adopting, errors, imports, models
from tests import web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from workers import jobs

DATA = b"0123456789" * 100
Execute = Callable[..., None]
NOTHING = {adopting.HANDED_OVER: 0, adopting.ENDED: 0, adopting.GIVEN_BACK: 0}


@pytest.fixture
def api(caller: Caller) -> Api:
    return caller(roles="admin,member,reader", options=web.LOOPBACK)


def abandon(execute: Execute, task_id: str, status: str = "processing") -> None:
    """Make a task one of Glance's: nobody of ours knows of it."""
    execute(sa.delete(models.TaskRun).where(models.TaskRun.task_id == task_id))
    execute(sa.update(models.Task).where(models.Task.id == task_id).values(status=status))


def change(execute: Execute, image_id: str, **values: Any) -> None:
    execute(sa.update(models.Image).where(models.Image.id == image_id).values(values))


def uploaded(api: Api) -> str:
    image_id = api.create(**importing.FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    return image_id


def data_of(api: Api, image_id: str) -> bytes:
    data: bytes = api.ask("GET", f"/v2/images/{image_id}/file").data
    return data


def test_our_own_tasks_are_left_alone(api: Api) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    assert adopting.settle() == NOTHING
    assert jobs.run_import(task_id) == "active"
    assert adopting.settle() == NOTHING


def test_an_import_goes_on_with_a_worker(api: Api, execute: Execute) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    abandon(execute, task_id)
    assert adopting.settle() == NOTHING | {adopting.HANDED_OVER: 1}
    assert adopting.settle() == NOTHING
    assert jobs.run_import(task_id) == "active"
    assert data_of(api, image_id) == DATA


def test_staged_data_that_are_gone_fail_the_import(
    api: Api, execute: Execute, tmp_path: pathlib.Path
) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    abandon(execute, task_id)
    (tmp_path / "staging" / image_id).unlink()
    assert adopting.settle()[adopting.HANDED_OVER] == 1
    with pytest.raises(errors.ImportFailed):
        jobs.run_import(task_id)
    assert api.show(image_id)["status"] == "queued"
    assert "stage them again" in importing.task_of(api, image_id)["message"]


def test_a_task_whose_image_went_on_touches_nothing(api: Api, execute: Execute) -> None:
    """Its lock was taken from it long ago, and the image has other data since."""
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    jobs.run_import(task_id)
    before = api.show(image_id)
    abandon(execute, task_id)
    assert adopting.settle() == NOTHING | {adopting.ENDED: 1}
    assert importing.task_of(api, image_id)["status"] == "failure"
    assert api.show(image_id) == before
    assert data_of(api, image_id) == DATA


def test_an_import_that_only_lacks_its_end_has_succeeded(api: Api, execute: Execute) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    jobs.run_import(task_id)
    abandon(execute, task_id)
    lock = {"image_id": image_id, "name": imports.LOCK, "value": task_id}
    execute(sa.insert(models.ImageProperty).values(lock))
    assert adopting.settle() == NOTHING | {adopting.ENDED: 1, adopting.GIVEN_BACK: 1}
    task = importing.task_of(api, image_id)
    assert (task["status"], task["result"]) == ("success", {"image_id": image_id})
    assert imports.LOCK not in api.show(image_id)
    assert data_of(api, image_id) == DATA


@pytest.mark.parametrize("was", ["processing", "pending"])
def test_a_task_without_its_image_ends(api: Api, execute: Execute, was: str) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    api.ask("DELETE", f"/v2/images/{image_id}")
    abandon(execute, task_id, was)
    assert adopting.settle() == NOTHING | {adopting.ENDED: 1}
    shown = api.ask("GET", f"/v2/tasks/{task_id}").get_json()
    assert (shown["status"], "deleted" in shown["message"]) == ("failure", True)


@pytest.mark.parametrize(
    "document", [None, {}, {"import_req": "old"}, {"import_req": {"method": 1}}]
)
def test_a_task_of_an_old_release_ends(api: Api, execute: Execute, document: Any) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    abandon(execute, task_id)
    info = sa.update(models.TaskInfo).where(models.TaskInfo.task_id == task_id)
    execute(info.values(input=document))
    assert adopting.settle() == NOTHING | {adopting.ENDED: 1, adopting.GIVEN_BACK: 1}
    assert api.show(image_id)["status"] == "queued"


def test_an_image_that_nobody_will_end_is_queued_again(
    api: Api, execute: Execute, tmp_path: pathlib.Path
) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id)
    abandon(execute, task_id, "failure")
    (tmp_path / "images").mkdir(exist_ok=True)
    (tmp_path / "images" / image_id).write_bytes(DATA)
    assert adopting.settle() == NOTHING | {adopting.GIVEN_BACK: 1}
    record = api.show(image_id)
    assert (record["status"], record["size"], record["checksum"]) == ("queued", None, None)
    assert imports.LOCK not in record
    assert not list((tmp_path / "staging").glob(f"{image_id}*"))
    assert not (tmp_path / "images" / image_id).exists()
    assert api.put(image_id, DATA).status_code == 204


def test_stores_that_were_to_come_have_failed(
    caller: Caller, execute: Execute, several_stores: str
) -> None:
    api = caller(roles="admin,member,reader", options=several_stores)
    image_id = uploaded(api)
    marks = ((imports.IMPORTING_TO, "cheap"), (imports.FAILED, ""), (imports.LOCK, "gone"))
    for name, value in marks:
        row = {"image_id": image_id, "name": name, "value": value}
        execute(sa.insert(models.ImageProperty).values(row))
    assert adopting.settle() == NOTHING | {adopting.GIVEN_BACK: 1}
    record = api.show(image_id)
    assert (record[imports.IMPORTING_TO], record[imports.FAILED]) == ("", "cheap")
    assert (record["status"], record["stores"]) == ("active", "fast")


def located(api: Api, execute: Execute, asked: str, written: str) -> tuple[str, str]:
    """An image to which a location was being added, with the row that Glance writes first; and the task."""
    image_id = api.create(**importing.FORMATS)
    digest = {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(DATA).hexdigest()}
    body = {"url": asked, "validation_data": digest}
    answer = api.ask("POST", f"/v2/images/{image_id}/locations", body)
    assert answer.status_code == 202, answer.text
    task_id = str(importing.task_of(api, image_id)["id"])
    abandon(execute, task_id)
    change(execute, image_id, status="importing", os_hash_algo="sha512")
    row = {"image_id": image_id, "value": written, "meta_data": {}, "status": "active"}
    execute(sa.insert(models.ImageLocation).values(row))
    return image_id, task_id


@pytest.fixture
def with_web(caller: Caller, several_stores: str) -> Api:
    """A service with a store of type http."""
    options = f"{several_stores}{web.LOOPBACK}"
    return caller(roles="admin,member,reader", options=options)


def test_a_location_is_added_once(with_web: Api, execute: Execute) -> None:
    with web.serving({"/data": web.whole(DATA)}) as url:
        image_id, task_id = located(with_web, execute, f"{url}/data", f"{url}/data")
        assert adopting.settle() == NOTHING | {adopting.HANDED_OVER: 1}
        assert jobs.run_import(task_id) == "active"
        places = with_web.ask("GET", f"/v2/images/{image_id}/locations").get_json()
        assert [one["url"] for one in places] == [f"{url}/data"]
        assert data_of(with_web, image_id) == DATA


def test_the_data_behind_a_location_are_somebody_elses(
    with_web: Api, execute: Execute, tmp_path: pathlib.Path
) -> None:
    theirs = tmp_path / "fast" / uploaded(with_web)
    with web.serving({"/data": web.whole(DATA)}) as url:
        image_id, task_id = located(with_web, execute, f"{url}/data", f"file://{theirs}")
    execute(sa.update(models.Task).where(models.Task.id == task_id).values(status="failure"))
    assert adopting.settle() == NOTHING | {adopting.GIVEN_BACK: 1}
    assert with_web.show(image_id)["status"] == "queued"
    assert theirs.read_bytes() == DATA


def test_encrypted_locations_are_refused(api: Api, execute: Execute) -> None:
    image_id = uploaded(api)
    execute(sa.update(models.ImageLocation).values(value="gAAAAABk"))
    with pytest.raises(errors.Conflict, match="metadata_encryption_key"):
        adopting.settle()
    assert api.show(image_id)["status"] == "active"
