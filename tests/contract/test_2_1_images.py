"""Contract section 2.1: make, show and delete images; their lists are in test_2_1_list.py."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import OWNER, RAW, STRANGER, Row, each

UUID = "ABCDEFab-0000-4000-8000-00000000000{}"
LONG, TOO_LONG = "x" * 255, "x" * 256
EMPTY: dict[str, Any] = {
    **dict.fromkeys(
        ("name", "disk_format", "container_format", "size", "virtual_size", "checksum")
    ),
    "os_hash_algo": None,
    "os_hash_value": None,
    "tags": [],
    "min_disk": 0,
    "min_ram": 0,
    "status": "queued",
    "visibility": "shared",
    "protected": False,
    "os_hidden": False,
    "owner": OWNER,
    "schema": "/v2/schemas/image",
}
READ_ONLY: dict[str, Any] = {
    "status": "active",
    "size": 1,
    "virtual_size": 1,
    "checksum": "x" * 32,
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "self": "x",
    "file": "x",
    "schema": "x",
    "direct_url": "x",
    "stores": "x",
    "locations": [],
    "location": "x",
    "deleted": "x",
    "deleted_at": "x",
    "os_hash_algo": "md5",
    "os_hash_value": "x",
    "os_glance_import_task": "x",
    "os_glancex": "x",
}
NONSENSE: list[dict[str, Any]] = [
    *({"id": value} for value in each("x", "", 5, None, UUID.format(1) + "\n", UUID.format("11"))),
    *({"name": value} for value in each(TOO_LONG, 5, [], {})),
    *({name: "tape"} for name in ("disk_format", "container_format", "visibility")),
    *(
        {name: value}
        for name in ("min_ram", "min_disk")
        for value in each(-1, 2**31, "5", 1.5, None)
    ),
    *({"tags": value} for value in each("x", [5], [TOO_LONG], None, {})),
    *({"custom": value} for value in each(None, 5, True, {}, [])),
    *({name: value} for name in ("protected", "os_hidden") for value in each("true", 1, None)),
    {TOO_LONG: "x"},
]


def make(name: str, fields: dict[str, Any], code: int = 201, **more: Any) -> Row:
    """POST /v2/images."""
    if code == 201 and "holds" not in more:
        more["holds"] = fields
    return Row(f"2.1.1 {name}"[:90], "POST /v2/images", code, json=fields, **more)


CREATE = [
    make(
        "nothing",
        {},
        holds=EMPTY,
        gives={
            "OpenStack-image-import-methods": "glance-direct,web-download,copy-image",
            "OpenStack-image-store-ids": None,
        },
    ),
    make("an id keeps its case", {"id": UUID.format(1)}),
    make(
        "everything",
        {
            "name": LONG,
            "min_ram": 2**31 - 1,
            "min_disk": 1,
            "protected": True,
            "os_hidden": True,
            "visibility": "private",
            "tags": [LONG],
            **RAW,
            LONG: "",
        },
    ),
    make("compressed", {"container_format": "compressed"}),
    *(make(f"nonsense {fields}", fields, 400) for fields in NONSENSE),
    *(
        make(f"{name} is not the caller's to set", {name: value}, 403)
        for name, value in READ_ONLY.items()
    ),
    make("another owner", {"owner": STRANGER}, 403),
    make("no owner", {"owner": None}, 403),
    make("another owner, by an administrator", {"owner": STRANGER}, who="admin"),
    make("no owner, by an administrator", {"owner": None}, who="admin"),
    make("public", {"visibility": "public"}, 403),
    make("public, by an administrator", {"visibility": "public"}, who="admin"),
    make("community", {"visibility": "community"}),
    make("tags collapse", {"tags": ["a", "a"]}, holds={"tags": ["a"]}),
    make("128 tags", {"tags": [str(n) for n in range(128)]}, holds={}),
    make("129 tags", {"tags": [str(n) for n in range(129)]}, 413),
    make("128 properties", {f"p{n}": "" for n in range(128)}),
    make("129 properties", {f"p{n}": "" for n in range(129)}, 413),
    make("a reader", {}, 403, who="reader"),
    make("names that look like ours", {"image_id": "x", "is_public": "x", "links": "x"}),
    Row("2.1.1 an id that is taken", "POST /v2/images", 409, json={"id": "{id}"}),
    Row(
        "2.1.1 Import methods empty",
        "POST /v2/images",
        201,
        json={},
        options={"enabled_import_methods": []},
        gives={"OpenStack-image-import-methods": None},
    ),
]

SHOW = [
    Row(
        "2.1.2 paths",
        "GET /v2/images/{id}",
        200,
        holds={
            "id": "{id}",
            "self": "/v2/images/{id}",
            "file": "/v2/images/{id}/file",
            "schema": "/v2/schemas/image",
        },
    ),
    Row(
        "2.1.2 base fields are null, not absent",
        "GET /v2/images/{id}",
        200,
        holds=EMPTY,
        lacks=("locations", "direct_url", "stores"),
    ),
    Row(
        "2.1.2 properties are flat", "GET /v2/images/{id}", 200, image={"a": "b"}, holds={"a": "b"}
    ),
    Row(
        "2.1.2 locations, empty",
        "GET /v2/images/{id}",
        200,
        holds={"locations": []},
        lacks=("direct_url",),
        options={"show_multiple_locations": True, "show_image_direct_url": True},
    ),
    Row(
        "2.1.2 direct_url",
        "GET /v2/images/{id}",
        200,
        status="stored",
        says='"direct_url": "file:///',
        options={"show_image_direct_url": True},
        lacks=("locations",),
    ),
    Row("2.1 missing", "GET /v2/images/missing", 404),
    Row("2.1 an id of 37 characters", f"GET /v2/images/{'x' * 37}", 404),
    Row("2.1 an id that no database takes", "GET /v2/images/%00%F0%9F%98%80", 404),
    Row("2.1 invisible", "GET /v2/images/{id}", 404, of="stranger"),
    *(
        Row(f"2.1 {status} is not shown", "GET /v2/images/{id}", 404, who=who, status=status)
        for status in ("deleted", "pending_delete")
        for who in ("owner", "admin")
        if status != "deleted"
    ),
    Row("2.1 without a role", "GET /v2/images/{id}", 404, who="no role"),
]

DELETE = [
    Row("2.1.4 delete", "DELETE /v2/images/{id}", 204, after={"id": "absent"}),
    Row("2.1.4 by an administrator", "DELETE /v2/images/{id}", 204, of="stranger", who="admin"),
    *(
        Row(f"2.1.4 {status}", "DELETE /v2/images/{id}", 204, status=status)
        for status in ("staged", "stored", "deactivated", "importing", "saving", "uploading")
    ),
    Row("2.1.4 missing", "DELETE /v2/images/missing", 404),
    Row("2.1.4 invisible", "DELETE /v2/images/{id}", 404, of="stranger"),
    Row(
        "2.1.4 visible",
        "DELETE /v2/images/{id}",
        403,
        of="stranger",
        image={"visibility": "public"},
    ),
    Row("2.1.4 protected", "DELETE /v2/images/{id}", 403, image={"protected": True}),
    Row(
        "2.1.4 protected, by an administrator",
        "DELETE /v2/images/{id}",
        403,
        who="admin",
        image={"protected": True},
    ),
    Row("2.1.4 a reader", "DELETE /v2/images/{id}", 403, who="reader"),
]


@pytest.mark.parametrize("row", [*CREATE, *SHOW, *DELETE], ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_the_location_header_is_absolute(world: World) -> None:
    answer = world.ask("owner", "POST", "/v2/images", {})
    assert answer.headers["Location"] == f"http://localhost{answer.get_json()['self']}"


def test_a_deleted_id_is_never_given_again(world: World) -> None:
    path = world.ask("owner", "POST", "/v2/images", {"id": UUID.format(9)}).get_json()["self"]
    asked = [world.ask("owner", "DELETE", path).status_code for _ in range(2)]
    again = world.ask("owner", "POST", "/v2/images", {"id": UUID.format(9)}).status_code
    assert (*asked, again) == (204, 404, 409)
