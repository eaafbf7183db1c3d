"""Contract section 2.12: /v2/info and /v2/stores, on a service with several stores, and on one with one."""

import pytest

from tests.contract.conftest import SEVERAL_STORES, World
from tests.contract.table import Row

OPTIONS = "enabled_import_methods = [web-download,glance-direct]" + SEVERAL_STORES
STORES = [
    {"id": "fast", "description": "SSD", "default": "true"},
    {"id": "cheap"},
    {"id": "web", "read-only": "true"},
]
LEAVE = "DELETE /v2/stores/{}/{{id}}"

ROWS = [
    Row(
        "import methods",
        "GET /v2/info/import",
        200,
        who="no role",
        equals={
            "import-methods": {
                "description": "Import methods available.",
                "type": "array",
                "value": ["web-download", "glance-direct"],
            }
        },
    ),
    Row("stores", "GET /v2/info/stores", 200, who="no role", equals={"stores": STORES}),
    *(
        Row(
            f"details for {who}",
            "GET /v2/info/stores/detail",
            200,
            who=who,
            says='"chunk_size": 65536',
        )
        for who in ("admin", "service")
    ),
    *(
        Row(f"details for {who}", "GET /v2/info/stores/detail", 403, who=who)
        for who in ("owner", "reader")
    ),
    Row("usage without limits", "GET /v2/info/usage", 200, who="no role", equals={"usage": {}}),
    Row("usage, other methods", "DELETE /v2/info/usage", 404),
    Row("leave: the only location", LEAVE.format("fast"), 403, who="admin", status="stored"),
    Row(
        "leave: the only location is elsewhere",
        LEAVE.format("cheap"),
        403,
        who="admin",
        status="stored",
    ),
    Row("leave: by a member", LEAVE.format("fast"), 403, status="stored"),
    Row("leave: unknown store", LEAVE.format("x"), 409, who="admin", status="stored"),
    Row("leave: not active", LEAVE.format("fast"), 409, who="admin"),
    Row("leave: missing image", "DELETE /v2/stores/fast/missing", 404, who="admin"),
    Row("leave: invisible", LEAVE.format("fast"), 404, of="stranger", status="stored"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_the_details_of_a_store(world: World) -> None:
    shown = world.ask("admin", "GET", "/v2/info/stores/detail").get_json()["stores"]
    assert [(one["id"], one["type"], one["weight"]) for one in shown] == [
        ("fast", "file", 1),
        ("cheap", "file", 9),
        ("web", "http", 0),
    ]
    assert shown[0]["properties"].keys() == {"data_dir", "chunk_size", "thin_provisioning"}
    assert shown[2]["properties"] == {}


def test_the_versions_of_several_stores(world: World) -> None:
    """Contract section 1.3 and 1.4."""
    found = [one["id"] for one in world.ask("no role", "GET", "/versions").get_json()["versions"]]
    assert found[:8] == ["v2.15", "v2.13", "v2.12", "v2.11", "v2.10", "v2.9", "v2.8", "v2.17"]
    for number in found:
        assert world.ask("owner", "GET", f"/{number}/images?limit=0").status_code == 200


def test_the_headers_of_a_new_image(world: World) -> None:
    answer = world.ask("owner", "POST", "/v2/images", {})
    assert answer.headers["OpenStack-image-store-ids"] == "fast,cheap,web"
    assert answer.headers["OpenStack-image-import-methods"] == "web-download,glance-direct"


@pytest.mark.parametrize(
    ("store", "code", "where"), [(None, 204, "fast"), ("cheap", 204, "cheap"), ("x", 400, None)]
)
def test_the_store_of_an_upload(
    world: World, store: str | None, code: int, where: str | None
) -> None:
    """Contract section 2.3."""
    image_id = world.make(
        Row("up", "PUT /", 204, image={"disk_format": "raw", "container_format": "bare"})
    )
    headers = {"X-Image-Meta-Store": store} if store else {}
    kind = "application/octet-stream"
    path = f"/v2/images/{image_id}/file"
    assert (
        world.ask("owner", "PUT", path, data=b"x", content_type=kind, headers=headers).status_code
        == code
    )
    assert world.record(image_id).get("stores") == where
