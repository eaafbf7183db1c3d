"""PATCH /v2/images/{id} (contract section 2.2)."""

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import models
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

TYPE = "application/openstack-images-v2.{}-json-patch"


def operation(op: str, path: str, *value: Any) -> dict[str, Any]:
    return {"op": op, "path": path} | ({"value": value[0]} if value else {})


@pytest.fixture
def image_id(api: Api) -> str:
    return api.create(name="n", disk_format="raw", here="1", tags=["a"])


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ([], {"name": "n", "here": "1", "tags": ["a"]}),
        ([operation("replace", "/name", "m")], {"name": "m"}),
        ([operation("add", "/name", "m")], {"name": "m"}),
        ([operation("replace", "/name", None)], {"name": None}),
        ([operation("add", "/new", "2")], {"new": "2", "here": "1"}),
        ([operation("add", "/here", "2")], {"here": "2"}),
        ([operation("replace", "/here", "2")], {"here": "2"}),
        ([operation("remove", "/here")], {"here": "absent"}),
        ([operation("remove", "/here"), operation("add", "/here", "3")], {"here": "3"}),
        ([operation("add", "/x~1y~0z", "2")], {"x/y~z": "2"}),
        ([operation("replace", "/tags", ["b", "a", "b"])], {"tags": ["a", "b"]}),
        ([operation("replace", "/tags", [])], {"tags": []}),
        ([operation("replace", "/min_disk", 5), operation("add", "/min_ram", 6)], {"min_disk": 5}),
        ([operation("replace", "/protected", True)], {"protected": True}),
        ([operation("replace", "/os_hidden", True)], {"os_hidden": True}),
        ([operation("replace", "/visibility", "community")], {"visibility": "community"}),
        ([operation("replace", "/disk_format", "qcow2")], {"disk_format": "qcow2"}),
        ([operation("replace", "/container_format", "ova")], {"container_format": "ova"}),
    ],
)
def test_changes(
    api: Api, image_id: str, changes: list[dict[str, Any]], found: dict[str, Any]
) -> None:
    answer = api.patch(image_id, *changes)
    assert answer.status_code == 200, answer.text
    image = api.show(image_id)
    assert answer.get_json() == image
    assert {name: image.get(name, "absent") for name in found} == found


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (operation("test", "/name", "n"), 400),
        (operation("move", "/name", "n"), 400),
        (operation("copy", "/name", "n"), 400),
        ({"path": "/name", "value": "n"}, 400),
        ({"op": ["add"], "path": "/name", "value": "n"}, 400),
        ({"op": "add", "path": "/name"}, 400),
        ({"op": "add", "value": "n"}, 400),
        ({"op": "add", "path": 5, "value": "n"}, 400),
        ("add", 400),
        (None, 400),
        (operation("add", "name", "n"), 400),
        (operation("add", "/", "n"), 400),
        (operation("add", "", "n"), 400),
        (operation("add", "/a/", "n"), 400),
        (operation("add", "/a//b", "n"), 400),
        (operation("add", "/a/b", "n"), 400),
        (operation("add", "/a~2b", "n"), 400),
        (operation("add", "/a~", "n"), 400),
        (operation("add", "/tags/0", "n"), 400),
        (operation("add", "/tags/-", "n"), 400),
        (operation("replace", "/locations/0", {}), 400),
        (operation("replace", "/locations", []), 403),
        (operation("add", "/locations/-", {}), 403),
        (operation("replace", "/missing", "n"), 409),
        (operation("remove", "/missing"), 409),
        *[
            (operation("remove", f"/{name}"), 403)
            for name in ("name", "tags", "visibility", "owner")
        ],
        *[
            (operation("replace", f"/{name}", "x"), 403)
            for name in (
                *("id", "status", "size", "checksum", "virtual_size", "created_at", "updated_at"),
                *("os_hash_algo", "os_hash_value", "direct_url", "self", "file", "schema"),
                *("stores", "location", "deleted", "deleted_at", "member", "context"),
                *("extra_properties", "image_id", "os_glance_import_task", "os_glance_x"),
            )
        ],
        (operation("replace", "/name", 5), 400),
        (operation("replace", "/name", "x" * 256), 400),
        (operation("replace", "/tags", "a"), 400),
        (operation("replace", "/tags", None), 400),
        (operation("replace", "/min_ram", -1), 400),
        (operation("replace", "/visibility", "secret"), 400),
        (operation("replace", "/disk_format", "tape"), 400),
        (operation("replace", "/here", 5), 400),
        (operation("add", "/new", None), 400),
        (operation("add", "/" + "x" * 256, "long"), 400),
        (operation("add", "/new", "\0"), 400),
        (operation("replace", "/owner", STRANGER), 403),
        (operation("replace", "/owner", OWNER), 403),
        (operation("add", "/owner", STRANGER), 403),
        (operation("replace", "/visibility", "public"), 403),
        (operation("replace", "/tags", [str(n) for n in range(129)]), 413),
    ],
)
def test_refused(api: Api, image_id: str, change: Any, status: int) -> None:
    before = api.show(image_id)
    good = operation("add", "/name", "changed")
    assert api.patch(image_id, good, change).status_code == status
    assert api.show(image_id) == before


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"add": "/new", "value": "2"}, 200),
        ({"add": "/here", "value": "2"}, 409),
        ({"add": "/name", "value": "2"}, 409),
        ({"replace": "/name", "value": "2"}, 200),
        ({"replace": "/missing", "value": "2"}, 409),
        ({"remove": "/here"}, 200),
        ({"remove": "/here", "add": "/new", "value": "2"}, 400),
        ({"op": "add", "path": "/new", "value": "2"}, 400),
        ({"add": "/new"}, 400),
        ({"add": 5, "value": "2"}, 400),
        ({}, 400),
    ],
)
def test_the_older_format(api: Api, image_id: str, change: dict[str, Any], status: int) -> None:
    assert api.patch(image_id, change, version="2.0").status_code == status


@pytest.mark.parametrize("raw", [b"", b"{", b"{}", b'"x"', b"5", b"null", b"[[]]", b"\xff"])
def test_bodies_that_are_no_patch(api: Api, image_id: str, raw: bytes) -> None:
    path, kind = f"/v2/images/{image_id}", TYPE.format(1)
    assert api.ask("PATCH", path, data=raw, content_type=kind).status_code == 400


@pytest.mark.parametrize("kind", ["application/json", "", TYPE.format(2), TYPE.format(1) + "x"])
def test_other_media_types(api: Api, image_id: str, kind: str) -> None:
    answer = api.ask("PATCH", f"/v2/images/{image_id}", data=b"[]", content_type=kind)
    assert answer.status_code == 415
    assert answer.headers["Accept-Patch"] == f"{TYPE.format(0)}, {TYPE.format(1)}"


def test_an_image_that_is_not_there(api: Api) -> None:
    assert api.patch("unknown", operation("add", "/a", "b")).status_code == 404


@pytest.mark.parametrize("status", ["saving", "uploading", "active", "deactivated"])
@pytest.mark.parametrize("column", ["disk_format", "container_format"])
def test_formats_are_fixed_once_there_are_data(
    api: Api, image_id: str, execute: Callable[[Any], None], status: str, column: str
) -> None:
    execute(sa.update(models.Image).values(status=status))
    change = operation("replace", f"/{column}", "ami")
    assert api.patch(image_id, change).status_code == 403
    assert api.patch(image_id, operation("replace", "/name", "m")).status_code == 200


def test_what_an_administrator_may(caller: Caller, image_id: str) -> None:
    admin = caller(roles="admin")
    changes = [operation("replace", "/owner", STRANGER), operation("add", "/visibility", "public")]
    answer = admin.patch(image_id, *changes)
    assert answer.status_code == 200
    assert (answer.get_json()["owner"], answer.get_json()["visibility"]) == (STRANGER, "public")


def test_every_change_moves_the_date(
    api: Api, image_id: str, execute: Callable[[Any], None]
) -> None:
    old = "2020-01-01T00:00:00Z"
    for change in (
        operation("add", "/new", "1"),
        operation("replace", "/tags", ["z"]),
        operation("replace", "/name", "m"),
    ):
        execute(sa.text("UPDATE images SET updated_at = '2020-01-01 00:00:00.000000'"))
        assert api.patch(image_id).get_json()["updated_at"] == old
        assert api.patch(image_id, change).get_json()["updated_at"] > old


def test_quotas_hold_for_what_is_added_only(caller: Caller, image_id: str) -> None:
    full = caller(options="image_property_quota = 1\nimage_tag_quota = 0")
    assert full.patch(image_id, operation("add", "/new", "2")).status_code == 413
    assert full.patch(image_id, operation("replace", "/here", "2")).status_code == 200
    assert full.patch(image_id, operation("replace", "/tags", ["a", "b"])).status_code == 413
    assert full.patch(image_id, operation("remove", "/here")).status_code == 200
    assert full.patch(image_id, operation("add", "/new", "2")).status_code == 200
    endless = caller(options="image_property_quota = -1\nimage_tag_quota = -1")
    many = [operation("add", f"/p{number}", "x") for number in range(200)]
    assert endless.patch(image_id, *many).status_code == 200


def test_another_ones_image(caller: Caller) -> None:
    image_id = caller(project=STRANGER).create(visibility="community")
    private = caller(project=STRANGER).create(visibility="private")
    api = caller()
    assert api.patch(image_id, operation("add", "/a", "b")).status_code == 403
    assert api.patch(private, operation("add", "/a", "b")).status_code == 404


def test_a_reader_changes_nothing(caller: Caller, image_id: str) -> None:
    api = caller(roles="reader")
    assert api.patch(image_id, operation("add", "/a", "b")).status_code == 403
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 403
