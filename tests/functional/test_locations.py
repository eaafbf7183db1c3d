"""Locations by PATCH, and where they are shown (contract sections 2.1.2 and 2.11; Rocky's items 1 to 3)."""

import hashlib
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import models, policy
from tests import web
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

Execute = Callable[[Any], None]
DATA = bytes(range(256)) * 40
FORMATS = {"disk_format": "raw", "container_format": "bare"}
ALLOW = web.LOOPBACK + "allowed_hosts = [127.0.0.1]\n"
SHOWN = f"show_multiple_locations = true\nshow_image_direct_url = true\n{ALLOW}"
SHA512 = hashlib.sha512(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()  # noqa: S324 - Glance's checksum
KNOWN = {"os_hash_algo": "sha512", "os_hash_value": SHA512}
TYPES = ("2.0", "2.1")


def operation(op: str, path: str, *value: Any, version: str = "2.1") -> dict[str, Any]:
    """One operation in either of the two formats."""
    named = {"value": value[0]} if value else {}
    return {"op": op, "path": path} | named if version == "2.1" else {op: path} | named


def add(url: str, position: str = "-", **members: Any) -> dict[str, Any]:
    return operation("add", f"/locations/{position}", {"url": url, "metadata": {}} | members)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A web server with some data."""
    answers = {
        "/data": web.whole(DATA),
        "/same": web.whole(DATA),
        "/empty": web.whole(b""),
        "/evil": web.redirect("http://169.254.169.254/latest"),
        "/file": web.redirect("file:///etc/passwd"),
        "/moved": web.redirect("/data"),
    }
    with web.serving(answers) as url:
        yield url


@pytest.fixture
def api(caller: Caller) -> Api:
    """A member, where locations are shown and may be changed."""
    return caller(options=SHOWN)


def placed(api: Api, *urls: str) -> str:
    """An active image with these locations."""
    image_id = api.create(**FORMATS)
    answer = api.patch(image_id, *(add(url) for url in urls))
    assert answer.status_code == 200, answer.text
    return image_id


@pytest.mark.parametrize("store", [["fast"], {"a": "b"}, "fast", ""])
def test_what_an_owner_calls_a_store_is_his_own_where_there_is_one(
    api: Api, server: str, store: Any
) -> None:
    """Nothing of the service stumbles over it: the image is shown, read and deleted."""
    image_id = api.create(**FORMATS)
    place = {"url": f"{server}/data", "metadata": {"store": store}}
    assert api.patch(image_id, operation("add", "/locations/-", place)).status_code == 200
    assert api.patch(image_id, operation("replace", "/locations", [place])).status_code == 200
    [listed] = api.ask("GET", "/v2/images").get_json()["images"]
    assert listed["locations"][0]["metadata"] == place["metadata"]
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404


@pytest.mark.parametrize("version", TYPES)
def test_the_first_location_makes_an_image_active(api: Api, server: str, version: str) -> None:
    image_id = api.create(**FORMATS)
    location = {"url": f"{server}/data", "metadata": {"speed": "88 mph"}}
    answer = api.patch(
        image_id, operation("add", "/locations/-", location, version=version), version=version
    )
    assert answer.status_code == 200, answer.text
    image = api.show(image_id)
    assert answer.get_json() == image
    assert (image["status"], image["size"], image["checksum"]) == ("active", len(DATA), None)
    assert (image["locations"], image["direct_url"]) == ([location], f"{server}/data")
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    part = api.ask("GET", f"/v2/images/{image_id}/file", headers={"Range": "bytes=300-309"})
    assert (part.status_code, part.data) == (206, DATA[300:310])


def test_locations_are_replaced_only_by_themselves(api: Api, server: str) -> None:
    image_id = api.create(**FORMATS)
    two = [{"url": f"{server}/{name}", "metadata": {"n": name}} for name in ("data", "same")]
    answer = api.patch(image_id, operation("replace", "/locations", two))
    assert (answer.status_code, answer.get_json()["locations"]) == (200, two), answer.text
    described = [two[0] | {"metadata": {"n": "other"}}, two[1]]
    answer = api.patch(image_id, operation("replace", "/locations", described[::-1]))
    assert (answer.status_code, answer.get_json()["locations"]) == (200, described), answer.text
    for other in (two[:1], [two[0], two[1] | {"url": f"{server}/moved"}]):
        assert api.patch(image_id, operation("replace", "/locations", other)).status_code == 400
    assert api.patch(image_id, operation("replace", "/locations", [])).status_code == 403
    assert api.show(image_id)["locations"] == described


def test_a_location_is_removed_and_its_data_with_it(
    caller: Caller, server: str, tmp_path: pathlib.Path
) -> None:
    admin = caller(roles="admin", options=SHOWN)
    image_id = admin.create(**FORMATS)
    assert admin.put(image_id, DATA).status_code == 204
    assert admin.patch(image_id, add(f"{server}/data")).status_code == 200
    assert admin.patch(image_id, operation("remove", "/locations/2")).status_code == 400
    assert admin.patch(image_id, operation("remove", "/locations/x")).status_code == 400
    assert (tmp_path / "images" / image_id).exists()
    answer = admin.patch(image_id, operation("remove", "/locations/0"))
    assert [one["url"] for one in answer.get_json()["locations"]] == [f"{server}/data"]
    assert not (tmp_path / "images" / image_id).exists()
    assert admin.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert admin.patch(image_id, operation("remove", "/locations/0")).status_code == 403
    assert admin.patch(image_id, operation("remove", "/locations/-")).status_code == 403
    assert len(admin.show(image_id)["locations"]) == 1


def test_members_remove_no_location(api: Api, server: str) -> None:
    image_id = placed(api, f"{server}/data", f"{server}/same")
    assert api.patch(image_id, operation("remove", "/locations/0")).status_code == 403
    assert len(api.show(image_id)["locations"]) == 2


@pytest.mark.parametrize(
    ("status", "change", "code"),
    [
        ("queued", "add", 200),
        ("active", "add", 200),
        *((status, "add", 409) for status in ("saving", "importing", "uploading", "deactivated")),
        ("importing", "replace", 409),
        ("queued", "remove", 409),
        ("deactivated", "remove", 409),
    ],
)
def test_statuses(
    caller: Caller, server: str, execute: Execute, status: str, change: str, code: int
) -> None:
    admin = caller(roles="admin", options=SHOWN)
    image_id = admin.create(**FORMATS)
    execute(sa.update(models.Image).values(status=status))
    changes = {
        "add": add(f"{server}/data"),
        "replace": operation("replace", "/locations", [{"url": f"{server}/data", "metadata": {}}]),
        "remove": operation("remove", "/locations/0"),
    }
    assert admin.patch(image_id, changes[change]).status_code == code


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", 400),
        ("filesystem:///etc/passwd", 400),
        ("swift+config://ref/container/object", 400),
        ("FILE:///etc/passwd", 400),
        ("gopher://example.org/x", 400),
        ("ftp://example.org/x", 400),
        ("example.org", 400),
        ("", 400),
        ("http://", 400),
        ("http://[", 400),
        ("http://127.0.0.1:1/nobody", 400),
        ("{server}/absent", 400),
        ("{server}/empty", 400),
        ("{server}/evil", 400),
        ("{server}/file", 400),
        ("http://169.254.169.254/latest/meta-data", 400),
        ("http://2130706433/", 400),
        ("http://0x7f000001/", 400),
        ("{server}/data" + "x" * 255, 400),
        ("{server}/moved", 200),
        ("{server}/data#new", 200),
    ],
)
def test_urls(api: Api, server: str, url: str, code: int) -> None:
    location = {"url": url.format(server=server), "metadata": {}}
    for change in (
        operation("add", "/locations/-", location),
        operation("replace", "/locations", [location]),
    ):
        image_id = api.create(**FORMATS)
        answer = api.patch(image_id, operation("add", "/name", "new"), change)
        assert answer.status_code == code, answer.text
        image = api.show(image_id)
        if code == 200:
            assert (image["status"], image["name"]) == ("active", "new")
        else:
            assert (image["status"], image["locations"], image["name"]) == ("queued", [], None)


@pytest.mark.parametrize(
    "value",
    [
        None,
        "http://example.org",
        [],
        {},
        {"url": "http://example.org"},
        {"url": 5, "metadata": {}},
        {"url": "http://example.org", "metadata": None},
        {"url": "http://example.org", "metadata": []},
        {"url": "{server}/data", "metadata": {"n": 5}},
        {"url": "{server}/data", "metadata": {"n": {"m": None}}},
        {"url": "{server}/data", "metadata": {}, "validation_data": {}},
        {"url": "{server}/data", "metadata": {}, "validation_data": KNOWN | {"x": "y"}},
        {"url": "{server}/data", "metadata": {}, "validation_data": KNOWN | {"checksum": "1"}},
    ],
)
def test_values_that_are_no_location(api: Api, server: str, value: Any) -> None:
    if isinstance(value, dict) and isinstance(value.get("url"), str):
        value = value | {"url": value["url"].format(server=server)}
    image_id = api.create(**FORMATS)
    assert api.patch(image_id, operation("add", "/locations/-", value)).status_code == 400
    assert api.patch(image_id, operation("replace", "/locations", [value])).status_code == 400
    assert api.show(image_id)["status"] == "queued"


@pytest.mark.parametrize("position", ["x", "-1", "1x", "٣", "0x1", "1" * 30])
def test_positions_that_are_none(api: Api, server: str, position: str) -> None:
    image_id = placed(api, f"{server}/data")
    assert api.patch(image_id, add(f"{server}/same", position)).status_code == 400
    assert api.patch(image_id, add(f"{server}/same", "0")).status_code == 200


def test_the_same_twice(api: Api, server: str) -> None:
    image_id = placed(api, f"{server}/data")
    assert api.patch(image_id, add(f"{server}/data")).status_code == 400
    twice = [add(f"{server}/same"), add(f"{server}/same")]
    assert api.patch(image_id, *twice).status_code == 400
    assert len(api.show(image_id)["locations"]) == 1
    assert api.patch(image_id, add(f"{server}/data", metadata={"n": "2"})).status_code == 200


def test_formats_come_first(api: Api, server: str) -> None:
    image_id = api.create()
    assert api.patch(image_id, add(f"{server}/data")).status_code == 400
    formats = [operation("replace", f"/{name}", value) for name, value in FORMATS.items()]
    assert api.patch(image_id, *formats, add(f"{server}/data")).status_code == 200


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (KNOWN, 200),
        (KNOWN | {"checksum": MD5}, 200),
        (KNOWN | {"os_hash_algo": "sha256"}, 409),
        (KNOWN | {"os_hash_value": "ab"}, 409),
        (KNOWN | {"os_hash_value": "x" * 128}, 409),
        (KNOWN | {"checksum": "x" * 32}, 409),
    ],
)
def test_validation_data_of_a_queued_image(
    api: Api, server: str, said: dict[str, str], code: int
) -> None:
    image_id = api.create(**FORMATS)
    answer = api.patch(image_id, add(f"{server}/data", validation_data=said))
    assert answer.status_code == code, answer.text
    image = api.show(image_id)
    wanted = said if code == 200 else {}
    for name in ("checksum", "os_hash_algo", "os_hash_value"):
        assert image[name] == wanted.get(name)
    assert "validation_data" not in str(image)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (KNOWN, 200),
        (KNOWN | {"checksum": MD5}, 200),
        (KNOWN | {"os_hash_algo": "sha256"}, 409),
        (KNOWN | {"os_hash_value": "beefdead" * 16}, 409),
        (KNOWN | {"checksum": "2" * 32}, 409),
    ],
)
def test_validation_data_of_an_active_image(
    api: Api, server: str, said: dict[str, str], code: int
) -> None:
    image_id = api.create(**FORMATS)
    first = add(f"{server}/data", validation_data=KNOWN | {"checksum": MD5})
    assert api.patch(image_id, first).status_code == 200
    answer = api.patch(image_id, add(f"{server}/same", validation_data=said))
    assert answer.status_code == code, answer.text
    assert len(api.show(image_id)["locations"]) == (2 if code == 200 else 1)


def test_new_hashes_are_for_queued_images(api: Api, server: str) -> None:
    image_id = placed(api, f"{server}/data")
    answer = api.patch(image_id, add(f"{server}/same", validation_data=KNOWN))
    assert answer.status_code == 409


def test_too_many(caller: Caller, server: str) -> None:
    api = caller(options=f"image_location_quota = 2\n{SHOWN}")
    image_id = placed(api, f"{server}/data", f"{server}/same")
    assert api.patch(image_id, add(f"{server}/moved")).status_code == 413
    three = [{"url": f"{server}/data#{n}", "metadata": {}} for n in range(3)]
    fresh = api.create(**FORMATS)
    assert api.patch(fresh, operation("replace", "/locations", three)).status_code == 413
    endless = caller(options=f"image_location_quota = -1\n{SHOWN}")
    assert endless.patch(image_id, add(f"{server}/moved")).status_code == 200


def test_too_large(caller: Caller, server: str) -> None:
    api = caller(options=f"user_storage_quota = {len(DATA) * 2 - 1}\n{SHOWN}")
    image_id = placed(api, f"{server}/data")
    assert api.patch(image_id, add(f"{server}/same")).status_code == 413
    assert api.patch(api.create(**FORMATS), add(f"{server}/same")).status_code == 413
    assert len(api.show(image_id)["locations"]) == 1


def test_another_ones_image(caller: Caller, server: str) -> None:
    admin = caller(project=STRANGER, roles="admin", options=SHOWN)
    public, private = (placed(admin, f"{server}/data") for _ in range(2))
    assert admin.patch(public, operation("replace", "/visibility", "public")).status_code == 200
    api = caller(options=SHOWN)
    assert api.patch(public, add(f"{server}/same")).status_code == 403
    assert api.patch(private, add(f"{server}/same")).status_code == 404
    assert not {"locations", "direct_url"} & api.show(public).keys()
    assert api.ask("GET", f"/v2/images/{public}/file").data == DATA


def test_r01_locations_are_off_by_default(caller: Caller, server: str) -> None:
    api = caller(options=ALLOW)
    image_id = api.create(**FORMATS)
    assert not {"locations", "direct_url"} & api.show(image_id).keys()
    assert api.patch(image_id, add(f"{server}/data")).status_code == 403
    assert api.patch(image_id, operation("replace", "/locations", [])).status_code == 403
    assert api.patch(image_id, operation("remove", "/locations/0")).status_code == 403
    shown = caller(options=SHOWN)
    assert shown.show(image_id)["locations"] == []
    assert shown.patch(image_id, add(f"{server}/data")).get_json()["status"] == "active"


def test_r02_one_node_shows_locations_and_another_does_not(caller: Caller, server: str) -> None:
    image_id = placed(caller(options=SHOWN), f"{server}/data")
    public = caller(options=ALLOW)
    assert not {"locations", "direct_url"} & public.show(image_id).keys()
    assert public.ask("GET", f"/v2/images/{image_id}/file").data == DATA


@pytest.fixture
def ruled(caller: Caller, tmp_path: pathlib.Path) -> Callable[..., Api]:
    """A caller where one rule is for administrators only."""

    def start(rule: str, **who: str) -> Api:
        (tmp_path / "policy.yaml").write_text(f'"{rule}": "role:admin"\n')
        return caller(options=f"{SHOWN}[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml", **who)

    return start


def test_r03_policies_alone_hide_locations(ruled: Callable[..., Api], server: str) -> None:
    api = ruled("get_image_location")
    image_id = placed(api, f"{server}/data")
    listed = api.ask("GET", "/v2/images").get_json()["images"]
    for image in (api.show(image_id), *listed):
        assert not {"locations", "direct_url"} & image.keys()
    admin = ruled("get_image_location", roles="admin")
    assert {"locations", "direct_url"} <= admin.show(image_id).keys()
    assert {"locations", "direct_url"} <= admin.ask("GET", "/v2/images").get_json()["images"][
        0
    ].keys()


@pytest.mark.parametrize("op", ["add", "replace", "remove"])
def test_r03_policies_alone_protect_locations(
    ruled: Callable[..., Api], server: str, op: str
) -> None:
    rule = "delete_image_location" if op == "remove" else "set_image_location"
    image_id = placed(ruled(rule, roles="admin"), f"{server}/data", f"{server}/same")
    change = {
        "add": add(f"{server}/moved"),
        "replace": operation("replace", "/locations", [{"url": "http://x", "metadata": {}}]),
        "remove": operation("remove", "/locations/0"),
    }[op]
    assert ruled(rule).patch(image_id, change).status_code == 403


def test_a_list_asks_the_policy_once_for_an_owner(api: Api, server: str) -> None:
    """The decision costs half a millisecond, and a page has a thousand images."""
    for _ in range(3):
        placed(api, f"{server}/data")
    asked = []

    def watch(frame: types.FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code is policy.allowed.__code__:
            asked.append(frame.f_locals["rule"])

    sys.setprofile(watch)
    try:
        found = api.ask("GET", "/v2/images").get_json()["images"]
    finally:
        sys.setprofile(None)
    assert [(image["owner"], len(image["locations"])) for image in found] == [(OWNER, 1)] * 3
    assert asked.count("get_image_location") == 1
