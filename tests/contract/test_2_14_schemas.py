"""Contract section 2.14: /v2/schemas/{name}."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import Row

NAMES = ["image", "images", "member", "members", "task", "tasks"]
NULL_TEXT, TEXT, NUMBER = ["null", "string"], "string", "integer"
FIXED = {"readOnly": True}
FIELDS: dict[str, dict[str, Any]] = {
    "id": {"type": TEXT},
    "name": {"type": NULL_TEXT, "maxLength": 255},
    "owner": {"type": NULL_TEXT, "maxLength": 255},
    "status": {
        "type": TEXT,
        **FIXED,
        "enum": [
            "queued",
            "saving",
            "active",
            "killed",
            "deleted",
            "uploading",
            "importing",
            "pending_delete",
            "deactivated",
        ],
    },
    "visibility": {"enum": ["community", "public", "private", "shared"]},
    "protected": {"type": "boolean"},
    "os_hidden": {"type": "boolean"},
    "checksum": {"type": NULL_TEXT, "maxLength": 32, **FIXED},
    "os_hash_algo": {"type": NULL_TEXT, "maxLength": 64, **FIXED},
    "os_hash_value": {"type": NULL_TEXT, "maxLength": 128, **FIXED},
    "size": {"type": ["null", "integer"], **FIXED},
    "virtual_size": {"type": ["null", "integer"], **FIXED},
    "container_format": {
        "type": NULL_TEXT,
        "enum": [None, "ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"],
    },
    "disk_format": {
        "type": NULL_TEXT,
        "enum": [
            None,
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
        ],
    },
    **{
        name: {"type": TEXT, **FIXED}
        for name in ("created_at", "updated_at", "direct_url", "self", "file", "schema", "stores")
    },
    "min_ram": {"type": NUMBER},
    "min_disk": {"type": NUMBER},
    "tags": {"type": "array", "items": {"type": TEXT, "maxLength": 255}},
    "locations": {"type": "array"},
}

ROWS = [
    *(
        Row(f"{name}", f"GET /v2/schemas/{name}", 200, who="no role", holds={"name": name})
        for name in NAMES
    ),
    Row("unknown", "GET /v2/schemas/x", 404),
    Row(
        "additional properties",
        "GET /v2/schemas/image",
        200,
        holds={"additionalProperties": {"type": "string"}},
    ),
    Row("POST", "POST /v2/schemas/image", 405, gives={"Allow": "GET"}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_of_an_image(world: World, name: str) -> None:
    properties = world.ask("owner", "GET", "/v2/schemas/image").get_json()["properties"]
    assert properties.keys() == FIELDS.keys()
    about = properties[name]
    assert {key: about.get(key) for key in FIELDS[name]} == FIELDS[name]
    assert "readOnly" in FIELDS[name] or not about.get("readOnly")


@pytest.mark.parametrize(
    ("name", "properties", "links"),
    [
        ("images", {"images", "first", "next", "schema"}, ["first", "next", "describedby"]),
        ("members", {"members", "schema"}, ["describedby"]),
        ("tasks", {"tasks", "schema"}, ["describedby"]),
    ],
)
def test_a_collection(world: World, name: str, properties: set[str], links: list[str]) -> None:
    schema = world.ask("owner", "GET", f"/v2/schemas/{name}").get_json()
    assert schema["properties"].keys() == properties
    assert [link["rel"] for link in schema["links"]] == links
