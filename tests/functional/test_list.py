"""GET /v2/images (contract section 2.1.3) and who sees what (section 3.5)."""

import datetime
import urllib.parse
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, models
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

Execute = Callable[[Any], None]


def names(api: Api, query: str) -> list[str]:
    """Names of a page's images, in its order."""
    answer = api.ask("GET", f"/v2/images?{query}")
    assert answer.status_code == 200, answer.text
    return [image["name"] for image in answer.get_json()["images"]]


@pytest.fixture
def four(api: Api, execute: Execute) -> Api:
    """Four images a minute apart: a, b, c and one without a name."""
    rows: list[dict[str, Any]] = [
        {"name": "a", "disk_format": "raw", "container_format": "bare", "min_ram": 1, "os": "x"},
        {"name": "b", "disk_format": "qcow2", "tags": ["t"], "protected": True, "os": "y"},
        {"name": "c,d", "disk_format": "raw", "tags": ["t", "u"], "visibility": "private"},
        {"os_hidden": True},
    ]
    for minute, fields in enumerate(rows):
        moment = datetime.datetime(2026, 1, 1, 12, minute, 0, 250000)  # noqa: DTZ001
        change = sa.update(models.Image).where(models.Image.id == api.create(**fields))
        size = 100 * minute if minute else None
        execute(change.values(created_at=moment, updated_at=moment, size=size))
    return api


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", "c,d b a"),
        ("sort=name:asc", "a b c,d"),
        ("sort_key=name&sort_dir=asc", "a b c,d"),
        ("sort_key=disk_format&sort_key=name&sort_dir=desc&sort_dir=asc", "a c,d b"),
        ("sort=disk_format:asc,name:desc", "b c,d a"),
        ("sort_key=size&sort_dir=asc", "a b c,d"),
        ("sort_key=size", "c,d b a"),
        ("sort_dir=asc", "a b c,d"),
        ("limit=2", "c,d b"),
        ("limit=0", ""),
        ("limit=99999999999999999999", "c,d b a"),
        ("name=a", "a"),
        ("name=eq:a", "a"),
        ("name=in:a,b", "b a"),
        ('name=in:a,"c,d"', "c,d a"),
        ("name=A", ""),
        ("name=a&name=b", "b"),
        ("status=queued", "c,d b a"),
        ("status=in:active,queued", "c,d b a"),
        ("status=nonsense", ""),
        ("status=deleted", ""),
        ("disk_format=qcow2", "b"),
        ("container_format=bare", "a"),
        ("created_at=2026-01-01T12:01:00Z", "b"),
        ("created_at=eq:2026-01-01T12:01:00Z", "b"),
        ("created_at=neq:2026-01-01T12:01:00Z", "c,d a"),
        ("created_at=gt:2026-01-01T12:01:00Z", "c,d"),
        ("created_at=gte:2026-01-01T12:01:00Z", "c,d b"),
        ("created_at=lt:2026-01-01T12:01:00Z", "a"),
        ("updated_at=lte:2026-01-01T12:01:00Z", "b a"),
        ("updated_at=lte:2026-01-01T13:01:00%2B01:00", "b a"),
        ("size_min=100", "c,d b"),
        ("size_max=100", "b"),
        ("size_min=-1&size_max=100", "b"),
        ("size_min=999999999999999999999999", ""),
        ("min_ram_min=1", "a"),
        ("size=200", "c,d"),
        ("size=big", ""),
        ("min_disk=0", "c,d b a"),
        ("owner=owner-project", "c,d b a"),
        ("owner=other", ""),
        ("checksum=x", ""),
        ("os_hash_value=x", ""),
        ("protected=true", "b"),
        ("protected=false", "c,d a"),
        ("os_hidden=False", "c,d b a"),
        ("visibility=shared", "b a"),
        ("visibility=private", "c,d"),
        ("visibility=all", "c,d b a"),
        ("visibility=", ""),
        ("tag=t", "c,d b"),
        ("tag=t&tag=u", "c,d"),
        ("tag=T", ""),
        ("os=x", "a"),
        ("os=in:x,y", ""),
        ("is_public=true", ""),
        ("deleted=true", "c,d b a"),
    ],
)
def test_rows(four: Api, query: str, found: str) -> None:
    assert names(four, query) == found.split()


@pytest.mark.parametrize("sort", ["sort=name,id,name:asc", "sort_key=id&sort_key=id&sort_dir=asc"])
def test_a_key_that_is_named_twice(four: Api, sort: str) -> None:
    """It has ordered the list already; the pages go on all the same."""
    once = sort.replace(",name:asc", "").replace("&sort_key=id", "")
    whole = four.ask("GET", f"/v2/images?{once}").get_json()["images"]
    assert names(four, f"{sort}&marker={whole[0]['id']}") == [one["name"] for one in whole[1:]]


def test_hidden_images(four: Api) -> None:
    assert names(four, "os_hidden=TRUE") == [None]


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1_0",
        "marker=",
        "marker=unknown",
        "marker=%00",
        "sort_key=owner",
        "sort_key=",
        "sort_dir=up",
        "sort_key=name&sort_key=id&sort_dir=asc&sort_dir=asc&sort_dir=asc",
        "sort=name:up",
        "sort=owner",
        "sort=name&sort_key=name",
        "sort=name&sort_dir=asc",
        "name=neq:a",
        "name=gt:a",
        "name=in:%22a",
        "name=in:a%22b%22",
        "created_at=gt:yesterday",
        "created_at=foo:2026-01-01T00:00:00Z",
        "created_at=9999-12-31T23:59:59Z",
        "created_at=0001-01-01T00:00:00%2B23:00",
        "size_min=x",
        "foo_min=1",
        "foo_max=1",
        "protected=True",
        "protected=1",
        "os_hidden=1",
        "visibility=secret",
        "member_status=maybe",
        "changes-since=2026-01-01T00:00:00Z",
        "custom=%00",
        "&".join(f"p{number}=x" for number in range(101)),
    ],
)
def test_refused(api: Api, query: str) -> None:
    assert api.ask("GET", f"/v2/images?{query}").status_code == 400


@pytest.mark.parametrize(
    "order",
    [
        *("", "sort_dir=asc", "sort_key=name", "sort_key=name&sort_dir=asc", "sort=size:asc"),
        *("sort=disk_format:asc,size:desc", "sort_key=id", "sort=updated_at:asc,name:desc"),
    ],
)
def test_pages_hold_everything_once_in_the_lists_order(
    caller: Caller, execute: Execute, order: str
) -> None:
    api = caller()
    for number in range(9):
        fields: dict[str, Any] = {"disk_format": "raw"} if number % 2 else {}
        if number % 3:
            fields["name"] = "same"
        image = models.Image.id == api.create(**fields)
        execute(sa.update(models.Image).where(image).values(size=number // 4 or None))
    page = api.ask("GET", f"/v2/images?limit=100&{order}").get_json()
    expected = [image["id"] for image in page["images"]]
    found, link = [], f"/v2/images?limit=2&{order}"
    while link:
        page = api.ask("GET", link).get_json()
        found += [image["id"] for image in page["images"]]
        link = page.get("next")
    assert found == expected
    assert len(found) == 9


def test_links_keep_the_query(four: Api) -> None:
    page = four.ask("GET", "/v2/images?tag=t&limit=1&name=in:b,%22c,d%22&tag=u").get_json()
    assert page.keys() == {"images", "first", "next", "schema"}
    first, following = (urllib.parse.urlsplit(page[name]) for name in ("first", "next"))
    query = [("tag", "t"), ("limit", "1"), ("name", 'in:b,"c,d"'), ("tag", "u")]
    assert first.path == following.path == "/v2/images"
    marker = ("marker", page["images"][0]["id"])
    assert sorted(urllib.parse.parse_qsl(first.query)) == sorted(query)
    assert sorted(urllib.parse.parse_qsl(following.query)) == sorted([*query, marker])
    assert page["schema"] == "/v2/schemas/images"


def test_the_last_page_has_no_next_unless_it_is_full(four: Api) -> None:
    assert "next" not in four.ask("GET", "/v2/images?limit=4").get_json()
    full = four.ask("GET", "/v2/images?limit=3").get_json()
    beyond = four.ask("GET", full["next"]).get_json()
    assert beyond["images"] == []
    assert "next" not in beyond
    assert beyond["first"] == "/v2/images?limit=3"


def test_a_page_costs_as_many_statements_as_another(four: Api) -> None:
    def count(query: str) -> int:
        seen: list[str] = []

        def record(*event: Any) -> None:
            if not event[2].startswith("BEGIN"):
                seen.append(event[2])

        sa.event.listen(db.reader(), "before_cursor_execute", record)
        four.ask("GET", f"/v2/images?{query}")
        sa.event.remove(db.reader(), "before_cursor_execute", record)
        return len(seen)

    marker = four.ask("GET", "/v2/images?limit=1").get_json()["images"][0]["id"]
    assert count("limit=1") == count("limit=100") == 1
    assert count(f"limit=100&marker={marker}") == 2
    assert count(f"limit=100&marker={marker}&tag=t&protected=true") == 3


# Who sees what: (visibility, owner, shared with the asker as) of an image named by them.
IMAGES = [
    ("private", OWNER, None),
    ("private", STRANGER, None),
    ("community", OWNER, None),
    ("community", STRANGER, None),
    ("shared", OWNER, None),
    ("shared", STRANGER, None),
    ("shared", STRANGER, "pending"),
    ("shared", STRANGER, "accepted"),
    ("shared", STRANGER, "rejected"),
    ("private", STRANGER, "accepted"),
    ("public", STRANGER, None),
    ("private", None, None),
]


def label(image: tuple[str, str | None, str | None]) -> str:
    visibility, owner, member = image
    return (
        f"{visibility}-{ {OWNER: 'own', STRANGER: 'other', None: 'nobody'}[owner] }-{member or 'x'}"
    )


@pytest.fixture
def everybodys(caller: Caller, execute: Execute) -> dict[str, str]:
    """Ids by names."""
    api, ids = caller(roles="admin"), {}
    for image in IMAGES:
        visibility, owner, status = image
        fields = {"name": label(image), "visibility": visibility, "owner": owner}
        ids[label(image)] = api.create(**fields)
        if status:
            values = {"image_id": ids[label(image)], "member": OWNER, "status": status}
            execute(sa.insert(models.ImageMember).values(values))
    return ids


SEEN = {
    *("private-own-x", "community-own-x", "shared-own-x", "community-other-x", "public-other-x"),
    *("shared-other-pending", "shared-other-accepted", "shared-other-rejected"),
}
#: Found by its id, but in nobody's list.
UNLISTED = "private-nobody-x"
OWN = {"private-own-x", "community-own-x", "shared-own-x"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", OWN | {"public-other-x", "shared-other-accepted"}),
        ("visibility=public", {"public-other-x"}),
        ("visibility=private", {"private-own-x"}),
        ("visibility=community", {"community-own-x", "community-other-x"}),
        ("visibility=shared", {"shared-own-x", "shared-other-accepted"}),
        ("visibility=shared&member_status=pending", {"shared-own-x", "shared-other-pending"}),
        ("visibility=all", SEEN - {"shared-other-pending", "shared-other-rejected"}),
        ("visibility=all&member_status=all", SEEN),
        ("member_status=rejected", OWN | {"public-other-x", "shared-other-rejected"}),
    ],
)
def test_listed(caller: Caller, everybodys: dict[str, str], query: str, found: set[str]) -> None:
    assert set(names(caller(), query)) == found


def test_listed_for_an_administrator(caller: Caller, everybodys: dict[str, str]) -> None:
    admin = caller(roles="admin,member,reader")
    assert set(names(admin, "")) == everybodys.keys() - {"community-other-x"}
    assert set(names(admin, "visibility=all")) == everybodys.keys()


@pytest.mark.parametrize("image", IMAGES, ids=label)
def test_seen_by_id(
    caller: Caller, everybodys: dict[str, str], image: tuple[str, str | None, str | None]
) -> None:
    api, path = caller(), f"/v2/images/{everybodys[label(image)]}"
    seen, own = label(image) in {*SEEN, UNLISTED}, label(image) in OWN
    change = {"op": "add", "path": "/a", "value": "b"}
    assert api.ask("GET", path).status_code == (200 if seen else 404)
    changed = 200 if own else 403 if seen else 404
    assert api.patch(everybodys[label(image)], change).status_code == changed
    assert api.ask("DELETE", path).status_code == (204 if own else changed)


def test_a_marker_must_be_seen(caller: Caller, everybodys: dict[str, str]) -> None:
    api = caller()
    hidden = everybodys["private-other-x"]
    assert api.ask("GET", f"/v2/images?marker={hidden}").status_code == 403
    gone = everybodys["private-own-x"]
    api.ask("DELETE", f"/v2/images/{gone}")
    assert api.ask("GET", f"/v2/images?marker={gone}").status_code == 400
    assert caller(roles="admin").ask("GET", f"/v2/images?marker={gone}").status_code == 200


@pytest.mark.parametrize("status", ["deleted", "pending_delete", "killed"])
def test_what_is_gone_is_not_listed(api: Api, execute: Execute, status: str) -> None:
    image_id = api.create(name="x")
    execute(sa.update(models.Image).where(models.Image.id == image_id).values(status=status))
    assert names(api, "") == []
    found = 200 if status == "killed" else 404
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == found


@pytest.mark.parametrize("image_id", ["unknown", "x" * 37, "x" * 5000, "%00", "%F0%9F%98%80"])
def test_ids_of_no_image(api: Api, image_id: str) -> None:
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404


def test_without_a_role_nothing_is_shown(caller: Caller) -> None:
    image_id = caller().create()
    api = caller(roles="")
    assert api.ask("GET", "/v2/images").status_code == 403
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404


def test_text_that_no_record_holds(api: Api) -> None:
    for text in ("%00", "%F0%9F%98%80"):
        for query in (f"name={text}", f"tag={text}", f"{text}=x", f"marker={text}"):
            assert api.ask("GET", f"/v2/images?{query}").status_code == 400


OLD: dict[str, dict[str, Any]] = {
    "no dates but one": {"updated_at": None},
    "no hashes": {"os_hash_algo": None, "os_hash_value": None, "checksum": None},
    "nobody's": {"owner": None, "visibility": "public"},
    "no formats": {"disk_format": None, "container_format": None, "name": None},
    "killed": {"status": "killed"},
}


@pytest.mark.parametrize("kind", OLD)
def test_r17_records_of_glance_are_listed_and_shown(
    caller: Caller, execute: Execute, kind: str
) -> None:
    """As older releases left them: NULL where ours write something, and properties of the v1 era."""
    api = caller()
    image_id = api.create(name="old", disk_format="raw", container_format="bare")
    moment = datetime.datetime(2013, 5, 1, 12, 0, 0)  # noqa: DTZ001 - as the tables keep it
    values = {"status": "active", "size": 3, "created_at": moment, **OLD[kind]}
    execute(sa.update(models.Image).where(models.Image.id == image_id).values(values))
    rows: list[dict[str, Any]] = [
        {"name": "v1", "value": None, "deleted": False},
        {"name": "gone", "value": "x", "deleted": True},
    ]
    stamps: dict[str, Any] = {"image_id": image_id, "created_at": moment, "updated_at": None}
    execute(sa.insert(models.ImageProperty).values([stamps | row for row in rows]))
    text = "INSERT INTO image_locations (image_id, value, meta_data, created_at, deleted, status)"
    for number, metadata in enumerate(("NULL", "'{}'", "'null'")):
        place = f"'file:///x/{number}', {metadata}, '2013-05-01 12:00:00', 0, 'active'"
        execute(sa.text(f"{text} VALUES ('{image_id}', {place})"))
    shown = api.show(image_id)
    listed = api.ask("GET", "/v2/images?sort=updated_at:desc,size:asc,name:asc").get_json()[
        "images"
    ]
    assert listed == ([] if kind == "killed" else [shown])
    assert shown["created_at"] == "2013-05-01T12:00:00Z"
    assert (shown["v1"], "gone" in shown) == ("", False)
    assert {"os_hash_algo", "os_hash_value", "checksum", "updated_at"} <= shown.keys()
    for name, value in OLD[kind].items():
        assert shown[name] == (value if name != "updated_at" else "2013-05-01T12:00:00Z")


def test_old_records_with_several_stores(
    caller: Caller, execute: Execute, several_stores: str
) -> None:
    """Locations of a time when there was one store name none."""
    image_id = caller().create(name="old")
    text = "INSERT INTO image_locations (image_id, value, meta_data, created_at, deleted, status)"
    for metadata in ("NULL", "'{}'"):
        place = f"'file:///x', {metadata}, '2013-05-01 12:00:00', 0, 'active'"
        execute(sa.text(f"{text} VALUES ('{image_id}', {place})"))
    api = caller(options=f"show_image_direct_url = true\n{several_stores}")
    assert api.show(image_id) == api.ask("GET", "/v2/images").get_json()["images"][0]
