"""Who sees what: by id (contract section 3.5) and in lists (the last paragraph of section 2.1.3).

One world of images, of every owner, visibility and membership, is looked at by everybody with every pair of
filters; what must be found is said once more in Python, in the contract's words.
"""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import catalog, context, db, errors, models
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

Execute = Callable[[Any], None]

THIRD = "third-project"
#: None: the parameter is not given.
VISIBILITIES = (None, "public", "private", "shared", "community", "all")
MEMBER_STATUSES = (None, "pending", "accepted", "rejected", "all")


@dataclasses.dataclass(frozen=True)
class Kind:
    """What an image of the world is like."""

    owner: str | None
    visibility: str
    #: How OWNER is a member of it; "removed" is a membership that ended, "other's" is THIRD's.
    member: str | None
    hidden: bool

    @property
    def label(self) -> str:
        """Its name."""
        return f"{self.owner}-{self.visibility}-{self.member}-{self.hidden}"


WORLD = {
    f"00000000-0000-4000-8000-{number:012}": Kind(*parts)
    for number, parts in enumerate(
        itertools.product(
            (OWNER, STRANGER, None),
            ("public", "private", "shared", "community"),
            (None, "pending", "accepted", "rejected", "removed", "other's"),
            (False, True),
        )
    )
}
#: Who looks: the project, or None for nobody, and the roles.
PERSONAS: dict[str, tuple[str | None, str]] = {
    "owner and member": (OWNER, "member,reader"),
    "reader": (OWNER, "reader"),
    "other member": (THIRD, "member,reader"),
    "stranger": ("fourth-project", "member,reader"),
    "admin": (OWNER, "admin,member,reader"),
    "admin of another project": (THIRD, "admin"),
    "nobody": (None, ""),
}


@pytest.fixture
def world(caller: Caller) -> None:
    caller()
    with db.transaction() as session:
        for image_id, kind in WORLD.items():
            fields = {"owner": kind.owner, "visibility": kind.visibility, "os_hidden": kind.hidden}
            session.add(models.Image(id=image_id, name=kind.label, status="queued", **fields))
        session.flush()
        for image_id, kind in WORLD.items():
            if kind.member is None:
                continue
            mine, gone = kind.member != "other's", kind.member == "removed"
            status = kind.member if mine and not gone else "accepted"
            row = models.ImageMember(image_id=image_id, member=OWNER if mine else THIRD)
            row.status, row.deleted, row.deleted_at = status, gone, db.now() if gone else None
            session.add(row)


def membership(project: str | None, kind: Kind) -> str | None:
    """The status of a project's membership, where the image's visibility lets it have an effect."""
    if kind.visibility != "shared" or kind.member in (None, "removed"):
        return None
    if kind.member == "other's":
        return "accepted" if project == THIRD else None
    return kind.member if project == OWNER else None


def seen(persona: str, kind: Kind) -> bool:
    """Contract section 3.5, column "GET by id"."""
    project, roles = PERSONAS[persona]
    return (
        "admin" in roles
        or kind.owner is None
        or kind.owner == project
        or kind.visibility in ("public", "community")
        or membership(project, kind) is not None
    )


def listed(persona: str, kind: Kind, visibility: str | None, member_status: str | None) -> bool:
    """Contract section 2.1.3, of an image that is hidden as the list asks for."""
    project, roles = PERSONAS[persona]
    own = project is not None and kind.owner == project
    if visibility not in (None, "all", kind.visibility):
        return False
    if visibility is None and kind.visibility == "community" and not own:
        return False
    if "admin" in roles or own or kind.visibility in ("public", "community"):
        return True
    status = membership(project, kind)
    return status is not None and (member_status or "accepted") in ("all", status)


def query(**parameters: str | None) -> str:
    return "&".join(f"{name}={value}" for name, value in parameters.items() if value is not None)


def labels(images: list[Any]) -> list[str]:
    return sorted(WORLD[image].label for image in images)


@pytest.mark.parametrize("persona", [name for name in PERSONAS if name != "nobody"])
def test_lists(caller: Caller, world: None, persona: str) -> None:
    project, roles = PERSONAS[persona]
    api = caller(project=project, roles=roles)
    everything = itertools.product(VISIBILITIES, MEMBER_STATUSES, (None,))
    of_hidden = itertools.product(VISIBILITIES, (None, "all"), ("true",))
    for visibility, status, hidden in (*everything, *of_hidden):
        asked = query(limit="1000", visibility=visibility, member_status=status, os_hidden=hidden)
        found = api.ask("GET", f"/v2/images?{asked}").get_json()["images"]
        expected = [
            image_id
            for image_id, kind in WORLD.items()
            if kind.hidden == (hidden == "true") and listed(persona, kind, visibility, status)
        ]
        assert labels([image["id"] for image in found]) == labels(expected), asked


@pytest.mark.parametrize("persona", [name for name in PERSONAS if name != "nobody"])
def test_by_id(caller: Caller, world: None, persona: str) -> None:
    project, roles = PERSONAS[persona]
    api = caller(project=project, roles=roles)
    found = [one for one in WORLD if api.ask("GET", f"/v2/images/{one}").status_code == 200]
    assert labels(found) == labels([one for one, kind in WORLD.items() if seen(persona, kind)])


@pytest.fixture
def nobody() -> context.Context:
    """A caller without a token."""
    return context.Context(
        user_id=None,
        project_id=None,
        owner=None,
        roles=(),
        is_admin=False,
        request_id="req-1",
        read_only=True,
    )


def test_what_nobody_sees(world: None, nobody: context.Context) -> None:
    with db.reading() as session:
        for visibility, status in itertools.product(VISIBILITIES, MEMBER_STATUSES):
            given = {"visibility": visibility, "member_status": status}
            filters = [(name, value) for name, value in given.items() if value is not None]
            asked = catalog.Query(1000, None, (("id", "asc"),), filters)
            found = [image.id for image in catalog.page(nobody, asked)]
            expected = [
                image_id
                for image_id, kind in WORLD.items()
                if not kind.hidden and listed("nobody", kind, visibility, status)
            ]
            assert labels(found) == labels(expected), filters
        found = [one for one in WORLD if is_there(session, nobody, one)]
    assert labels(found) == labels([one for one, kind in WORLD.items() if seen("nobody", kind)])


def is_there(session: Any, asker: context.Context, image_id: str) -> bool:
    try:
        catalog.get(session, asker, image_id, parts=())
    except errors.NotFound:
        return False
    return True


def test_the_contracts_sentences(world: None, caller: Caller) -> None:
    """The words of the contract, so that the Python above cannot be wrong together with the SQL."""

    def found(api: Api, asked: str) -> set[str]:
        images = api.ask("GET", f"/v2/images?limit=1000&{asked}").get_json()["images"]
        return {image["name"] for image in images}

    member, admin = caller(), "admin,member,reader"
    default = found(member, "")
    assert {
        f"{OWNER}-{v}-None-False" for v in ("public", "private", "shared", "community")
    } <= default
    assert f"{STRANGER}-public-None-False" in default
    assert f"{STRANGER}-shared-accepted-False" in default
    assert not {f"{STRANGER}-shared-{s}-False" for s in ("pending", "rejected", "None")} & default
    assert f"{STRANGER}-community-None-False" not in default
    assert f"{STRANGER}-community-None-False" in found(member, "visibility=community")
    assert f"{STRANGER}-community-None-False" in found(member, "visibility=all")
    assert f"{OWNER}-public-None-True" not in default | found(member, "visibility=all")
    assert found(member, "visibility=shared&member_status=pending") == {
        f"{STRANGER}-shared-pending-False",
        "None-shared-pending-False",
        *(f"{OWNER}-shared-{m}-False" for m in (None, "pending", "accepted", "rejected")),
        *(f"{OWNER}-shared-{m}-False" for m in ("removed", "other's")),
    }
    everything = {kind.label for kind in WORLD.values() if not kind.hidden}
    others_community = {name for name in everything if "community" in name and OWNER not in name}
    assert found(caller(roles=admin), "") == everything - others_community
    assert found(caller(roles=admin), "visibility=all") == everything


def test_private_hides_an_image_from_its_members_and_shared_brings_it_back(caller: Caller) -> None:
    owner = caller()
    image_id = owner.create(name="n")
    path = f"/v2/images/{image_id}"
    owner.ask("POST", f"{path}/members", {"member": STRANGER})
    accepted = {"status": "accepted"}
    caller(project=STRANGER).ask("PUT", f"{path}/members/{STRANGER}", accepted)

    def found() -> tuple[int, int, int]:
        member = caller(project=STRANGER)
        return (
            member.ask("GET", path).status_code,
            len(member.ask("GET", "/v2/images?visibility=all").get_json()["images"]),
            member.ask("GET", f"{path}/members").status_code,
        )

    for visibility, expected in (
        ("private", (404, 0, 404)),
        ("shared", (200, 1, 200)),
        ("community", (200, 1, 403)),
        ("shared", (200, 1, 200)),
    ):
        change = {"op": "replace", "path": "/visibility", "value": visibility}
        assert caller().patch(image_id, change).status_code == 200
        assert found() == expected
    record = caller(project=STRANGER).ask("GET", f"{path}/members/{STRANGER}").get_json()
    assert record["status"] == "accepted"


@pytest.mark.parametrize("status", ["pending", "accepted", "rejected"])
def test_a_member_may_read_whatever_it_has_answered_and_change_nothing(
    caller: Caller, status: str, execute: Execute
) -> None:
    image_id = caller().create()
    values = {"image_id": image_id, "member": STRANGER, "status": status}
    execute(sa.insert(models.ImageMember).values(values))
    member = caller(project=STRANGER)
    assert member.ask("GET", f"/v2/images/{image_id}").status_code == 200
    change = {"op": "add", "path": "/a", "value": "b"}
    assert member.patch(image_id, change).status_code == 403
    assert member.ask("PUT", f"/v2/images/{image_id}/tags/a").status_code == 403
    assert member.ask("DELETE", f"/v2/images/{image_id}").status_code == 403


def test_images_of_users_where_projects_own_nothing(caller: Caller) -> None:
    """owner_is_tenant = false: the user is who owns, who is a member, and whose images are listed."""

    def user(name: str) -> Api:
        return caller(options=f"owner_is_tenant = false\n[noauth]\nuser_id = {name}")

    image_id = user("ann").create(visibility="shared")
    path = f"/v2/images/{image_id}"
    assert user("ann").show(image_id)["owner"] == "ann"
    assert user("bob").ask("GET", path).status_code == 404
    assert user("ann").ask("POST", f"{path}/members", {"member": "bob"}).status_code == 200
    assert user("bob").ask("GET", path).status_code == 200
    accepted = {"status": "accepted"}
    assert user("bob").ask("PUT", f"{path}/members/bob", accepted).status_code == 200
    assert len(user("bob").ask("GET", "/v2/images").get_json()["images"]) == 1
