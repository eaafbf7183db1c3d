"""/v2/tasks (contract section 2.7); what workers make of legacy tasks is tested in the system ring."""

import datetime
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, models
from tests.functional.conftest import OWNER, Api, Caller

Execute = Callable[[Any], None]
UUID = "36d4b546-64a2-4bb9-bdd0-ba676aa48f2c"
INPUT = {
    "import_from": "http://example.org/image",
    "import_from_format": "qcow2",
    "image_properties": {"name": "n", "disk_format": "qcow2", "container_format": "bare"},
}
TASK = {"type": "import", "input": INPUT}
STUB = {
    *("id", "type", "status", "owner", "created_at", "updated_at", "self", "schema"),
}
DIRECT = {"method": {"name": "glance-direct"}}


@pytest.fixture
def admin(caller: Caller) -> Api:
    """Somebody whom the policy lets use it."""
    return caller(roles="admin")


def make(api: Api, **changes: Any) -> dict[str, Any]:
    """A new task."""
    answer = api.ask("POST", "/v2/tasks", TASK | {"input": INPUT | changes})
    assert answer.status_code == 201, answer.text
    task: dict[str, Any] = answer.get_json()
    return task


def listed(api: Api, query: str = "") -> list[str]:
    """Ids of a page."""
    answer = api.ask("GET", f"/v2/tasks{query}")
    assert answer.status_code == 200, answer.text
    return [task["id"] for task in answer.get_json()["tasks"]]


def test_a_task_is_made(admin: Api) -> None:
    answer = admin.ask("POST", "/v2/tasks", TASK)
    assert answer.status_code == 201
    task = answer.get_json()
    assert answer.headers["Location"] == f"http://localhost/v2/tasks/{task['id']}"
    dates = [task.pop(name) for name in ("created_at", "updated_at")]
    assert all(len(date) == len("2026-01-01T00:00:00Z") for date in dates)
    path = f"/v2/tasks/{task['id']}"
    assert task == {
        "id": task["id"],
        "type": "import",
        "status": "pending",
        "owner": OWNER,
        "input": INPUT,
        "result": None,
        "message": "",
        "self": path,
        "schema": "/v2/schemas/task",
        "request_id": answer.headers["x-openstack-request-id"],
        "user_id": "demo",
    }
    shown = admin.ask("GET", path).get_json()
    assert {name: shown[name] for name in task} == task


@pytest.mark.parametrize(
    "document",
    [
        [],
        "x",
        5,
        None,
        {},
        {"type": "import"},
        {"input": INPUT},
        TASK | {"type": "teleport"},
        TASK | {"type": None},
        TASK | {"type": ["import"]},
        TASK | {"type": {"a": 1}},
        TASK | {"type": "api_image_import"},
        TASK | {"type": "location_import"},
        TASK | {"input": None},
        TASK | {"input": []},
        TASK | {"input": "http://example.org/"},
        TASK | {"input": {}},
        TASK | {"input": {"import_from": None}},
        TASK | {"input": {"import_from": 5}},
        TASK | {"input": {"import_from": ["http://example.org/"]}},
        TASK | {"input": {"import_from": "http://example.org/\0"}},
    ],
)
def test_bodies_that_are_no_task(admin: Api, document: Any) -> None:
    data = {"data": b"null"} if document is None else {}
    answer = admin.ask("POST", "/v2/tasks", document, **data)
    assert answer.status_code == 400, answer.text
    assert listed(admin) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff", b"[" * 100000])
def test_bodies_that_are_no_json(admin: Api, raw: bytes) -> None:
    assert admin.ask("POST", "/v2/tasks", data=raw).status_code == 400


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.org/image",
        "file:///etc/passwd",
        "filesystem:///etc/passwd",
        "ftp://example.org/image",
        "swift+http://example.org/image",
        "http://",
        "http://[broken",
        "http://example.org:22/",
        "http://127.1/",
        "http://0x7f.0.0.1/",
        "http://2130706433/",
        "http://0177.0.0.1/",
        "http://exa mple.org/",
        "http://refused.example.org/",
        "HTTP://refused.example.org./",
        "http://user@refused.example.org/",
        "http://[::ffff:10.0.0.1]/",
    ],
)
def test_urls_that_the_filter_refuses(caller: Caller, url: str) -> None:
    """OSSN-0105: a legacy task reaches no host that a web-download may not reach."""
    lists = "[import_filtering_opts]\ndisallowed_hosts = [refused.example.org,10.0.0.1]\n"
    admin = caller(roles="admin", options=lists)
    answer = admin.ask("POST", "/v2/tasks", TASK | {"input": INPUT | {"import_from": url}})
    assert answer.status_code == 400, answer.text
    assert listed(admin) == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/tasks"),
        ("GET", "/v2/tasks"),
        ("GET", f"/v2/tasks/{UUID}"),
        ("DELETE", f"/v2/tasks/{UUID}"),
        ("GET", "/v2/tasks?limit=x"),
    ],
)
def test_the_policy_comes_first(caller: Caller, method: str, path: str) -> None:
    """Whatever the body is, and whatever there is."""
    for data in (b"", b"{", b'{"type": "import"}'):
        answer = caller().ask(method, path, data=data)
        assert answer.status_code == 403


def test_policy_may_let_others_in(caller: Caller, tmp_path: Any) -> None:
    """They see the tasks of their own project only."""
    theirs = make(caller(project="support", roles="admin"))["id"]
    rules = tmp_path / "policy.yaml"
    rules.write_text('tasks_api_access: "role:member"\n')
    options = f"[oslo_policy]\npolicy_file = {rules}\n"
    api = caller(options=options)
    mine = make(api)["id"]
    assert listed(api) == [mine]
    assert listed(api, "?owner=support") == []
    assert api.ask("GET", f"/v2/tasks/{theirs}").status_code == 404
    assert api.ask("GET", f"/v2/tasks?marker={theirs}").status_code == 400
    both = caller(roles="admin,member", options=options)
    assert sorted(listed(both)) == sorted([mine, theirs])


@pytest.mark.parametrize(
    "task_id", [UUID, "x", "x" * 300, "%00", "%F0%9F%98%80", "a%2Fb", "%ED%A0%80"]
)
def test_a_task_that_is_not_there(admin: Api, task_id: str) -> None:
    assert admin.ask("GET", f"/v2/tasks/{task_id}").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v2/tasks/{id}", "GET"),
        ("PUT", "/v2/tasks", "GET, POST"),
        ("PATCH", "/v2/tasks", "GET, POST"),
        ("DELETE", "/v2/tasks", "GET, POST"),
    ],
)
def test_methods_that_there_are_not(admin: Api, method: str, path: str, allowed: str) -> None:
    answer = admin.ask(method, path.format(id=make(admin)["id"]))
    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert len(listed(admin)) == 1


def test_a_list_is_of_stubs(admin: Api, execute: Execute) -> None:
    make(admin)
    answer = admin.ask("GET", "/v2/tasks").get_json()
    assert answer.keys() == {"tasks", "first", "schema"}
    assert (answer["first"], answer["schema"]) == ("/v2/tasks", "/v2/schemas/tasks")
    assert answer["tasks"][0].keys() == STUB
    execute(sa.update(models.Task).values(expires_at=db.now() + datetime.timedelta(hours=1)))
    assert admin.ask("GET", "/v2/tasks").get_json()["tasks"][0].keys() == STUB | {"expires_at"}


def test_an_import_s_task(caller: Caller) -> None:
    """Every type is listed, and shown whole."""
    api = caller(roles="admin")
    image_id = api.create(disk_format="raw", container_format="bare")
    assert api.put(image_id, b"data", "stage").status_code == 204
    assert api.ask("POST", f"/v2/images/{image_id}/import", DIRECT).status_code == 202
    (task_id,) = listed(api)
    task = api.ask("GET", f"/v2/tasks/{task_id}").get_json()
    assert (task["type"], task["image_id"]) == ("api_image_import", image_id)
    assert task["input"]["import_req"] == DIRECT


@pytest.mark.parametrize(
    "query",
    [
        "type=api_image_import",
        "type=x",
        "status=done",
        "status=Pending",
        "marker=x",
        f"marker={UUID}",
        "marker=%00",
        "sort_key=input",
        "sort_key=%00",
        "sort_dir=up",
        "limit=-1",
        "limit=x",
        "limit=1.5",
    ],
)
def test_lists_that_cannot_be(admin: Api, query: str) -> None:
    assert admin.ask("GET", f"/v2/tasks?{query}").status_code == 400


def test_filters(admin: Api, execute: Execute) -> None:
    first, second = make(admin)["id"], make(admin)["id"]
    execute(sa.update(models.Task).where(models.Task.id == first).values(status="failure"))
    for query, expected in {
        "type=import": {first, second},
        "status=failure": {first},
        "status=pending": {second},
        "status=success": set(),
        f"owner={OWNER}": {first, second},
        "owner=somebody": set(),
        "owner=%00": set(),
        f"id={second}": {second},
        "unknown=x": {first, second},
        "status=": {first, second},
    }.items():
        assert set(listed(admin, f"?{query}")) == expected, query


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize(
    "key", ["created_at", "id", "status", "type", "owner", "updated_at", "expires_at", "image_id"]
)
def test_pages(admin: Api, execute: Execute, key: str, direction: str) -> None:
    """By `next` one comes to each task once, in the order of one long page."""
    made = [make(admin)["id"] for _ in range(5)]
    some = sa.update(models.Task).where(models.Task.id.in_(made[:3]))
    execute(some.values(expires_at=db.now() + datetime.timedelta(hours=1), image_id=UUID))
    order = f"sort_key={key}&sort_dir={direction}"
    whole = listed(admin, f"?{order}&limit=100")
    assert sorted(whole) == sorted(made)
    seen: list[str] = []
    path = f"/v2/tasks?{order}&limit=2"
    while path:
        answer = admin.ask("GET", path).get_json()
        seen += [task["id"] for task in answer["tasks"]]
        assert dict(urllib.parse.parse_qsl(answer["first"].partition("?")[2])) == {
            "sort_key": key,
            "sort_dir": direction,
            "limit": "2",
        }
        path = answer.get("next", "")
    assert seen == whole


def test_tasks_whose_time_is_over_go_when_tasks_are_listed(admin: Api, execute: Execute) -> None:
    old, new = make(admin)["id"], make(admin)["id"]
    hour = datetime.timedelta(hours=1)
    execute(sa.update(models.Task).where(models.Task.id == old).values(expires_at=db.now() - hour))
    assert admin.ask("GET", f"/v2/tasks/{old}").status_code == 200
    assert listed(admin) == [new]
    assert admin.ask("GET", f"/v2/tasks/{old}").status_code == 404
    with db.reading() as session:
        row = session.get_one(models.Task, old)
        assert row.deleted
        assert row.deleted_at is not None


def test_a_list_takes_no_body(admin: Api) -> None:
    assert admin.ask("GET", "/v2/tasks", data=b"x").status_code == 400
