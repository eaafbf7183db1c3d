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


#: What no caller may set, change or remove.
NOT_THEIRS = (
    *("id", "status", "size", "checksum", "virtual_size", "created_at", "updated_at"),
    *("os_hash_algo", "os_hash_value", "direct_url", "self", "file", "schema"),
    *("stores", "location", "deleted", "deleted_at", "member", "context"),
    *("extra_properties", "image_id", "os_glance_import_task", "os_glance_x"),
)


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
        (operation("remove", "/locations/0"), 403),
        *[
            (operation("remove", f"/{name}"), 403)
            for name in (
                *("name", "tags", "visibility", "owner", "protected", "os_hidden", "min_disk"),
                *("min_ram", "disk_format", "container_format"),
            )
        ],
        *[(operation("replace", f"/{name}", "x"), 403) for name in NOT_THEIRS],
        (operation("replace", "/tags", [5]), 400),
        (operation("replace", "/tags", ["x" * 256]), 400),
        (operation("add", "/tags", "a"), 400),
        (operation("replace", "/protected", "true"), 400),
        (operation("replace", "/os_hidden", None), 400),
        (operation("replace", "/min_disk", 2**31), 400),
        (operation("replace", "/min_disk", True), 400),
        (operation("replace", "/container_format", "tape"), 400),
        (operation("replace", "/visibility", None), 400),
        (operation("add", "/new", {}), 400),
        (operation("add", "/new", True), 400),
        (operation("add", "/new\U0001f600", "x"), 400),
        (operation("remove", "/Here"), 409),
        (operation("replace", "/HERE", "x"), 409),
        (operation("replace", "/owner", None), 403),
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


@pytest.mark.parametrize("status", ["queued", "importing"])
@pytest.mark.parametrize("op", ["add", "replace"])
def test_formats_may_be_changed_before_there_are_data(
    api: Api, image_id: str, execute: Callable[[Any], None], status: str, op: str
) -> None:
    execute(sa.update(models.Image).values(status=status))
    for column in ("disk_format", "container_format"):
        for value in ("ami", None):
            answer = api.patch(image_id, operation(op, f"/{column}", value))
            assert (answer.status_code, answer.get_json()[column]) == (200, value)


@pytest.mark.parametrize("op", ["add", "replace"])
@pytest.mark.parametrize("owner", [STRANGER, OWNER, "x" * 255, None])
def test_only_an_administrator_gives_an_image_away(
    caller: Caller, image_id: str, op: str, owner: str | None
) -> None:
    change = operation(op, "/owner", owner)
    for roles in ("member,reader", "reader", "member,manager,reader"):
        api = caller(roles=roles)
        assert api.patch(image_id, change).status_code == 403
        assert api.show(image_id)["owner"] == OWNER
    assert caller(roles="admin").patch(image_id, change).get_json()["owner"] == owner


@pytest.mark.parametrize(
    ("visibility", "member", "admin"),
    [("private", 200, 200), ("shared", 200, 200), ("community", 200, 200), ("public", 403, 200)],
)
def test_visibilities(
    caller: Caller, image_id: str, visibility: str, member: int, admin: int
) -> None:
    change = operation("replace", "/visibility", visibility)
    assert caller().patch(image_id, change).status_code == member
    answer = caller(project=STRANGER, roles="admin").patch(image_id, change)
    assert (answer.status_code, answer.get_json()["visibility"]) == (admin, visibility)
    # A public image stays its owner's to change, but for making it public again.
    assert caller().patch(image_id, operation("replace", "/name", "m")).status_code == 200
    assert (
        caller().patch(image_id, operation("replace", "/visibility", "shared")).status_code == 200
    )


def test_what_an_administrator_may_not(caller: Caller, image_id: str) -> None:
    admin = caller(roles="admin,member,reader")
    before = admin.show(image_id)
    for op in ("add", "replace", "remove"):
        for name in NOT_THEIRS:
            assert admin.patch(image_id, operation(op, f"/{name}", "x")).status_code == 403
    assert admin.show(image_id) == before


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


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [operation("add", "/a", "b")],
        [operation("replace", "/here", "b")],
        [operation("remove", "/here")],
        [operation("remove", "/missing")],
        [operation("replace", "/name", "m")],
        [operation("replace", "/tags", ["b"])],
        [operation("replace", "/visibility", "private")],
        [operation("replace", "/protected", False)],
        [operation("replace", "/os_hidden", True)],
        [operation("replace", "/owner", OWNER)],
        [operation("add", "/owner", OWNER)],
    ],
)
def test_another_ones_image(caller: Caller, changes: list[dict[str, Any]]) -> None:
    owner = caller(project=STRANGER)
    seen = [owner.create(visibility=visibility, here="1") for visibility in ("community", "shared")]
    hidden = [owner.create(visibility=visibility, here="1") for visibility in ("private", "shared")]
    owner.ask("POST", f"/v2/images/{seen[1]}/members", {"member": OWNER})
    before = [owner.show(image_id) for image_id in (*seen, *hidden)]
    api = caller()
    assert [api.patch(image_id, *changes).status_code for image_id in seen] == [403, 403]
    assert [api.patch(image_id, *changes).status_code for image_id in hidden] == [404, 404]
    owner = caller(project=STRANGER)
    assert [owner.show(image_id) for image_id in (*seen, *hidden)] == before


def test_a_reader_changes_nothing(caller: Caller, image_id: str) -> None:
    api = caller(roles="reader")
    assert api.patch(image_id, operation("add", "/a", "b")).status_code == 403
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 403
