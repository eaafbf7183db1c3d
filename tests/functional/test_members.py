"""/v2/images/{id}/members (contract section 2.8), and who may (sections 5.2 and 5.3)."""

import concurrent.futures
import datetime
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug import test

from images import db, models
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

Execute = Callable[[Any], None]

THIRD = "third-project"
#: Everybody who may meet an image of OWNER that is shared with STRANGER.
PERSONAS = {
    "owner": {"project": OWNER},
    "owner's reader": {"project": OWNER, "roles": "reader"},
    "owner's nobody": {"project": OWNER, "roles": ""},
    "member": {"project": STRANGER},
    "member's reader": {"project": STRANGER, "roles": "reader"},
    "other": {"project": THIRD},
    "admin": {"project": THIRD, "roles": "admin,member,reader"},
}


def members(image_id: str, member: str = "") -> str:
    return f"/v2/images/{image_id}/members" + (member and f"/{member}")


def add(api: Api, image_id: str, member: Any = STRANGER) -> test.TestResponse:
    return api.ask("POST", members(image_id), {"member": member})


def status(api: Api, image_id: str, value: Any, member: str = STRANGER) -> test.TestResponse:
    return api.ask("PUT", members(image_id, member), {"status": value})


@pytest.fixture
def image_id(api: Api) -> str:
    """A shared image of OWNER with one member that has not answered."""
    image_id = api.create(name="n")
    assert add(api, image_id).status_code == 200
    return image_id


def test_a_new_member(api: Api) -> None:
    image_id = api.create()
    answer = add(api, image_id)
    record = answer.get_json()
    assert (answer.status_code, answer.content_type) == (200, "application/json")
    assert record == {
        "member_id": STRANGER,
        "image_id": image_id,
        "status": "pending",
        "created_at": record["created_at"],
        "updated_at": record["created_at"],
        "schema": "/v2/schemas/member",
    }
    assert len(record["created_at"]) == len("2026-01-01T00:00:00Z")
    assert api.ask("GET", members(image_id, STRANGER)).get_json() == record
    assert api.ask("GET", members(image_id)).get_json() == {
        "members": [record],
        "schema": "/v2/schemas/members",
    }


def test_an_image_without_members_has_an_empty_list(api: Api) -> None:
    answer = api.ask("GET", members(api.create()))
    assert answer.get_json() == {"members": [], "schema": "/v2/schemas/members"}


@pytest.mark.parametrize("first", ["pending", "accepted", "rejected"])
@pytest.mark.parametrize("second", ["pending", "accepted", "rejected"])
def test_a_member_changes_its_mind(
    caller: Caller, image_id: str, execute: Execute, first: str, second: str
) -> None:
    old = datetime.datetime(2020, 1, 1)  # noqa: DTZ001
    execute(sa.update(models.ImageMember).values(updated_at=old, status=first))
    answer = status(caller(project=STRANGER), image_id, second)
    assert (answer.status_code, answer.get_json()["status"]) == (200, second)
    assert answer.get_json()["updated_at"] > "2020-01-02"
    record = caller().ask("GET", members(image_id, STRANGER)).get_json()
    assert record == answer.get_json()


def test_a_member_that_comes_again_has_not_answered(caller: Caller, image_id: str) -> None:
    for _ in range(3):
        assert status(caller(project=STRANGER), image_id, "accepted").status_code == 200
        api = caller()
        assert api.ask("DELETE", members(image_id, STRANGER)).status_code == 204
        assert api.ask("GET", members(image_id, STRANGER)).status_code == 404
        assert api.ask("DELETE", members(image_id, STRANGER)).status_code == 404
        assert add(api, image_id).get_json()["status"] == "pending"
    with db.reading() as session:
        assert session.scalar(sa.select(sa.func.count(models.ImageMember.id))) == 1


def test_a_member_that_is_there_is_not_added_again(api: Api, image_id: str) -> None:
    answer = add(api, image_id)
    assert answer.status_code == 409
    assert STRANGER in answer.text


def test_of_two_that_add_the_same_member_one_is_refused(api: Api) -> None:
    image_id = api.create()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [Api(api.application) for _ in range(8)]
        answers = list(pool.map(lambda one: add(one, image_id).status_code, clients))
    assert sorted(answers) == [200] + [409] * 7
    assert len(api.ask("GET", members(image_id)).get_json()["members"]) == 1


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"member": "x" * 255}, 200),
        ({"member": "näme/with slash"}, 200),
        ({"member": "x", "more": 1}, 200),
        ({"member": OWNER}, 200),
        ({}, 400),
        ({"member": ""}, 400),
        ({"member": None}, 400),
        ({"member": 5}, 400),
        ({"member": True}, 400),
        ({"member": ["x"]}, 400),
        ({"member": {"id": "x"}}, 400),
        ({"member": "x" * 256}, 400),
        ({"member": "four bytes \U0001f600"}, 400),
        ({"member": "nul \0"}, 400),
        ({"member_id": "x"}, 400),
    ],
)
def test_whom_an_image_can_be_shared_with(api: Api, document: dict[str, Any], code: int) -> None:
    image_id = api.create()
    assert api.ask("POST", members(image_id), document).status_code == code
    assert len(api.ask("GET", members(image_id)).get_json()["members"]) == (code == 200)


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"status": "accepted", "more": 1}, 200),
        ({}, 400),
        ({"status": ""}, 400),
        ({"status": "maybe"}, 400),
        ({"status": "Accepted"}, 400),
        ({"status": None}, 400),
        ({"status": 5}, 400),
        ({"status": ["accepted"]}, 400),
        ({"status": {}}, 400),
        ({"status": "\U0001f600"}, 400),
    ],
)
def test_what_a_member_can_answer(
    caller: Caller, image_id: str, document: dict[str, Any], code: int
) -> None:
    member = caller(project=STRANGER)
    assert member.ask("PUT", members(image_id, STRANGER), document).status_code == code
    found = member.ask("GET", members(image_id, STRANGER)).get_json()["status"]
    assert found == ("accepted" if code == 200 else "pending")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'["x"]', b'"x"', b"5", b"null", b"\xff"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_bodies_that_are_no_object(api: Api, image_id: str, method: str, raw: bytes) -> None:
    path = members(image_id, STRANGER if method == "PUT" else "")
    assert api.ask(method, path, data=raw).status_code == 400


@pytest.mark.parametrize(
    ("method", "member"), [("GET", ""), ("GET", STRANGER), ("DELETE", STRANGER)]
)
def test_no_bodies(api: Api, image_id: str, method: str, member: str) -> None:
    assert api.ask(method, members(image_id, member), data=b"x").status_code == 400
    assert api.ask("GET", members(image_id, STRANGER)).status_code == 200


@pytest.mark.parametrize(
    ("method", "member", "allow"),
    [
        *[(method, "", "GET, POST") for method in ("PUT", "PATCH", "DELETE", "HEAD")],
        *[(method, STRANGER, "GET, PUT, DELETE") for method in ("POST", "PATCH", "HEAD")],
    ],
)
def test_other_methods(api: Api, image_id: str, method: str, member: str, allow: str) -> None:
    answer = api.ask(method, members(image_id, member))
    assert (answer.status_code, answer.headers["Allow"]) == (405, allow)


@pytest.mark.parametrize("member", ["absent", "x" * 256, "x" * 5000, "%00", "%F0%9F%98%80"])
def test_members_that_are_not_there(caller: Caller, image_id: str, member: str) -> None:
    api = caller(roles="admin,member,reader")
    assert api.ask("GET", members(image_id, member)).status_code == 404
    assert status(api, image_id, "accepted", member).status_code == 404
    assert api.ask("DELETE", members(image_id, member)).status_code == 404


@pytest.mark.parametrize("image", ["absent", "deleted"])
def test_images_that_are_not_there(api: Api, image_id: str, image: str) -> None:
    if image == "deleted":
        assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
        image = image_id
    assert add(api, image, "more").status_code == 404
    assert api.ask("GET", members(image)).status_code == 404
    assert api.ask("GET", members(image, STRANGER)).status_code == 404
    assert status(api, image, "accepted").status_code == 404
    assert api.ask("DELETE", members(image, STRANGER)).status_code == 404


#: Of an image that is shared with STRANGER: what POST (a further member), GET list, GET the member,
#: PUT its status and DELETE it answer.
ALLOWED = {
    "owner": (200, 200, 200, 403, 204),
    "owner's reader": (403, 200, 200, 403, 403),
    "owner's nobody": (404, 404, 404, 404, 404),  # get_image is denied, so there is no image
    "member": (403, 200, 200, 200, 403),
    "member's reader": (403, 200, 200, 403, 403),
    "other": (404, 404, 404, 404, 404),
    "admin": (200, 200, 200, 200, 204),
}
#: The same of an image that has that member, but became private, public or community.
PRIVATE = {
    "owner": (403, 403, 404, 403, 403),
    "member": (404, 404, 404, 404, 404),
    "other": (404, 404, 404, 404, 404),
    "admin": (403, 403, 404, 403, 403),
}
OPEN = PRIVATE | {
    "member": (403, 403, 404, 403, 403),
    "other": (403, 403, 404, 403, 403),
}


def asked(api: Api, image_id: str) -> tuple[int, ...]:
    """What the five calls answer."""
    return (
        add(api, image_id, "more").status_code,
        api.ask("GET", members(image_id)).status_code,
        api.ask("GET", members(image_id, STRANGER)).status_code,
        status(api, image_id, "accepted").status_code,
        api.ask("DELETE", members(image_id, STRANGER)).status_code,
    )


@pytest.mark.parametrize("persona", ALLOWED)
def test_who_may_do_what(caller: Caller, image_id: str, persona: str) -> None:
    assert asked(caller(**PERSONAS[persona]), image_id) == ALLOWED[persona]


@pytest.mark.parametrize("persona", PRIVATE)
@pytest.mark.parametrize("visibility", ["private", "public", "community"])
def test_only_shared_images_have_members(
    caller: Caller, image_id: str, execute: Execute, visibility: str, persona: str
) -> None:
    execute(sa.update(models.Image).values(visibility=visibility))
    expected = PRIVATE if visibility == "private" else OPEN
    assert asked(caller(**PERSONAS[persona]), image_id) == expected[persona]


def test_a_member_knows_of_itself_only(caller: Caller, image_id: str) -> None:
    assert add(caller(), image_id, THIRD).status_code == 200

    def listed(api: Api) -> list[str]:
        found = api.ask("GET", members(image_id)).get_json()["members"]
        return [member["member_id"] for member in found]

    assert listed(caller()) == [STRANGER, THIRD]
    assert listed(caller(project="x", roles="admin")) == [STRANGER, THIRD]
    for persona, other in ((STRANGER, THIRD), (THIRD, STRANGER)):
        api = caller(project=persona)
        assert listed(api) == [persona]
        assert api.ask("GET", members(image_id, other)).status_code == 404
        assert status(api, image_id, "accepted", other).status_code == 404
        assert api.ask("DELETE", members(image_id, other)).status_code == 404


def test_an_owner_that_is_a_member_of_its_own_image_answers_nothing(
    caller: Caller, image_id: str
) -> None:
    api = caller()
    assert add(api, image_id, OWNER).status_code == 200
    assert status(api, image_id, "accepted", OWNER).status_code == 403


@pytest.mark.parametrize("persona", ["other", "admin"])
def test_an_image_that_belongs_to_nobody(caller: Caller, persona: str) -> None:
    admin = caller(**PERSONAS["admin"])
    image_id = admin.create(owner=None)
    assert add(admin, image_id).status_code == 200
    api = caller(**PERSONAS[persona])
    seen = api.ask("GET", members(image_id)).get_json()["members"]
    assert len(seen) == (persona == "admin")
    assert add(api, image_id, "more").status_code == (200 if persona == "admin" else 403)


@pytest.mark.parametrize(
    ("quota", "codes"),
    [(2, [200, 200, 413]), (0, [413, 413, 413]), (-1, [200, 200, 200])],
)
def test_the_quota(caller: Caller, quota: int, codes: list[int]) -> None:
    api = caller(options=f"image_member_quota = {quota}")
    image_id = api.create()
    assert [add(api, image_id, f"p{n}").status_code for n in range(3)] == codes
    if quota == 2:  # one that was removed does not count
        api.ask("DELETE", members(image_id, "p0"))
        assert add(api, image_id, "p2").status_code == 200
        assert add(api, image_id, "p0").status_code == 413


@pytest.mark.parametrize(
    ("rule", "call"),
    [
        ("add_member", lambda api, image: add(api, image, "more").status_code),
        ("get_members", lambda api, image: api.ask("GET", members(image)).status_code),
        ("modify_member", lambda api, image: status(api, image, "accepted").status_code),
        (
            "delete_member",
            lambda api, image: api.ask("DELETE", members(image, STRANGER)).status_code,
        ),
    ],
)
def test_an_operators_rule_counts(
    caller: Caller, image_id: str, tmp_path: Any, rule: str, call: Callable[[Api, str], int]
) -> None:
    file = tmp_path / "policy.yaml"
    options = f"[oslo_policy]\npolicy_file = {file}"
    persona = PERSONAS["member" if rule == "modify_member" else "owner"]
    file.write_text(f'"{rule}": "!"\n')
    assert call(caller(**persona, options=options), image_id) == 403
    file.write_text(f'"{rule}": ""\n')
    assert call(caller(**persona, options=options), image_id) in (200, 204)


def test_no_rule_lets_an_owner_answer_for_its_members(
    caller: Caller, image_id: str, tmp_path: Any
) -> None:
    """Glance's older policy files say `""` for everything."""
    file = tmp_path / "policy.yaml"
    file.write_text('"modify_member": ""\n')
    options = f"[oslo_policy]\npolicy_file = {file}"
    for persona, expected in (("owner", 403), ("member", 200), ("other", 404), ("admin", 200)):
        api = caller(**PERSONAS[persona], options=options)
        assert status(api, image_id, "accepted").status_code == expected, persona


def test_the_rule_of_one_member_hides_it(caller: Caller, image_id: str, tmp_path: Any) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"get_member": "!"\n')
    api = caller(options=f"[oslo_policy]\npolicy_file = {file}")
    assert api.ask("GET", members(image_id)).get_json()["members"] == []
    assert api.ask("GET", members(image_id, STRANGER)).status_code == 404


@pytest.mark.parametrize(
    ("method", "member", "document", "most"),
    [
        ("POST", "", {"member": "more"}, 3),
        ("GET", "", None, 2),
        ("GET", STRANGER, None, 2),
        ("PUT", STRANGER, {"status": "accepted"}, 3),
        ("DELETE", STRANGER, None, 3),
    ],
)
def test_the_statements_of_a_call(
    caller: Caller, image_id: str, method: str, member: str, document: Any, most: int
) -> None:
    api, seen = caller(project="x", roles="admin"), []

    def record(*event: Any) -> None:
        if not event[2].startswith("BEGIN"):
            seen.append(event[2])

    sa.event.listen(db.engine(), "before_cursor_execute", record)
    assert api.ask(method, members(image_id, member), document).status_code in (200, 204)
    sa.event.remove(db.engine(), "before_cursor_execute", record)
    assert len(seen) <= most, seen
