"""Contract section 2.1.3: lists of images, their filters, orders and pages."""

import datetime
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, models
from tests.contract.conftest import World
from tests.contract.table import OWNER, RAW, SHARED_WITH, STRANGER

#: Of one project, whose lists hold them and nothing else; a minute apart, so the newest, "d", is first.
LISTED: list[dict[str, Any]] = [
    {"name": "a", **RAW, "min_ram": 1, "os": "x", "visibility": "private"},
    {"name": "b", "disk_format": "qcow2", "tags": ["t"], "protected": True, "os": "y"},
    {"name": "c,d", "disk_format": "raw", "tags": ["t", "u"], "os": "in:x"},
    {"name": "d", "visibility": "community", "tags": ["T"]},
    {"name": "hidden", "os_hidden": True},
]


@pytest.fixture(scope="module")
def listed(world: World) -> World:
    """The images of a project that is the caller of the lists."""
    fields = {"owner": STRANGER}
    for minute, about in enumerate(LISTED):
        image_id = world.ask("admin", "POST", "/v2/images", fields | about).get_json()["id"]
        moment = datetime.datetime(2026, 1, 1, 12, minute, 0, 250000)  # noqa: DTZ001 - the column has none
        change = sa.update(models.Image).where(models.Image.id == image_id)
        size = 100 * minute or None
        with db.transaction() as session:
            session.execute(change.values(created_at=moment, updated_at=moment, size=size))
    return world


FOUND = [
    ("", "d c,d b a"),
    *(("limit=2", "d c,d"), ("limit=0", ""), ("limit=99999999999", "d c,d b a")),
    *(("sort_key=name&sort_dir=asc", "a b c,d d"), ("sort_key=name", "d c,d b a")),
    *(("sort=name:asc", "a b c,d d"), ("sort=name", "d c,d b a"), ("sort_dir=asc", "a b c,d d")),
    ("sort=size:asc,name:desc", "a b c,d d"),
    ("sort_key=protected", None),
    *(("name=a", "a"), ("name=eq:a", "a"), ("name=in:a,b", "b a"), ('name=in:a,"c,d"', "c,d a")),
    *(("name=a&name=b", "b"), ("name=A", ""), ("name=neq:a", None), ("name=like:a", None)),
    *(('name=in:"a', None), ("name=in:a", "a")),
    *(("status=queued", "d c,d b a"), ("status=in:queued,active", "d c,d b a")),
    *(("status=unheard", ""), ("status=deleted", ""), ("status=killed", "")),
    *(("disk_format=raw", "c,d a"), ("disk_format=in:raw,qcow2", "c,d b a")),
    *(("container_format=bare", "a"), ("id=unheard", "")),
    *(("created_at=2026-01-01T12:01:00Z", "b"), ("created_at=eq:2026-01-01T12:01:00Z", "b")),
    *(
        ("created_at=gt:2026-01-01T12:01:00Z", "d c,d"),
        ("created_at=gte:2026-01-01T12:02:00Z", "d c,d"),
    ),
    *(("created_at=lt:2026-01-01T12:01:00Z", "a"), ("created_at=lte:2026-01-01T12:01:00Z", "b a")),
    *(
        ("created_at=neq:2026-01-01T12:01:00Z", "d c,d a"),
        ("created_at=gt:x", None),
        ("created_at=in:x", None),
    ),
    *(("updated_at=gt:2026-01-01T12:01:00Z", "d c,d"), ("updated_at=x", None)),
    *(
        ("size_min=200", "d c,d"),
        ("size_max=200", "c,d b"),
        ("size_min=-1", "d c,d b"),
        ("size_min=x", None),
    ),
    *(("min_ram_min=1", "a"), ("min_ram_max=0", "d c,d b"), ("min_disk_max=0", "d c,d b a")),
    *(("virtual_size_min=0", ""), ("foo_min=1", None), ("foo_max=1", None)),
    *(("size=100", "b"), ("size=x", ""), ("min_ram=1", "a"), ("min_disk=0", "d c,d b a")),
    *(("virtual_size=1", ""), ("checksum=x", ""), ("os_hash_algo=x", ""), ("os_hash_value=x", "")),
    *((f"owner={STRANGER}", "d c,d b a"), (f"owner={OWNER}", "")),
    *(
        ("protected=true", "b"),
        ("protected=false", "d c,d a"),
        ("protected=True", None),
        ("protected=1", None),
    ),
    *(("os_hidden=true", "hidden"), ("os_hidden=TRUE", "hidden"), ("os_hidden=false", "d c,d b a")),
    *(("os_hidden=1", None), ("os_hidden=true&visibility=all", "hidden")),
    *(("visibility=private", "a"), ("visibility=shared", "c,d b"), ("visibility=community", "d")),
    *(
        ("visibility=public", ""),
        ("visibility=all", "d c,d b a"),
        ("visibility=", ""),
        ("visibility=x", None),
    ),
    *(("member_status=accepted", "d c,d b a"), ("member_status=x", None)),
    *(("tag=t", "c,d b"), ("tag=t&tag=u", "c,d"), ("tag=T", "d"), ("tag=x", "")),
    *(("os=x", "a"), ("os=in:x", "c,d"), ("is_public=true", ""), ("unheard=x", "")),
    *(("changes-since=2026-01-01T00:00:00Z", None), ("deleted=true", "d c,d b a")),
    *(
        ("limit=-1", None),
        ("limit=x", None),
        ("limit=", None),
        ("marker=x", None),
        ("marker=", None),
    ),
    *(("sort_key=x", None), ("sort_dir=x", None), ("sort=x", None), ("sort=name:x", None)),
    *(("sort=name&sort_key=name", None), ("sort=name&sort_dir=asc", None)),
    ("sort_key=name&sort_key=id&sort_dir=asc&sort_dir=asc&sort_dir=asc", None),
]


@pytest.mark.parametrize(("query", "found"), FOUND, ids=str)
def test_list(listed: World, query: str, found: str | None) -> None:
    answer = listed.ask("stranger", "GET", f"/v2/images?{query}")
    if found is None:
        assert answer.status_code == 400
    else:
        assert answer.status_code == 200, answer.text
        assert [image["name"] for image in answer.get_json()["images"]] == found.split()


def test_the_links_of_a_page(listed: World) -> None:
    page = listed.ask("stranger", "GET", "/v2/images?tag=t&limit=1&sort=name:asc").get_json()
    last = page["images"][-1]["id"]
    assert page["schema"] == "/v2/schemas/images"
    assert page["first"] == "/v2/images?tag=t&limit=1&sort=name%3Aasc"
    assert page["next"] == f"{page['first']}&marker={last}"
    beyond = listed.ask("stranger", "GET", page["next"]).get_json()
    assert [image["name"] for image in beyond["images"]] == ["c,d"]
    end = listed.ask("stranger", "GET", beyond["next"]).get_json()
    assert (end["images"], "next" in end) == ([], False)


def test_a_marker_that_the_caller_may_not_see(listed: World) -> None:
    image_id = listed.ask("owner", "POST", "/v2/images", {}).get_json()["id"]
    assert listed.ask("stranger", "GET", f"/v2/images?marker={image_id}").status_code == 403
    assert listed.ask("owner", "DELETE", f"/v2/images/{image_id}").status_code == 204
    assert listed.ask("owner", "GET", f"/v2/images?marker={image_id}").status_code == 400


def test_who_may_not_list(listed: World) -> None:
    assert listed.ask("no role", "GET", "/v2/images").status_code == 403


def test_shared_images_by_the_answer_of_the_member(listed: World) -> None:
    image_id = listed.ask("stranger", "POST", "/v2/images", {"name": "mine"}).get_json()["id"]
    path = f"/v2/images/{image_id}/members"
    assert listed.ask("stranger", "POST", path, {"member": SHARED_WITH}).status_code == 200

    def seen(query: str) -> list[str]:
        page = listed.ask("member", "GET", f"/v2/images?{query}").get_json()
        return [image["name"] for image in page["images"]]

    for status in ("pending", "accepted", "rejected"):
        body = {"status": status}
        assert listed.ask("member", "PUT", f"{path}/{SHARED_WITH}", body).status_code == 200
        by_default = ["mine"] if status == "accepted" else []
        assert seen("") == seen("visibility=shared") == by_default
        assert seen(f"visibility=shared&member_status={status}") == ["mine"]
        assert seen("visibility=shared&member_status=all") == ["mine"]
    assert listed.ask("stranger", "DELETE", f"/v2/images/{image_id}").status_code == 204
