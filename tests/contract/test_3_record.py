"""Contract section 3: the record: who may change what, statuses, who sees it, quotas."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import DATA, OWNER, RAW, SHARED_WITH, Row, add, data, patch, replace

#: 3.7: this module's owners may have 1,500 bytes.
OPTIONS = "user_storage_quota = 1500B\nimage_member_quota = 1\nimage_tag_quota = 2\nimage_property_quota = 2"
GET, PATCH = "GET /v2/images/{id}", "PATCH /v2/images/{id}"
FORMATS = {
    "disk_format": (
        "ami",
        "ari",
        "aki",
        "vhd",
        "vhdx",
        "vmdk",
        "raw",
        "qcow2",
        "vdi",
        "iso",
        "ploop",
    ),
    "container_format": ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"),
}
UPLOAD, STAGE = "PUT /v2/images/{id}/file", "PUT /v2/images/{id}/stage"
IMPORT = "POST /v2/images/{id}/import"
DIRECT = {"method": {"name": "glance-direct"}}

FIELDS = [
    *(
        Row(f"3.1 {name} {value}", "POST /v2/images", 201, json={name: value}, holds={name: value})
        for name, values in FORMATS.items()
        for value in values
    ),
    Row(
        "3.1 property names have cases",
        "POST /v2/images",
        201,
        json={"A": "1", "a": "2"},
        holds={"A": "1", "a": "2"},
    ),
    Row(
        "3.1 text values are long",
        "POST /v2/images",
        201,
        json={"a": "x" * 60000},
        holds={"a": "x" * 60000},
    ),
    *(
        Row(f"3.2 {name}", "POST /v2/images", 403, json={name: "x"})
        for name in (
            *("os_glance_import_task", "os_glance_importing_to_stores", "os_glance_failed_import"),
            *("os_glance_stage_host", "os_glance_hash_op_host", "os_glance", "os_glanced"),
        )
    ),
]

#: 3.3: what is answered to whom asks for a change of status, by the status that there is.
STATUSES: dict[str, dict[str, int]] = {
    "queued": {"file": 204, "stage": 204, "import": 409, "deactivate": 403, "reactivate": 403},
    "saving": {"file": 409, "stage": 409, "import": 409, "deactivate": 403, "reactivate": 403},
    "staged": {"file": 409, "stage": 409, "import": 202, "deactivate": 403, "reactivate": 403},
    "importing": {"file": 409, "stage": 409, "import": 409, "deactivate": 403, "reactivate": 403},
    "active": {"file": 409, "stage": 409, "import": 409, "deactivate": 204, "reactivate": 204},
    "deactivated": {"file": 409, "stage": 409, "import": 409, "deactivate": 204, "reactivate": 204},
}


def _asked(action: str) -> dict[str, Any]:
    if action in ("file", "stage"):
        return {"ask": f"PUT /v2/images/{{id}}/{action}", **data()}
    if action == "import":
        return {"ask": IMPORT, "json": DIRECT}
    return {"ask": f"POST /v2/images/{{id}}/actions/{action}"}


#: 3.5: who sees an image of `owner-project`, and what a change by them is answered.
SEEN = {
    "private": {
        "owner": (200, 200),
        "admin": (200, 200),
        "stranger": (404, 404),
        "member": (404, 404),
    },
    "shared": {
        "owner": (200, 200),
        "admin": (200, 200),
        "stranger": (404, 404),
        "member": (200, 403),
    },
    "community": {
        "owner": (200, 200),
        "admin": (200, 200),
        "stranger": (200, 403),
        "member": (200, 403),
    },
    "public": {
        "owner": (200, 200),
        "admin": (200, 200),
        "stranger": (200, 403),
        "member": (200, 403),
    },
}

ROWS = [
    *FIELDS,
    *(
        Row(
            f"3.3 {action} of {status}",
            code=code,
            status=status,
            who="admin",
            of="service",
            image=RAW | {"owner": None},
            **_asked(action),
        )
        for status, answers in STATUSES.items()
        for action, code in answers.items()
    ),
    *(
        row
        for visibility, seen in SEEN.items()
        for who, (shown, changed) in seen.items()
        for row in (
            Row(
                f"3.5 {visibility} to {who}",
                GET,
                shown,
                who=who,
                image={"visibility": visibility},
                members={SHARED_WITH: "pending"} if visibility == "shared" else {},
            ),
            Row(
                f"3.5 {visibility} changed by {who}",
                PATCH,
                changed,
                who=who,
                image={"visibility": visibility},
                members={SHARED_WITH: "accepted"} if visibility == "shared" else {},
                **patch(add("/a", "b")),
            ),
        )
    ),
    Row("3.5 no owner", GET, 200, who="stranger", image={"owner": None, "visibility": "private"}),
    Row("3.7 bytes", UPLOAD, 413, image=RAW | {"owner": "q1"}, who="admin", **data(DATA * 2)),
    Row(
        "3.7 bytes of a chunk", UPLOAD, 204, image=RAW | {"owner": "q2"}, who="admin", **data(DATA)
    ),
    Row("3.7 tags", PATCH, 413, **patch(replace("/tags", ["a", "b", "c"]))),
    Row("3.7 properties", PATCH, 413, **patch(*(add(f"/p{n}", "x") for n in range(3)))),
    Row(
        "3.7 members",
        "POST /v2/images/{id}/members",
        413,
        members={"x": "pending"},
        json={"member": "y"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_shared_again_is_shared_with_the_same(world: World) -> None:
    """3.5: away from `shared` hides an image from its members, and back shows it again."""
    image_id = world.make(Row("again", GET, 200, members={SHARED_WITH: "accepted"}))
    path, kind = f"/v2/images/{image_id}", "application/openstack-images-v2.1-json-patch"
    for visibility, code in (("private", 404), ("shared", 200)):
        change = [{"op": "replace", "path": "/visibility", "value": visibility}]
        assert world.ask("owner", "PATCH", path, change, content_type=kind).status_code == 200
        assert world.ask("member", "GET", path).status_code == code


def test_bytes_are_counted_for_all_images_of_an_owner(world: World) -> None:
    """3.7: the second kilobyte does not fit; it does when the first is gone."""
    first, second = (world.make(Row("q", GET, 200, image=RAW | {"owner": "q3"})) for _ in range(2))
    kind = "application/octet-stream"

    def send(image_id: str) -> int:
        path = f"/v2/images/{image_id}/file"
        return world.ask("admin", "PUT", path, data=DATA, content_type=kind).status_code

    assert (send(first), send(second)) == (204, 413)
    assert world.record(second)["status"] == "queued"
    assert world.ask("admin", "DELETE", f"/v2/images/{first}").status_code == 204
    assert send(second) == 204


def test_an_owner_is_the_callers_project(world: World) -> None:
    assert world.ask("owner", "POST", "/v2/images", {}).get_json()["owner"] == OWNER
