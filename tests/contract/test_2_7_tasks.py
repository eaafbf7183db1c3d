"""Contract section 2.7: /v2/tasks."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import Row, each

INPUT = {
    "import_from": "http://192.0.2.1/image",
    "import_from_format": "raw",
    "image_properties": {"name": "x", "disk_format": "raw", "container_format": "bare"},
}
TASK = {"type": "import", "input": INPUT}
BAD: list[Any] = [
    *({}, {"type": "import"}, {"input": INPUT}, {"type": "x", "input": INPUT}),
    *(
        {"type": kind, "input": INPUT}
        for kind in each(None, 5, [], "api_image_import", "location_import")
    ),
    *({"type": "import", "input": value} for value in each({}, [], "x", 5, None)),
    *(
        {"type": "import", "input": INPUT | {"import_from": url}}
        for url in each(
            None,
            5,
            "",
            "x",
            "file:///etc/passwd",
            "ftp://x/",
            "http://192.0.2.1:22/",
            "http://127.1/",
        )
    ),
    [],
]
UNKNOWN = "ABCDEFab-0000-4000-8000-000000000001"

ROWS = [
    Row(
        "make",
        "POST /v2/tasks",
        201,
        who="admin",
        json=TASK,
        holds={
            "type": "import",
            "status": "pending",
            "result": None,
            "message": "",
            "input": INPUT,
            "schema": "/v2/schemas/task",
            "owner": "admin-project",
        },
        lacks=("expires_at",),
    ),
    *(Row(f"bad {body}"[:80], "POST /v2/tasks", 400, who="admin", json=body) for body in BAD),
    *(
        Row(f"not by {who}: {ask} {body}", ask, 403, who=who, json=body)
        for who in ("owner", "reader", "service")
        for ask, body in (
            ("POST /v2/tasks", TASK),
            ("POST /v2/tasks", {"type": 5}),
            ("GET /v2/tasks", None),
            ("GET /v2/tasks?limit=x", None),
            (f"GET /v2/tasks/{UNKNOWN}", None),
        )
    ),
    Row(
        "list",
        "GET /v2/tasks?limit=0",
        200,
        who="admin",
        holds={"tasks": [], "first": "/v2/tasks?limit=0", "schema": "/v2/schemas/tasks"},
        lacks=("next",),
    ),
    *(
        Row(f"list {query}", f"GET /v2/tasks?{query}", 400, who="admin")
        for query in (
            "type=x",
            "type=api_image_import",
            "status=x",
            "marker=x",
            f"marker={UNKNOWN}",
            "sort_key=x",
            "sort_key=input",
            "sort_dir=x",
            "limit=x",
            "limit=-1",
        )
    ),
    *(
        Row(f"list {query}", f"GET /v2/tasks?{query}", 200, who="admin")
        for query in ("type=import", "status=pending", "sort_key=status&sort_dir=asc", "limit=1")
    ),
    Row("missing", f"GET /v2/tasks/{UNKNOWN}", 404, who="admin"),
    Row("no id", "GET /v2/tasks/x", 404, who="admin"),
    Row("delete", f"DELETE /v2/tasks/{UNKNOWN}", 405, who="admin", gives={"Allow": "GET"}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_a_task_alone_and_in_a_list(world: World) -> None:
    made = world.ask("admin", "POST", "/v2/tasks", TASK)
    task = made.get_json()
    assert made.headers["Location"] == f"http://localhost/v2/tasks/{task['id']}"
    assert world.ask("admin", "GET", f"/v2/tasks/{task['id']}").get_json() == task
    stub = {
        name: value
        for name, value in task.items()
        if name not in ("input", "result", "message", "image_id", "request_id", "user_id")
    }
    newest = world.ask("admin", "GET", "/v2/tasks").get_json()["tasks"]
    assert stub in newest
