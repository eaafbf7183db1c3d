"""Contract section 2.6: GET /v2/images/{id}/tasks."""

import re

import pytest

from tests.contract.conftest import World
from tests.contract.table import OWNER, Row

ASK = "GET /v2/images/{id}/tasks"
DIRECT = {"method": {"name": "glance-direct"}}
ROWS = [
    Row("none", ASK, 200, equals={"tasks": []}),
    Row("none, active", ASK, 200, status="stored", equals={"tasks": []}),
    Row("invisible", ASK, 404, of="stranger"),
    Row("missing", "GET /v2/images/missing/tasks", 404),
    Row(
        "another's public image",
        ASK,
        200,
        of="stranger",
        image={"visibility": "public"},
        equals={"tasks": []},
    ),
    Row("other methods", "POST /v2/images/{id}/tasks", 405, gives={"Allow": "GET"}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_the_members_of_a_task(world: World) -> None:
    image_id = world.make(Row("one", ASK, 200, status="staged"))
    path = f"/v2/images/{image_id}"
    asked = world.ask("owner", "POST", f"{path}/import", DIRECT)
    assert asked.status_code == 202
    (task,) = world.ask("owner", "GET", f"{path}/tasks").get_json()["tasks"]
    for name in ("created_at", "updated_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", task.pop(name))
    assert re.fullmatch("[0-9a-f-]{36}", task.pop("id"))
    task.pop("user_id")
    task.pop("progress")
    assert task == {
        "type": "api_image_import",
        "status": "pending",
        "owner": OWNER,
        "expires_at": None,
        "deleted": False,
        "deleted_at": None,
        "image_id": image_id,
        "request_id": asked.headers["x-openstack-request-id"],
        "input": {"image_id": image_id, "import_req": DIRECT, "backend": [None]},
        "result": None,
        "message": "",
    }


def test_a_task_belongs_to_the_project_that_asked(world: World) -> None:
    image_id = world.make(Row("two", ASK, 200, status="staged"))
    path = f"/v2/images/{image_id}"
    assert world.ask("admin", "POST", f"{path}/import", DIRECT).status_code == 202
    assert world.ask("owner", "GET", f"{path}/tasks").get_json() == {"tasks": []}
    (task,) = world.ask("admin", "GET", f"{path}/tasks").get_json()["tasks"]
    assert task["owner"] == "admin-project"
