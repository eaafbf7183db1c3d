"""/v2/schemas (contract section 2.14), and the operator's part of it in schema-image.json."""

import json
import pathlib
from typing import Any

import jsonschema
import pytest

from tests.functional.conftest import STRANGER, Api, Caller

UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
TEXT, NULL_TEXT, NUMBER = {"type": "string"}, {"type": ["null", "string"]}, {"type": "integer"}
NULL_NUMBER, FLAG = {"type": ["null", "integer"]}, {"type": "boolean"}
FIXED = {"readOnly": True}
DESCRIBED_BY = {"rel": "describedby", "href": "{schema}"}

IMAGE = {
    "id": TEXT | {"pattern": UUID},
    "name": NULL_TEXT | {"maxLength": 255},
    "owner": NULL_TEXT | {"maxLength": 255},
    "status": TEXT
    | FIXED
    | {
        "enum": [
            *("queued", "saving", "active", "killed", "deleted"),
            *("uploading", "importing", "pending_delete", "deactivated"),
        ]
    },
    "visibility": TEXT | {"enum": ["community", "public", "private", "shared"]},
    "protected": FLAG,
    "os_hidden": FLAG,
    "checksum": NULL_TEXT | FIXED | {"maxLength": 32},
    "os_hash_algo": NULL_TEXT | FIXED | {"maxLength": 64},
    "os_hash_value": NULL_TEXT | FIXED | {"maxLength": 128},
    "size": NULL_NUMBER | FIXED,
    "virtual_size": NULL_NUMBER | FIXED,
    "container_format": NULL_TEXT
    | {"enum": [None, "ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"]},
    "disk_format": NULL_TEXT
    | {
        "enum": [
            *(None, "ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso"),
            "ploop",
        ]
    },
    **dict.fromkeys(("created_at", "updated_at", "direct_url", "self", "file"), TEXT | FIXED),
    **dict.fromkeys(("schema", "stores"), TEXT | FIXED),
    "min_ram": NUMBER,
    "min_disk": NUMBER,
    "tags": {"type": "array", "items": TEXT | {"maxLength": 255}},
    "locations": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["url", "metadata"],
            "properties": {
                "url": TEXT | {"maxLength": 255},
                "metadata": {"type": "object"},
                "validation_data": {
                    "type": "object",
                    "writeOnly": True,
                    "additionalProperties": False,
                    "required": ["os_hash_algo", "os_hash_value"],
                    "properties": {
                        "checksum": TEXT | {"minLength": 32, "maxLength": 32},
                        "os_hash_algo": TEXT | {"maxLength": 64},
                        "os_hash_value": TEXT | {"maxLength": 128},
                    },
                },
            },
        },
    },
}
MEMBER = {
    "member_id": TEXT,
    "image_id": TEXT | {"pattern": UUID},
    "created_at": TEXT,
    "updated_at": TEXT,
    "status": TEXT | {"enum": ["pending", "accepted", "rejected"]},
    "schema": TEXT | FIXED,
}
STUB = {
    "id": TEXT | {"pattern": UUID},
    "type": TEXT | {"enum": ["import", "api_image_import", "location_import"]},
    "status": TEXT | {"enum": ["pending", "processing", "success", "failure"]},
    **dict.fromkeys(("owner", "image_id", "request_id", "user_id"), TEXT),
    "expires_at": NULL_TEXT,
    "created_at": TEXT,
    "updated_at": TEXT,
    "self": TEXT | FIXED,
    "schema": TEXT | FIXED,
}
OBJECT = {"type": ["null", "object"]}
TASK = STUB | {"input": OBJECT, "result": OBJECT, "message": TEXT}
ONE_IMAGE = {
    "name": "image",
    "properties": IMAGE,
    "additionalProperties": TEXT,
    "links": [
        {"rel": "self", "href": "{self}"},
        {"rel": "enclosure", "href": "{file}"},
        DESCRIBED_BY,
    ],
}


def collection(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {name: {"type": "array", "items": item}, "schema": TEXT},
        "links": [DESCRIBED_BY],
    }


IMAGES = collection("images", ONE_IMAGE)
IMAGES["properties"] |= {"first": TEXT, "next": TEXT}
IMAGES["links"] = [
    {"rel": "first", "href": "{first}"},
    {"rel": "next", "href": "{next}"},
    DESCRIBED_BY,
]
SCHEMAS = {
    "image": ONE_IMAGE,
    "images": IMAGES,
    "member": {"name": "member", "properties": MEMBER},
    "members": collection("members", {"name": "member", "properties": MEMBER}),
    "task": {"name": "task", "properties": TASK},
    "tasks": collection("tasks", {"name": "task", "properties": STUB}),
}


def told(value: Any) -> Any:
    """A schema without its descriptions: only people read them."""
    if isinstance(value, list):
        return [told(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: told(item)
        for name, item in value.items()
        if name != "description" or not isinstance(item, str)
    }


def schema(api: Api, name: str) -> Any:
    answer = api.ask("GET", f"/v2/schemas/{name}")
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    return answer.get_json()


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_field_and_flag(api: Api, name: str) -> None:
    found = schema(api, name)
    assert told(found) == SCHEMAS[name]
    jsonschema.Draft4Validator.check_schema(found)


@pytest.mark.parametrize("name", SCHEMAS)
def test_without_any_role_and_without_a_body(caller: Caller, name: str) -> None:
    api = caller(roles="")
    assert api.ask("GET", f"/v2/schemas/{name}").status_code == 200
    assert api.ask("GET", f"/v2/schemas/{name}", data=b"x").status_code == 400
    answer = api.ask("POST", f"/v2/schemas/{name}")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize("name", ["", "nothing", "images/x", "member.json"])
def test_schemas_that_there_are_not(api: Api, name: str) -> None:
    assert api.ask("GET", f"/v2/schemas/{name}").status_code == 404


def test_records_match_their_schemas(api: Api) -> None:
    image_id = api.create(name="x", tags=["a"], custom="y")
    path = f"/v2/images/{image_id}"
    records = {
        "image": api.show(image_id),
        "images": api.ask("GET", "/v2/images").get_json(),
        "member": api.ask("POST", f"{path}/members", {"member": STRANGER}).get_json(),
        "members": api.ask("GET", f"{path}/members").get_json(),
    }
    for name, record in records.items():
        described = schema(api, name)
        jsonschema.Draft4Validator(described).validate(record)
        own = record.keys() - described["properties"].keys()
        assert own == ({"custom"} if name == "image" else set())


OPERATORS: dict[str, dict[str, Any]] = {
    "architecture": {"description": "CPU", "type": "string", "enum": ["x86_64", "aarch64"]},
    "kernel_id": {"type": ["null", "string"], "pattern": UUID, "is_base": True},
    "slots": {"type": "integer"},
}


@pytest.fixture
def described(tmp_path: pathlib.Path, caller: Caller) -> Api:
    """A service whose operator has described three properties."""
    (tmp_path / "schema-image.json").write_text(json.dumps(OPERATORS))
    return caller()


def test_the_operators_properties_are_merged(described: Api) -> None:
    for found in (
        schema(described, "image"),
        schema(described, "images")["properties"]["images"]["items"],
    ):
        assert told(found["properties"]) == IMAGE | told(
            {name: about | {"is_base": False} for name, about in OPERATORS.items()}
        )
        assert found["properties"]["architecture"]["description"] == "CPU"
        assert "required" not in found


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 201),
        ({"architecture": "x86_64", "other": "x"}, 201),
        ({"architecture": "z80"}, 400),
        ({"architecture": None}, 400),
        ({"kernel_id": None}, 201),
        ({"kernel_id": "no id"}, 400),
        ({"slots": "4"}, 400),
        ({"other": 4}, 400),
    ],
)
def test_their_values_are_judged(described: Api, fields: dict[str, Any], status: int) -> None:
    answer = described.ask("POST", "/v2/images", fields)
    assert answer.status_code == status
    if status == 201:
        image = answer.get_json()
        assert {name: image[name] for name in fields} == fields
        changes = [{"op": "add", "path": f"/{name}", "value": v} for name, v in fields.items()]
        assert described.patch(image["id"], *changes).status_code == 200
        assert described.show(image["id"]) | {"updated_at": ""} == image | {"updated_at": ""}
        bad = {"op": "add", "path": "/architecture", "value": "z80"}
        assert described.patch(image["id"], bad).status_code == 400


def test_what_is_no_text_is_kept_as_text(described: Api) -> None:
    image_id = described.create(slots=4)
    assert described.show(image_id)["slots"] == "4"


def test_what_must_be_there(caller: Caller, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "schema-image.json"
    file.write_text(json.dumps({"properties": OPERATORS, "required": ["architecture"]}))
    api = caller()
    assert schema(api, "image")["required"] == ["architecture"]
    assert api.ask("POST", "/v2/images", {}).status_code == 400
    image_id = api.create(architecture="x86_64")
    change = {"op": "replace", "path": "/name", "value": "n"}
    assert api.patch(image_id, change).status_code == 200
    file.write_text(json.dumps({"properties": OPERATORS, "required": []}))
    assert "required" not in schema(caller(), "image")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '"x"',
        '{"a": 5}',
        '{"a": {"type": "nonsense"}}',
        '{"name": {"type": "string"}}',
        '{"properties": []}',
        '{"properties": {}, "required": "a"}',
        '{"properties": {}, "required": [5]}',
        "\0",
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(
    caller: Caller, tmp_path: pathlib.Path, text: str
) -> None:
    (tmp_path / "schema-image.json").write_text(text)
    with pytest.raises(SystemExit, match=r"schema-image\.json") as caught:
        caller()
    assert "\n" not in str(caught.value)


def test_properties_that_the_caller_may_not_read_are_not_described(
    caller: Caller, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "schema-image.json").write_text(json.dumps(OPERATORS))
    rules = "".join(
        f"{operation} = secret\n" for operation in ("create", "read", "update", "delete")
    )
    everybody = rules.replace("secret", "@")
    (tmp_path / "protections.conf").write_text(f"[^kernel_id$]\n{rules}[.*]\n{everybody}")
    options = "property_protection_file = protections.conf"
    for roles, shown in (("member,reader", False), ("member,reader,secret", True)):
        found = schema(caller(roles=roles, options=options), "image")["properties"]
        assert ("kernel_id" in found, "slots" in found) == (shown, True)
