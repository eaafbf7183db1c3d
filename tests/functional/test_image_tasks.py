"""GET /v2/images/{id}/tasks (contract section 2.6)."""

import datetime
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, models
from tests.functional.conftest import STRANGER, Api, Caller

Execute = Callable[[Any], None]
DIRECT = {"method": {"name": "glance-direct"}}


def imported(api: Api) -> str:
    """An image with a task."""
    image_id = api.create(disk_format="raw", container_format="bare")
    assert api.put(image_id, b"data", "stage").status_code == 204
    assert api.ask("POST", f"/v2/images/{image_id}/import", DIRECT).status_code == 202
    return image_id


def tasks(api: Api, image_id: str) -> Any:
    return api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]


def test_an_image_without_tasks(api: Api) -> None:
    assert tasks(api, api.create()) == []


@pytest.mark.parametrize("image_id", ["unknown", "x" * 300, "%00", "%F0%9F%98%80"])
def test_an_image_that_is_not_there(api: Api, image_id: str) -> None:
    assert api.ask("GET", f"/v2/images/{image_id}/tasks").status_code == 404


def test_an_image_that_may_not_be_seen(caller: Caller) -> None:
    image_id = imported(caller())
    path = f"/v2/images/{image_id}/tasks"
    assert caller(project=STRANGER).ask("GET", path).status_code == 404


def test_a_body_is_refused(api: Api) -> None:
    answer = api.ask("GET", f"/v2/images/{api.create()}/tasks", data=b"x")
    assert answer.status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_nothing_but_reading(api: Api, method: str) -> None:
    answer = api.ask(method, f"/v2/images/{api.create()}/tasks")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


def test_how_far_a_task_is(api: Api, execute: Execute) -> None:
    image_id = imported(api)
    run = {"step": "convert", "bytes_done": 5, "bytes_total": None, "attempt": 2}
    run |= {"rate": 7, "retries": 1}
    execute(sa.update(models.TaskRun).values(run))
    assert tasks(api, image_id)[0]["progress"] == run


def test_another_projects_tasks_are_not_shown(caller: Caller) -> None:
    """The task is the administrator's, whosever the image is."""
    api = caller()
    image_id = api.create(disk_format="raw", container_format="bare")
    api.put(image_id, b"data", "stage")
    support = caller(project="support", roles="admin")
    assert support.ask("POST", f"/v2/images/{image_id}/import", DIRECT).status_code == 202
    assert tasks(caller(), image_id) == []
    assert len(tasks(caller(roles="admin"), image_id)) == 1


def test_tasks_whose_time_is_over_are_not_shown(api: Api, execute: Execute) -> None:
    image_id = imported(api)
    hour = datetime.timedelta(hours=1)
    execute(sa.update(models.Task).values(expires_at=db.now() + hour))
    assert tasks(api, image_id)[0]["expires_at"] is not None
    execute(sa.update(models.Task).values(expires_at=db.now() - hour))
    assert tasks(api, image_id) == []


def test_only_so_many_are_shown(api: Api, execute: Execute) -> None:
    """What fails at once may be asked for again and again, and each request stands in its task."""
    image_id = imported(api)
    with db.reading() as session:
        row = session.execute(sa.select(models.Task.__table__)).one()._asdict()
        info = session.execute(sa.select(models.TaskInfo.__table__)).one()._asdict()
    ids = [f"{number:036}" for number in range(250)]
    execute(sa.insert(models.Task).values([row | {"id": one} for one in ids]))
    execute(sa.insert(models.TaskInfo).values([info | {"task_id": one} for one in ids]))
    assert len(tasks(api, image_id)) == 200


def test_a_request_is_kept_with_its_task_so_it_is_bounded(api: Api) -> None:
    image_id = api.create(disk_format="raw", container_format="bare")
    body = DIRECT | {"padding": "x" * (128 << 10)}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 413


def test_the_newest_task_comes_first(api: Api, execute: Execute) -> None:
    image_id = imported(api)
    first = tasks(api, image_id)[0]["id"]
    execute(sa.update(models.Task).values(status="failure"))
    execute(sa.update(models.Image).values(status="uploading"))
    assert api.ask("POST", f"/v2/images/{image_id}/import", DIRECT).status_code == 202
    found = [task["id"] for task in tasks(api, image_id)]
    assert (len(found), found[1]) == (2, first)
