"""Contract section 2.2: PATCH /v2/images/{id}."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import OWNER, RAW, STRANGER, V20, V21, Row, add, patch, remove, replace

ASK = "PATCH /v2/images/{id}"
IMAGE = {"name": "n", "here": "1", "tags": ["a"], **RAW}
READ_ONLY = [
    *("id", "status", "size", "checksum", "virtual_size", "created_at", "updated_at"),
    *("os_hash_algo", "os_hash_value", "direct_url", "self", "file", "schema"),
    *("location", "deleted", "deleted_at", "os_glance_import_task", "os_glancex"),
    *("member", "context", "extra_properties", "image_id", "stores"),
]


def good(name: str, *changes: Any, after: dict[str, Any], **more: Any) -> Row:
    """Changes that are made."""
    return Row(name, ASK, 200, **patch(*changes), **{"image": IMAGE, **more}, after=after)


def bad(name: str, code: int, *changes: Any, **more: Any) -> Row:
    """Changes that are refused, and with them the one before."""
    asked = patch(add("/name", "changed"), *changes)
    return Row(name[:90], ASK, code, **asked, **{"image": IMAGE, **more})


MALFORMED: list[Any] = [
    *("add", 5, None, [], {}),
    {"path": "/a", "value": "b"},
    *(
        {"op": op, "path": "/a", "value": "b"}
        for op in ("test", "move", "copy", "x", 5, None, ["add"])
    ),
    *({"op": op, "path": "/a"} for op in ("add", "replace")),
    *({"op": op, "value": "b"} for op in ("add", "replace", "remove")),
    *(add(path, "b") for path in ("", "/", "a", "/a/", "/a//b", "/a~2", "/a~", "//a", 5, None)),
    *(add(path, "b") for path in ("/a/b", "/name/0", "/tags/0", "/tags/-", "/locations")),
    *(replace("/locations/0", {}), remove("/locations")),
]
WRONG: dict[str, list[Any]] = {
    "name": [5, "x" * 256],
    "tags": ["x", None, [5], ["x" * 256]],
    "visibility": ["x", None],
    "protected": ["true", 1, None],
    "os_hidden": ["true", None],
    "min_ram": [-1, 2**31, "1", None],
    "min_disk": [-1, 1.5],
    "disk_format": ["tape", 5],
    "container_format": ["tape"],
    "here": [5, None, {}],
}
ROWS = [
    *(
        Row(
            f"the type {kind}",
            ASK,
            415,
            raw=b"[]",
            headers={"Content-Type": kind},
            gives={"Accept-Patch": f"{V20}, {V21}"},
        )
        for kind in (
            "application/json",
            "text/plain",
            "application/openstack-images-v2.2-json-patch",
            "",
        )
    ),
    good("nothing", after=IMAGE),
    good("add a property", add("/new", "2"), after={"new": "2", "here": "1"}),
    good("add what is there, v2.1", add("/here", "2"), after={"here": "2"}),
    good("add a base field", add("/name", "m"), after={"name": "m"}),
    good("replace a property", replace("/here", "2"), after={"here": "2"}),
    good("remove a property", remove("/here"), after={"here": "absent"}),
    good("escapes", add("/a~1b~0c", "2"), after={"a/b~c": "2"}),
    good("tags as a whole", replace("/tags", ["b", "b"]), after={"tags": ["b"]}),
    *(
        good(f"{name} to {value}", replace(f"/{name}", value), after={name: value})
        for name, value in (
            ("name", None),
            ("protected", True),
            ("os_hidden", True),
            ("min_ram", 2**31 - 1),
            ("min_disk", 0),
            ("disk_format", "iso"),
            ("container_format", "ova"),
            ("visibility", "private"),
            ("visibility", "community"),
        )
    ),
    good(
        "while importing",
        replace("/disk_format", "iso"),
        status="importing",
        after={"disk_format": "iso"},
    ),
    *(bad(f"malformed {change}", 400, change) for change in MALFORMED),
    bad("replace what is missing", 409, replace("/missing", "x")),
    bad("remove what is missing", 409, remove("/missing")),
    *(
        bad(f"remove {name}", 403, remove(f"/{name}"))
        for name in ("name", "tags", "visibility", "protected", "owner", "min_ram", "disk_format")
    ),
    *(
        bad(f"{op['op']} {name}", 403, op)
        for name in READ_ONLY
        for op in (add(f"/{name}", "x"), replace(f"/{name}", "x"), remove(f"/{name}"))
    ),
    *(
        bad(f"{name} to {str(value)[:20]}", 400, replace(f"/{name}", value))
        for name, values in WRONG.items()
        for value in values
    ),
    bad("a name beyond 255", 400, add("/" + "x" * 256, "y")),
    *(
        bad(f"{name} of an image with data", 403, replace(f"/{name}", "ami"), status=status)
        for name in ("disk_format", "container_format")
        for status in ("stored", "saving", "deactivated")
    ),
    bad("another owner", 403, replace("/owner", STRANGER)),
    bad("the same owner", 403, replace("/owner", OWNER)),
    bad("add an owner", 403, add("/owner", STRANGER)),
    good(
        "another owner, by an administrator",
        replace("/owner", STRANGER),
        who="admin",
        after={"owner": STRANGER},
    ),
    bad("public", 403, replace("/visibility", "public")),
    good(
        "public, by an administrator",
        replace("/visibility", "public"),
        who="admin",
        after={"visibility": "public"},
    ),
    good(
        "away from shared while there are members",
        replace("/visibility", "private"),
        members={STRANGER: "accepted"},
        after={"visibility": "private"},
    ),
    bad("one property too many", 413, add("/more", "x"), options={"image_property_quota": 1}),
    good(
        "replace though there are too many",
        replace("/here", "2"),
        options={"image_property_quota": 0},
        after={"here": "2"},
    ),
    good(
        "remove though there are too many",
        remove("/here"),
        options={"image_property_quota": 0},
        after={"here": "absent"},
    ),
    bad("too many tags", 413, replace("/tags", [str(n) for n in range(129)])),
    bad("locations are off", 403, replace("/locations", [])),
    bad("locations are off", 403, add("/locations/-", {"url": "http://x/", "metadata": {}})),
    bad(
        "visible, not owner",
        403,
        add("/a", "b"),
        of="stranger",
        image={"visibility": "community"},
        who="owner",
    ),
    bad("invisible", 404, add("/a", "b"), of="stranger"),
    bad("a reader", 403, add("/a", "b"), who="reader"),
    Row("missing", "PATCH /v2/images/missing", 404, **patch(add("/a", "b"))),
    *(
        Row(f"v2.0 {change}", ASK, code, image=IMAGE, **patch(change, old=True))
        for change, code in (
            ({"add": "/new", "value": "2"}, 200),
            ({"replace": "/here", "value": "2"}, 200),
            ({"remove": "/here"}, 200),
            ({"add": "/here", "value": "2"}, 409),
            ({"add": "/name", "value": "2"}, 409),
            ({"replace": "/missing", "value": "2"}, 409),
            ({"remove": "/missing"}, 409),
            ({"add": "/new"}, 400),
            ({"add": 5, "value": "2"}, 400),
            ({"op": "add", "path": "/new", "value": "2"}, 400),
            ({"add": "/a", "remove": "/b", "value": "2"}, 400),
            ({}, 400),
        )
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
