"""Property protections as callers meet them (contract section 3.6; rows of sections 2.1.1 and 2.2)."""

import pathlib
import time
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import models
from tests.functional.conftest import STRANGER, Api, Caller

Execute = Callable[[Any], None]

RULES = """
[^secret]
create = chief
read = chief
update = chief
delete = chief
[^drop_box$]
create = @
read = chief
update = chief
delete = chief
[^fixed$]
create = @
read = @
update = !
delete = chief
[^kept$]
create = chief
read = @
update = @
delete = !
[^denied]
create = !
read = !
update = !
delete = !
[.*]
create = @
read = @
update = @
delete = @
"""
POLICIES = '"everybody": ""\n"chief": "role:chief"\n'
HIDDEN, SHOWN = ("secret", "drop_box"), ("fixed", "kept", "free")


@pytest.fixture(params=["roles", "policies"])
def options(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """The same rules in both formats."""
    (tmp_path / "rules.conf").write_text(RULES)
    (tmp_path / "policy.yaml").write_text(POLICIES)
    return (
        f"property_protection_file = rules.conf\nproperty_protection_rule_format = {request.param}\n"
        f"[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml"
    )


@pytest.fixture
def image_id(caller: Caller, options: str) -> str:
    """An image with every kind of property; made by a chief."""
    fields = dict.fromkeys((*HIDDEN, *SHOWN), "1")
    return chief(caller, options).create(name="n", visibility="community", **fields)


def chief(caller: Caller, options: str) -> Api:
    return caller(roles="member,reader,chief", options=options)


def shown(record: dict[str, Any]) -> set[str]:
    """Names of the custom properties in a record."""
    return {name for name in record if name in (*HIDDEN, *SHOWN, "denied")}


@pytest.mark.parametrize(
    ("name", "roles", "status"),
    [
        ("secret", "member,reader", 403),
        ("secret", "member,reader,chief", 201),
        ("secret", "member,reader,CHIEF", 201),
        ("secretive", "member,reader", 403),
        ("my_secret", "member,reader", 201),
        ("kept", "member,reader", 403),
        ("drop_box", "member,reader", 201),
        ("fixed", "member,reader", 201),
        ("free", "member,reader", 201),
        ("denied", "admin,member,reader,chief", 403),
        ("denied_os_glance", "admin,member,reader,chief", 403),
    ],
)
def test_creating(caller: Caller, options: str, name: str, roles: str, status: int) -> None:
    api = caller(roles=roles, options=options)
    answer = api.ask("POST", "/v2/images", {"name": "n", name: "1"})
    assert answer.status_code == status
    if status == 201:
        may_read = name != "drop_box"
        assert answer.get_json().get(name) == ("1" if may_read else None)
    else:
        assert name in answer.text
        assert api.ask("GET", "/v2/images").get_json()["images"] == []


def test_what_may_not_be_read_is_in_no_answer(
    caller: Caller, options: str, image_id: str, execute: Execute
) -> None:
    for roles, expected in (
        ("member,reader", set(SHOWN)),
        ("admin,member,reader", set(SHOWN)),
        ("member,reader,chief", {*HIDDEN, *SHOWN}),
    ):
        api = caller(roles=roles, options=options)
        (listed,) = api.ask("GET", "/v2/images").get_json()["images"]
        change = {"op": "replace", "path": "/name", "value": "m"}
        patched = api.patch(image_id, change).get_json()
        assert shown(api.show(image_id)) == shown(listed) == shown(patched) == expected
    execute(
        sa.update(models.ImageProperty).values(
            name=sa.literal("denied_") + models.ImageProperty.name
        )
    )
    assert shown(chief(caller, options).show(image_id)) == set()


def add(name: str) -> dict[str, Any]:
    return {"op": "add", "path": f"/{name}", "value": "2"}


def replace(name: str) -> dict[str, Any]:
    return {"op": "replace", "path": f"/{name}", "value": "2"}


def remove(name: str) -> dict[str, Any]:
    return {"op": "remove", "path": f"/{name}"}


@pytest.mark.parametrize(
    ("changes", "by_member", "by_chief"),
    [
        ([add("secret")], 403, 200),
        ([replace("secret")], 409, 200),
        ([remove("secret")], 409, 200),
        ([add("secret_2")], 403, 200),
        ([replace("secret_2")], 409, 409),
        ([remove("secret_2")], 409, 409),
        ([add("drop_box")], 200, 200),
        ([replace("drop_box")], 409, 200),
        ([remove("drop_box")], 409, 200),
        ([add("fixed")], 403, 403),
        ([replace("fixed")], 403, 403),
        ([remove("fixed")], 403, 200),
        ([remove("fixed"), add("fixed")], 403, 200),
        ([add("kept")], 200, 200),
        ([replace("kept")], 200, 200),
        ([remove("kept")], 403, 403),
        ([add("kept_2")], 200, 200),
        ([add("denied")], 403, 403),
        ([replace("denied")], 409, 409),
        ([add("free")], 200, 200),
        ([replace("free")], 200, 200),
        ([remove("free")], 200, 200),
        ([replace("free"), replace("fixed")], 403, 403),
        ([{"op": "replace", "path": "/name", "value": "m"}], 200, 200),
        ([{"op": "replace", "path": "/tags", "value": ["t"]}], 200, 200),
    ],
)
def test_patching(
    caller: Caller,
    options: str,
    image_id: str,
    changes: list[dict[str, Any]],
    by_member: int,
    by_chief: int,
) -> None:
    boss = chief(caller, options)
    before = boss.show(image_id)
    api = caller(options=options)
    assert api.patch(image_id, *changes).status_code == by_member
    boss = chief(caller, options)
    after = boss.show(image_id)
    if by_member != 200:
        assert after == before
    else:  # what the member did not see is still there
        assert {n: after[n] for n in ("secret", "fixed")} == {"secret": "1", "fixed": "1"}
        return
    assert boss.patch(image_id, *changes).status_code == by_chief


def test_the_older_format_adds_only_what_the_caller_cannot_see(
    caller: Caller, options: str, image_id: str
) -> None:
    member = caller(options=options)
    for name, status in (("free", 409), ("fixed", 409), ("secret", 403), ("drop_box", 200)):
        change = {"add": f"/{name}", "value": "2"}
        assert member.patch(image_id, change, version="2.0").status_code == status


@pytest.mark.parametrize(
    ("query", "by_member", "by_chief"),
    [
        ("free=1", 1, 1),
        ("free=2", 0, 0),
        ("secret=1", 1, 1),
        ("secret=2", 1, 0),
        ("secret=2&free=2", 0, 0),
        ("secret_absent=1", 1, 0),
        ("denied=1", 1, 1),
        ("my=1", 0, 0),
    ],
)
def test_a_list_does_not_betray_what_may_not_be_read(
    caller: Caller, options: str, image_id: str, query: str, by_member: int, by_chief: int
) -> None:
    member, boss = caller(options=options), "member,reader,chief"
    found = member.ask("GET", f"/v2/images?{query}").get_json()["images"]
    assert len(found) == by_member
    found = caller(roles=boss, options=options).ask("GET", f"/v2/images?{query}").get_json()
    assert len(found["images"]) == by_chief


def test_our_own_marks_are_shown_and_kept_from_callers(
    caller: Caller, tmp_path: pathlib.Path, execute: Execute
) -> None:
    nothing = "create = !\nread = !\nupdate = !\ndelete = !\n"
    (tmp_path / "rules.conf").write_text(f"[os_glance.*]\n{nothing}[.*]\n{nothing}")
    api = caller(options="property_protection_file = rules.conf")
    image_id = api.create()
    mark = {"image_id": image_id, "name": "os_glance_failed_import", "value": "fast"}
    execute(sa.insert(models.ImageProperty).values(mark))
    assert api.show(image_id)["os_glance_failed_import"] == "fast"
    assert api.patch(image_id, add("os_glance_failed_import")).status_code == 403
    assert api.ask("POST", "/v2/images", {"os_glance_x": "1"}).status_code == 403


@pytest.mark.parametrize(("visibility", "status"), [("community", 403), ("private", 404)])
def test_a_right_to_a_property_is_no_right_to_an_image(
    caller: Caller, options: str, visibility: str, status: int
) -> None:
    image_id = caller(project=STRANGER, options=options).create(visibility=visibility)
    assert chief(caller, options).patch(image_id, add("secret")).status_code == status


def test_lists_do_not_become_slow(caller: Caller, options: str, execute: Execute) -> None:
    """Each name is decided on once in a request, not once for each image."""
    plain = caller()
    for number in range(50):
        fields = {f"p{n}": "1" for n in range(30)}
        plain.create(name=str(number), **fields)

    def seconds(api: Api) -> float:
        times = []
        for _ in range(4):
            begun = time.process_time()
            assert len(api.ask("GET", "/v2/images?limit=100").get_json()["images"]) == 50
            times.append(time.process_time() - begun)
        return min(times)

    unprotected = seconds(caller())
    assert seconds(caller(options=options)) < 1.5 * unprotected + 0.02
