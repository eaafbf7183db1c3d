"""Staging of its own on each host: what the API writes down, hides, and asks of whom."""

import pathlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, hosts, models, upkeep
from tests.functional.conftest import Api, Caller

Execute = Callable[[Any], None]
DATA = b"x" * 5000
FORMATS = {"disk_format": "raw", "container_format": "bare"}


@pytest.fixture
def on(caller: Caller, tmp_path: pathlib.Path) -> Callable[[str], Api]:
    """The API of one of several hosts, which share the database and the store."""

    def start(host: str) -> Api:
        options = f"""
enabled_import_methods = [glance-direct,web-download,copy-image]
[gantry]
host = {host}
staging_is_shared = false
[DEFAULT]
node_staging_uri = file://{tmp_path}/{host}
"""
        return caller(options=options, roles="admin,member,reader")

    return start


def marks(image_id: str) -> list[str | None]:
    """The host that the record names."""
    row = models.ImageProperty
    with db.reading() as session:
        query = sa.select(row.value).where(row.image_id == image_id, row.name == hosts.MARK)
        return list(session.scalars(query.where(row.deleted.is_(False))))


def queues(image_id: str) -> list[str]:
    """The queues of the image's tasks."""
    run, task = models.TaskRun, models.Task
    with db.reading() as session:
        query = sa.select(run.queue).join(task, task.id == run.task_id)
        return list(session.scalars(query.where(task.image_id == image_id)))


def staged(room: pathlib.Path) -> list[str]:
    return sorted(file.name for file in room.iterdir()) if room.exists() else []


def begin(api: Api, image_id: str, method: str = "glance-direct", **fields: Any) -> int:
    body = {"method": {"name": method} | fields}
    return api.ask("POST", f"/v2/images/{image_id}/import", body).status_code


@pytest.mark.parametrize("asked", ["a", "b"])
def test_staged_bytes_are_imported_where_they_are(on: Callable[[str], Api], asked: str) -> None:
    """Whichever host's API is asked."""
    api = on("a")
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, "stage").status_code == 204
    assert marks(image_id) == ["a"]
    api = on(asked)
    assert begin(api, image_id) == 202
    assert (queues(image_id), marks(image_id)) == (["convert@a"], [])
    assert api.show(image_id)["status"] == "importing"


def test_nobody_sees_or_sets_the_host(on: Callable[[str], Api]) -> None:
    """Contract section 2.1.2: such marks are never shown, and users may not have any of them."""
    api = on("a")
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, "stage").status_code == 204
    seen = api.ask("GET", f"/v2/images/{image_id}").text + api.ask("GET", "/v2/images").text
    assert image_id in seen
    assert hosts.MARK not in seen
    for operation in ("add", "replace", "remove"):
        change = {"op": operation, "path": f"/{hosts.MARK}", "value": "b"}
        assert api.patch(image_id, change).status_code == 403
    assert api.ask("POST", "/v2/images", {hosts.MARK: "b"}).status_code == 403
    assert marks(image_id) == ["a"]


def test_bytes_that_can_be_fetched_are_anybody_s(on: Callable[[str], Api]) -> None:
    api = on("a")
    image_id, copied = api.create(**FORMATS), api.create(**FORMATS)
    assert begin(api, image_id, "web-download", uri="http://example.org/raw") == 202
    assert api.put(copied, DATA).status_code == 204
    assert (queues(image_id), marks(image_id), marks(copied)) == (["fetch"], [], [])


def test_an_upload_leaves_no_mark(on: Callable[[str], Api], tmp_path: pathlib.Path) -> None:
    """Neither one that ends well nor one that fails, and then its image can be given bytes elsewhere."""
    api = on("a")
    image_id = api.create(**FORMATS)
    for what in ("file", "stage"):
        answer = api.put(image_id, DATA, what, X_OpenStack_Image_Size="7")
        assert (answer.status_code, marks(image_id), staged(tmp_path / "a")) == (400, [], [])
    api = on("b")
    assert api.put(image_id, DATA, "stage").status_code == 204
    assert marks(image_id) == ["b"]
    other = api.create(**FORMATS)
    assert api.put(other, DATA).status_code == 204
    assert (marks(other), api.show(other)["status"]) == ([], "active")


def test_deleting_at_another_host(on: Callable[[str], Api], tmp_path: pathlib.Path) -> None:
    """The record goes at once, the bytes with the upkeep of the host that has them."""
    api = on("a")
    image_id, stays = api.create(**FORMATS), api.create(**FORMATS)
    for one in (image_id, stays):
        assert api.put(one, DATA, "stage").status_code == 204
    api = on("b")
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    upkeep.run()
    assert staged(tmp_path / "a") == sorted(
        [image_id, f"{image_id}.facts", stays, f"{stays}.facts"]
    )
    on("a")
    upkeep.run()
    assert staged(tmp_path / "a") == [stays, f"{stays}.facts"]


def test_deleting_an_import_whose_host_is_gone(on: Callable[[str], Api]) -> None:
    """Nobody else could have begun it; its task ends with the image."""
    api = on("gone")
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, "stage").status_code == 204
    api = on("b")
    assert begin(api, image_id) == 202
    task_id = api.show(image_id)["os_glance_import_task"]
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    task = api.ask("GET", f"/v2/tasks/{task_id}").get_json()
    assert (task["status"], task["message"]) == ("failure", "The image was deleted")


@pytest.mark.parametrize("mark", ["http://other:9292", "", None])
def test_a_mark_that_names_no_queue(
    on: Callable[[str], Api], execute: Execute, mark: str | None
) -> None:
    """Glance writes the URL of one of its APIs; whoever has the bytes, it is no host of ours."""
    api = on("a")
    image_id = api.create(**FORMATS)
    execute(sa.update(models.Image).values(status="uploading", size=5))
    execute(sa.insert(models.ImageProperty).values(image_id=image_id, name=hosts.MARK, value=mark))
    assert begin(api, image_id) == 202
    assert (queues(image_id), marks(image_id)) == (["convert"], [])


def test_a_mark_that_was_deleted_is_written_anew(
    on: Callable[[str], Api], execute: Execute
) -> None:
    """As Glance deletes a property: the row stays, and its name is unique."""
    api = on("a")
    image_id = api.create(**FORMATS)
    row = {"image_id": image_id, "name": hosts.MARK, "value": "z", "deleted": True}
    execute(sa.insert(models.ImageProperty).values(**row))
    assert api.put(image_id, DATA, "stage").status_code == 204
    assert marks(image_id) == ["a"]


def test_shared_staging_knows_no_hosts(caller: Caller, execute: Execute) -> None:
    """Marks that are left from other times are of no effect, and go with the import."""
    api = caller()
    image_id = api.create(**FORMATS)
    execute(sa.insert(models.ImageProperty).values(image_id=image_id, name=hosts.MARK, value="z"))
    assert api.put(image_id, DATA, "stage").status_code == 204
    assert begin(api, image_id) == 202
    assert (queues(image_id), marks(image_id)) == (["convert"], [])
