"""/v2/info and /v2/schemas (contract sections 2.12 and 2.14)."""

import pathlib

import jsonschema
import pytest

from tests.functional.conftest import Api, Caller


def test_import_methods(caller: Caller) -> None:
    document = caller().ask("GET", "/v2/info/import").get_json()
    assert document["import-methods"]["value"] == ["glance-direct", "web-download", "copy-image"]
    assert document["import-methods"]["type"] == "array"
    none = caller(options="enabled_import_methods = []")
    assert none.ask("GET", "/v2/info/import").get_json()["import-methods"]["value"] == []
    assert "OpenStack-image-import-methods" not in none.ask("POST", "/v2/images", {}).headers


def test_stores(caller: Caller, several_stores: str) -> None:
    assert caller().ask("GET", "/v2/info/stores").status_code == 404
    assert caller(options=several_stores).ask("GET", "/v2/info/stores").get_json() == {
        "stores": [
            {"id": "fast", "description": "SSD", "default": "true"},
            {"id": "cheap"},
            {"id": "web", "read-only": "true"},
        ]
    }


def test_what_administrators_and_services_may_know_of_stores(
    caller: Caller, several_stores: str, tmp_path: pathlib.Path
) -> None:
    path = "/v2/info/stores/detail"
    for roles in ("member,reader", "admin"):
        assert caller(roles=roles).ask("GET", path).status_code == 404
    assert caller(options=several_stores).ask("GET", path).status_code == 403
    thin = several_stores.replace("[cheap]", "[cheap]\nfilesystem_thin_provisioning = true")
    for roles in ("admin", "service"):
        found = caller(roles=roles, options=thin).ask("GET", path).get_json()
        file = {"chunk_size": 65536, "thin_provisioning": False, "data_dir": f"{tmp_path}/fast"}
        assert found == {
            "stores": [
                {
                    "id": "fast",
                    "description": "SSD",
                    "default": "true",
                    "type": "file",
                    "weight": 1,
                    "properties": file,
                },
                {
                    "id": "cheap",
                    "type": "file",
                    "weight": 9,
                    "properties": file
                    | {"data_dir": f"{tmp_path}/cheap", "thin_provisioning": True},
                },
                {"id": "web", "read-only": "true", "type": "http", "weight": 0, "properties": {}},
            ]
        }


def test_a_record_matches_the_schema(api: Api) -> None:
    schema = api.ask("GET", "/v2/schemas/image").get_json()
    image = api.show(api.create(name="x", disk_format="raw", custom="y"))
    jsonschema.validate(image, schema)
    assert image.keys() - schema["properties"].keys() == {"custom"}
    assert schema["additionalProperties"] == {"type": "string"}
    assert {link["rel"] for link in schema["links"]} == {"self", "enclosure", "describedby"}


def test_a_list_matches_the_schema(api: Api) -> None:
    api.create()
    schema = api.ask("GET", "/v2/schemas/images").get_json()
    jsonschema.validate(api.ask("GET", "/v2/images").get_json(), schema)
    assert schema["properties"]["images"]["items"]["name"] == "image"


def test_the_schema_has_the_configured_formats(caller: Caller) -> None:
    api = caller(options="[image_format]\ndisk_formats = raw,tape\ncontainer_formats = box")
    properties = api.ask("GET", "/v2/schemas/image").get_json()["properties"]
    assert properties["disk_format"]["enum"] == [None, "raw", "tape"]
    assert properties["container_format"]["enum"] == [None, "box"]
    assert api.ask("POST", "/v2/images", {"disk_format": "tape"}).status_code == 201
    assert api.ask("POST", "/v2/images", {"disk_format": "qcow2"}).status_code == 400


def test_the_schemas_flags(api: Api) -> None:
    properties = api.ask("GET", "/v2/schemas/image").get_json()["properties"]
    read_only = {name for name, value in properties.items() if value.get("readOnly")}
    assert read_only == {
        *("status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size"),
        *("created_at", "updated_at", "direct_url", "self", "file", "schema", "stores"),
    }


@pytest.mark.parametrize(
    "path",
    [
        "/v2/info/import",
        "/v2/info/stores",
        "/v2/info/stores/detail",
        "/v2/schemas/image",
        "/v2/schemas/images",
    ],
)
def test_no_bodies(api: Api, path: str) -> None:
    assert api.ask("GET", path, data=b"x").status_code == 400
