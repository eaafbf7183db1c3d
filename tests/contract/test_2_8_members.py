"""Contract section 2.8: /v2/images/{id}/members."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import SHARED_WITH, Row, each

ALL, ONE = "/v2/images/{id}/members", f"/v2/images/{{id}}/members/{SHARED_WITH}"
PENDING, ACCEPTED = {SHARED_WITH: "pending"}, {SHARED_WITH: "accepted"}
RECORD = {
    "member_id": SHARED_WITH,
    "image_id": "{id}",
    "status": "pending",
    "schema": "/v2/schemas/member",
}
NEW = {"member": SHARED_WITH}
NOBODY: list[Any] = [
    {},
    [],
    *({"member": value} for value in each(None, "", 5, [], {}, "x" * 256, "a\0")),
]
NO_ANSWER: list[Any] = [
    {},
    [],
    *({"status": value} for value in each(None, "", 5, [], "maybe", "Accepted")),
]
NOT_SHARED = [{"visibility": value} for value in ("private", "community", "public")]

ROWS = [
    Row("add: 200, not 201", f"POST {ALL}", 200, json=NEW, holds=RECORD),
    *(Row(f"add {body}"[:60], f"POST {ALL}", 400, json=body) for body in NOBODY),
    *(
        Row(f"add to what is not shared {image}", f"POST {ALL}", 403, json=NEW, image=image)
        for image in NOT_SHARED
    ),
    Row("add by a member", f"POST {ALL}", 403, who="member", members=PENDING, json={"member": "x"}),
    Row("add by a reader", f"POST {ALL}", 403, who="reader", json=NEW),
    Row("add by an administrator", f"POST {ALL}", 200, who="admin", json=NEW),
    Row("add, invisible", f"POST {ALL}", 404, who="stranger", json=NEW),
    Row("add, missing", "POST /v2/images/missing/members", 404, json=NEW),
    Row("add twice", f"POST {ALL}", 409, members=PENDING, json=NEW),
    Row(
        "add one too many",
        f"POST {ALL}",
        413,
        members=PENDING,
        json={"member": "x"},
        options={"image_member_quota": 1},
    ),
    Row("list, none", f"GET {ALL}", 200, equals={"members": [], "schema": "/v2/schemas/members"}),
    Row(
        "list by the owner",
        f"GET {ALL}",
        200,
        members={"x": "pending", **PENDING},
        says=SHARED_WITH,
    ),
    Row("list, invisible", f"GET {ALL}", 404, who="stranger", members=PENDING),
    Row("list, missing", "GET /v2/images/missing/members", 404),
    *(
        Row(f"list of what is not shared {image}", f"GET {ALL}", 403, image=image)
        for image in NOT_SHARED
    ),
    Row("show to the owner", f"GET {ONE}", 200, members=PENDING, holds=RECORD),
    Row("show to the member", f"GET {ONE}", 200, who="member", members=PENDING, holds=RECORD),
    Row("show one who is none", f"GET {ONE}", 404),
    Row(
        "show another member",
        "GET /v2/images/{id}/members/x",
        404,
        who="member",
        members={"x": "pending", **PENDING},
    ),
    Row("show, invisible", f"GET {ONE}", 404, who="stranger", members=PENDING),
    *(
        Row(
            f"from {was} to {status}",
            f"PUT {ONE}",
            200,
            who=who,
            members={SHARED_WITH: was},
            json={"status": status},
            holds={"status": status},
        )
        for who in ("member", "admin")
        for was in ("pending", "accepted", "rejected")
        for status in ("pending", "accepted", "rejected")
    ),
    Row("answer by the owner", f"PUT {ONE}", 403, members=PENDING, json={"status": "accepted"}),
    *(
        Row(f"answer {body}", f"PUT {ONE}", 400, who="member", members=PENDING, json=body)
        for body in NO_ANSWER
    ),
    Row("answer of one who is none", f"PUT {ONE}", 404, who="admin", json={"status": "accepted"}),
    Row(
        "answer, invisible",
        f"PUT {ONE}",
        404,
        who="stranger",
        members=PENDING,
        json={"status": "accepted"},
    ),
    Row("remove", f"DELETE {ONE}", 204, members=PENDING),
    Row("remove by an administrator", f"DELETE {ONE}", 204, who="admin", members=PENDING),
    Row("remove by the member", f"DELETE {ONE}", 403, who="member", members=ACCEPTED),
    Row("remove one who is none", f"DELETE {ONE}", 404),
    Row("remove, invisible", f"DELETE {ONE}", 404, who="stranger", members=PENDING),
    *(
        Row(
            f"a {status} member sees the image",
            "GET /v2/images/{id}",
            200,
            who="member",
            members={SHARED_WITH: status},
        )
        for status in ("pending", "accepted", "rejected")
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_a_member_lists_itself_alone(world: World) -> None:
    image_id = world.make(Row("two", "GET /", 200, members={"x": "pending", **ACCEPTED}))
    path = f"/v2/images/{image_id}/members"
    for who, found in (("owner", ["x", SHARED_WITH]), ("member", [SHARED_WITH])):
        shown = world.ask(who, "GET", path).get_json()["members"]
        assert sorted(one["member_id"] for one in shown) == sorted(found)


def test_one_who_comes_back_is_pending_again(world: World) -> None:
    image_id = world.make(Row("back", "GET /", 200, members=ACCEPTED))
    path = f"/v2/images/{image_id}/members"
    assert world.ask("owner", "DELETE", f"{path}/{SHARED_WITH}").status_code == 204
    assert world.ask("member", "GET", f"/v2/images/{image_id}").status_code == 404
    assert world.ask("owner", "POST", path, NEW).get_json()["status"] == "pending"
