"""Contract section 3.6: property protections, by roles. The first section that matches counts."""

import pytest

from tests.contract.conftest import World
from tests.contract.table import Row, add, patch, remove, replace

OPTIONS = "property_protection_file = {state}/protections.conf"


def section(pattern: str, create: str, read: str, update: str, delete: str) -> str:
    """A section of the file."""
    return f"[{pattern}]\ncreate = {create}\nread = {read}\nupdate = {update}\ndelete = {delete}\n"


FILES = {
    "protections.conf": section("^open", "@", "@", "@", "@")
    + section("^shown$", "admin", "@", "admin", "admin")
    + section("^hidden$", "admin", "admin", "admin", "admin")
    + section("^given$", "member, admin", "@", "!", "!")
    + section("^(open|late)", "!", "!", "!", "!")
}
MADE = {"open": "o", "shown": "s", "hidden": "h"}
NEW, SHOW, PATCH = "POST /v2/images", "GET /v2/images/{id}", "PATCH /v2/images/{id}"

ROWS = [
    Row("@ is everybody", NEW, 201, json={"open": "1"}, holds={"open": "1"}),
    Row("the first match counts", NEW, 201, json={"open_late": "1"}),
    Row("a list of roles", NEW, 201, json={"given": "1"}, holds={"given": "1"}),
    Row("create denied", NEW, 403, json={"shown": "1"}),
    Row("! is nobody", NEW, 403, json={"late": "1"}, who="admin"),
    Row("no match", NEW, 403, json={"other": "1"}),
    Row("no match, admin", NEW, 403, json={"other": "1"}, who="admin"),
    Row("show", SHOW, 200, image=MADE, holds={"open": "o", "shown": "s"}, lacks=("hidden",)),
    Row("show, admin", SHOW, 200, image=MADE, who="admin", holds={"hidden": "h"}),
    Row("update", PATCH, 200, image=MADE, **patch(replace("/open", "n")), holds={"open": "n"}),
    Row("update by add", PATCH, 200, image=MADE, **patch(add("/open", "n")), holds={"open": "n"}),
    Row("update denied", PATCH, 403, image=MADE, **patch(replace("/shown", "n"))),
    Row("update denied, by add", PATCH, 403, image=MADE, **patch(add("/shown", "n"))),
    Row("update hidden", PATCH, 409, image=MADE, **patch(replace("/hidden", "n"))),
    Row("add, create denied", PATCH, 403, **patch(add("/hidden", "n"))),
    Row("add, no match", PATCH, 403, **patch(add("/other", "n"))),
    Row("delete", PATCH, 200, image=MADE, **patch(remove("/open")), lacks=("open",)),
    Row("delete denied", PATCH, 403, image=MADE, **patch(remove("/shown"))),
    Row("delete hidden", PATCH, 409, image=MADE, **patch(remove("/hidden"))),
    Row("delete of !", PATCH, 403, image={"given": "g"}, who="admin", **patch(remove("/given"))),
    Row(
        "all or nothing", PATCH, 403, image=MADE, **patch(add("/open", "n"), replace("/shown", "n"))
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_a_filter_on_what_is_hidden_is_ignored(world: World) -> None:
    image_id = world.make(Row("", "", 0, image=MADE | {"name": "needle"}))
    for who, value, found in (("owner", "other", 1), ("admin", "other", 0), ("admin", "h", 1)):
        shown = world.ask(who, "GET", f"/v2/images?name=needle&hidden={value}").get_json()["images"]
        assert [image["id"] for image in shown] == [image_id] * found
