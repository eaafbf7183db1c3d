"""Contract section 5: what each role may do by default, and whether a refusal is 403 or 404."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import RAW, SHARED_WITH, Row, add, data, patch

IMAGE, MEMBER = "/v2/images/{id}", f"/v2/images/{{id}}/members/{SHARED_WITH}"
SHARED = {SHARED_WITH: "accepted"}
#: 5.2, each rule once: what is asked, and what is answered to an administrator, a member and a reader of the
#: owner's project, and to a member of another project, for whom the image is public.
RULES: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "get_images": ({"ask": "GET /v2/images"}, (200, 200, 200, 200)),
    "get_image": ({"ask": f"GET {IMAGE}"}, (200, 200, 200, 200)),
    "add_image": ({"ask": "POST /v2/images", "json": {}}, (201, 201, 403, 201)),
    "modify_image": ({"ask": f"PATCH {IMAGE}", **patch(add("/a", "b"))}, (200, 200, 403, 403)),
    "delete_image": ({"ask": f"DELETE {IMAGE}"}, (204, 204, 403, 403)),
    "upload_image": ({"ask": f"PUT {IMAGE}/file", **data()}, (204, 204, 403, 403)),
    "download_image": ({"ask": f"GET {IMAGE}/file", "status": "stored"}, (200, 200, 403, 200)),
    "publicize_image": (
        {"ask": "POST /v2/images", "json": {"visibility": "public"}},
        (201, 403, 403, 403),
    ),
    "communitize_image": (
        {"ask": "POST /v2/images", "json": {"visibility": "community"}},
        (201, 201, 403, 201),
    ),
    "deactivate": (
        {"ask": f"POST {IMAGE}/actions/deactivate", "status": "active"},
        (204, 204, 403, 403),
    ),
    "reactivate": (
        {"ask": f"POST {IMAGE}/actions/reactivate", "status": "deactivated"},
        (204, 204, 403, 403),
    ),
    "fetch_image_location": ({"ask": f"GET {IMAGE}/locations"}, (200, 403, 403, 403)),
    "tasks_api_access": ({"ask": "GET /v2/tasks"}, (200, 403, 403, 403)),
    # Who may is told by what is asked: there is no such place.
    "set_image_location": (
        {
            "ask": f"PATCH {IMAGE}",
            "options": {"show_multiple_locations": True},
            **patch(add("/locations/-", {"url": "file:///x", "metadata": {}})),
        },
        (400, 400, 403, 403),
    ),
}
#: The same of an image that is shared with `member-project`, for the owner's project and for that one.
SHARING: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "add_member": ({"ask": f"POST {IMAGE}/members", "json": {"member": "x"}}, (200, 200, 403, 403)),
    "delete_member": ({"ask": f"DELETE {MEMBER}"}, (204, 204, 403, 403)),
    "modify_member": (
        {"ask": f"PUT {MEMBER}", "json": {"status": "rejected"}},
        (200, 403, 403, 200),
    ),
    "get_member": ({"ask": f"GET {MEMBER}"}, (200, 200, 200, 200)),
    "get_members": ({"ask": f"GET {IMAGE}/members"}, (200, 200, 200, 200)),
}
METADEFS = [
    ("GET /v2/metadefs/namespaces", {"owner": 200, "reader": 200, "admin": 200, "no role": 404}),
    (
        "GET /v2/metadefs/resource_types",
        {"owner": 200, "reader": 200, "admin": 200, "no role": 404},
    ),
    ("GET /v2/metadefs/namespaces/missing", {"owner": 404, "admin": 404}),
    ("DELETE /v2/metadefs/namespaces/missing", {"owner": 404, "admin": 404}),
]
CLAIMS = {
    "X-Identity-Status": "Confirmed",
    "X-Project-Id": "other-project",
    "X-Tenant-Id": "other-project",
    "X-User-Id": "root",
    "X-Roles": "admin",
    "X-Auth-Token": "x",
    "X-Service-Roles": "service",
}

ROWS = [
    *(
        Row(
            f"5.2 {rule}, {who}",
            code=code,
            who=who,
            **{"image": RAW | {"visibility": "public"}, **asked},
        )
        for rule, (asked, codes) in RULES.items()
        for who, code in zip(("admin", "owner", "reader", "stranger"), codes, strict=True)
    ),
    *(
        Row(f"5.2 {rule}, {who}", code=code, who=who, members=SHARED, **asked)
        for rule, (asked, codes) in SHARING.items()
        for who, code in zip(("admin", "owner", "reader", "member"), codes, strict=True)
    ),
    *(
        Row(f"5.3 invisible: {asked['ask']}", code=404, who="stranger", **asked)
        for rule, (asked, _) in (RULES | SHARING).items()
        if "{id}" in asked["ask"] and rule != "get_images"
    ),
    *(
        Row(f"5.3 without any role: {asked['ask']}", code=404, who="no role", **asked)
        for asked in (RULES["get_image"][0],)
    ),
    Row("5.3 a list without reader", "GET /v2/images", 403, who="no role"),
    *(
        Row(f"5.3 {ask} {who}", ask, code, who=who)
        for ask, codes in METADEFS
        for who, code in codes.items()
    ),
    Row(
        "5.1 what a client says of itself",
        "POST /v2/images",
        403,
        json={"visibility": "public"},
        headers=CLAIMS,
    ),
    Row(
        "5.1 nor does it choose the project",
        "POST /v2/images",
        201,
        json={},
        headers=CLAIMS,
        holds={"owner": "owner-project"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
