"""POST /import and GET /tasks (contract sections 2.5 and 2.6); what workers do then is tested elsewhere."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import models
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

Execute = Callable[[Any], None]
FORMATS = {"disk_format": "raw", "container_format": "bare"}
DIRECT = {"method": {"name": "glance-direct"}}
WEB = {"method": {"name": "web-download", "uri": "http://example.org/image"}}


def start(api: Api, image_id: str, body: Any, **headers: str) -> Any:
    return api.ask("POST", f"/v2/images/{image_id}/import", body, headers=headers)


def staged(api: Api, **fields: str) -> str:
    image_id = api.create(**(FORMATS | fields))
    assert api.put(image_id, b"data", "stage").status_code == 204
    return image_id


def test_an_import_is_written_down(api: Api) -> None:
    image_id = staged(api)
    answer = start(api, image_id, DIRECT)
    assert (answer.status_code, answer.data) == (202, b"")
    image = api.show(image_id)
    tasks = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]
    assert (image["status"], len(tasks)) == ("importing", 1)
    assert image["os_glance_import_task"] == tasks[0]["id"]
    dates = {name: tasks[0].pop(name) for name in ("created_at", "updated_at")}
    assert all(len(date) == len("2026-01-01T00:00:00.000000") for date in dates.values())
    assert tasks[0] == {
        "id": image["os_glance_import_task"],
        "type": "api_image_import",
        "status": "pending",
        "owner": OWNER,
        "expires_at": None,
        "deleted": False,
        "deleted_at": None,
        "image_id": image_id,
        "request_id": answer.headers["x-openstack-request-id"],
        "user_id": "demo",
        "input": {"image_id": image_id, "import_req": DIRECT, "backend": [None]},
        "result": None,
        "message": "",
        "progress": None,
    }
    assert start(api, image_id, DIRECT).status_code == 409


def test_how_far_a_task_is(api: Api, execute: Execute) -> None:
    image_id = staged(api)
    start(api, image_id, DIRECT)
    run = {"step": "convert", "bytes_done": 5, "bytes_total": None, "attempt": 2}
    execute(sa.update(models.TaskRun).values(run))
    tasks = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]
    assert tasks[0]["progress"] == run


@pytest.mark.parametrize(
    "body",
    [
        [],
        "x",
        5,
        {},
        {"method": None},
        {"method": []},
        {"method": "glance-direct"},
        {"method": {}},
        {"method": {"name": None}},
        {"method": {"name": ["glance-direct"]}},
        {"method": {"name": "teleport"}},
        {"method": {"name": "copy-image"}},
        DIRECT | {"all_stores": "yes"},
        DIRECT | {"all_stores_must_succeed": 1},
        {"method": {"name": "web-download"}},
        {"method": {"name": "web-download", "uri": 5}},
        {"method": {"name": "web-download", "uri": "file:///etc/passwd"}},
        {"method": {"name": "web-download", "uri": "http://[broken"}},
        {"method": {"name": "web-download", "uri": "http://example.org:22/"}},
    ],
)
def test_bodies_that_are_no_import(api: Api, body: Any) -> None:
    image_id = staged(api)
    answer = start(api, image_id, body)
    assert answer.status_code == 400, answer.text
    assert api.show(image_id)["status"] == "uploading"
    assert api.ask("GET", f"/v2/images/{image_id}/tasks").get_json() == {"tasks": []}


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff", b"NaN", b"[" * 100000, b'{"a":' * 50 + b"1" + b"}" * 50]
)
def test_bodies_that_are_no_json(api: Api, raw: bytes) -> None:
    answer = api.ask("POST", f"/v2/images/{api.create()}/import", data=raw)
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("status", "body"),
    [
        ("active", DIRECT),
        ("queued", DIRECT),
        ("importing", DIRECT),
        ("active", WEB),
        ("uploading", WEB),
        ("deactivated", WEB),
    ],
)
def test_statuses_that_do_not_allow_it(
    api: Api, execute: Execute, status: str, body: dict[str, Any]
) -> None:
    image_id = api.create(**FORMATS)
    execute(sa.update(models.Image).values(status=status))
    assert start(api, image_id, body).status_code == 409


@pytest.mark.parametrize("missing", ["disk_format", "container_format"])
def test_formats_must_be_set(api: Api, execute: Execute, missing: str) -> None:
    image_id = staged(api)
    execute(sa.update(models.Image).values({missing: None}))
    answer = start(api, image_id, DIRECT)
    assert answer.status_code == 409
    assert missing in answer.text


@pytest.mark.parametrize(
    ("more", "store", "code", "chosen"),
    [
        ({}, None, 202, ["fast"]),
        ({}, "cheap", 202, ["cheap"]),
        ({"stores": ["cheap", "fast"]}, None, 202, ["cheap", "fast"]),
        ({"all_stores": True}, None, 202, ["fast", "cheap"]),
        ({"all_stores": True, "all_stores_must_succeed": False}, None, 202, ["fast", "cheap"]),
        ({}, "unknown", 409, None),
        ({"stores": ["unknown"]}, None, 409, None),
        ({"stores": ["web"]}, None, 409, None),
        ({"stores": []}, None, 400, None),
        ({"stores": "fast"}, None, 400, None),
        ({"stores": [5]}, None, 400, None),
        ({"stores": ["fast"]}, "cheap", 400, None),
        ({"all_stores": True}, "cheap", 400, None),
        ({"all_stores": True, "stores": ["fast"]}, None, 400, None),
    ],
)
def test_stores(
    caller: Caller,
    several_stores: str,
    more: dict[str, Any],
    store: str | None,
    code: int,
    chosen: list[str] | None,
) -> None:
    api = caller(options=several_stores)
    image_id = staged(api)
    headers = {"X-Image-Meta-Store": store} if store else {}
    answer = start(api, image_id, DIRECT | more, **headers)
    assert answer.status_code == code, answer.text
    if chosen:
        task = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"][0]
        assert task["input"]["backend"] == chosen
        marks = api.show(image_id)["os_glance_importing_to_stores"]
        assert marks == ",".join(sorted(chosen))


def test_who_may_import(caller: Caller) -> None:
    image_id = staged(caller())
    assert start(caller(roles="reader"), image_id, DIRECT).status_code == 403
    assert start(caller(project=STRANGER), image_id, DIRECT).status_code == 404
    assert caller(project=STRANGER).ask("GET", f"/v2/images/{image_id}/tasks").status_code == 404
    assert start(caller(), "unknown", DIRECT).status_code == 404


def test_another_projects_tasks_are_not_shown(caller: Caller) -> None:
    image_id = staged(caller())
    start(caller(project="support", roles="admin"), image_id, DIRECT)
    path = f"/v2/images/{image_id}/tasks"
    assert caller().ask("GET", path).get_json() == {"tasks": []}
    assert len(caller(roles="admin").ask("GET", path).get_json()["tasks"]) == 1


def test_a_single_store_need_not_succeed(api: Api) -> None:
    """What `openstack image import` says by itself, and Glance refuses; with one store it changes nothing."""
    image_id = staged(api)
    more = {"all_stores": False, "all_stores_must_succeed": False}
    assert start(api, image_id, DIRECT | more).status_code == 202
    assert api.show(image_id)["status"] == "importing"
