"""Quotas and unified limits, as far as requests decide them (contract sections 2.1.1, 2.3 to 2.5 and 3.7)."""

import io
import pathlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, models
from tests import limit_server
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

FORMATS = {"disk_format": "raw", "container_format": "bare"}
MIB = 1 << 20
ONE = b"x" * MIB
DIRECT = {"method": {"name": "glance-direct"}}
PLENTY = {
    "image_size_total": 100,
    "image_stage_total": 100,
    "image_count_total": 100,
    "image_count_uploading": 100,
}
Limited = Callable[..., Api]

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


@pytest.fixture
def server() -> Iterator[limit_server.LimitServer]:
    with limit_server.serving() as server:
        server.registered |= PLENTY
        yield server


@pytest.fixture
def limited(caller: Caller, server: limit_server.LimitServer) -> Limited:
    """A service whose projects have these limits, else plenty."""

    def start(**limits: int) -> Api:
        server.registered |= limits
        return caller(options=server.options())

    return start


def reserved() -> list[tuple[str, int, int]]:
    """What is reserved: image, bytes in stores, bytes in staging."""
    row = models.Reservation
    with db.reading() as session:
        found = session.execute(sa.select(row.image_id, row.store_bytes, row.stage_bytes))
        return [(one.image_id, one.store_bytes, one.stage_bytes) for one in found]


def send(api: Api, data: bytes, what: str = "file", *, chunked: bool = False) -> tuple[str, Any]:
    """A new image that is sent data; its id and the answer."""
    image_id = api.create(**FORMATS)
    if not chunked:
        return image_id, api.put(image_id, data, what)
    answer = api.ask(
        "PUT",
        f"/v2/images/{image_id}/{what}",
        input_stream=io.BytesIO(data),
        content_type="application/octet-stream",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    return image_id, answer


def assert_nothing_came(api: Api, image_id: str, room: pathlib.Path) -> None:
    image = api.show(image_id)
    assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
    assert not list(room.glob(f"*/{image_id}*"))
    assert image_id not in {row[0] for row in reserved()}


# user_storage_quota


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        *(("5", 5), ("5B", 5), ("2KB", 2048), ("1MB", MIB), (" 3KB ", 3072)),
        *(("1GB", 1 << 30), ("1TB", 1 << 40)),
    ],
)
def test_how_a_quota_is_written(caller: Caller, text: str, quota: int) -> None:
    api = caller(options=f"user_storage_quota = {text}")
    image_id = api.create(**FORMATS)
    hint = {"X-OpenStack-Image-Size": str(quota + 1), "Content-Type": "application/octet-stream"}
    answer = api.ask("PUT", f"/v2/images/{image_id}/file", data=b"x", headers=hint)
    assert answer.status_code == 413, answer.text
    assert f"{quota} bytes remaining" in answer.text
    if quota <= MIB:
        assert api.put(image_id, b"x" * quota).status_code == 204


@pytest.mark.parametrize("text", ["0", "0B", "0TB"])
def test_no_quota(caller: Caller, text: str) -> None:
    api = caller(options=f"user_storage_quota = {text}")
    assert send(api, ONE)[1].status_code == 204


@pytest.mark.parametrize(
    "text", ["-1", "1 MB", "1mb", "1.5GB", "MB", "1PB", "1M", "ten", "", "1MBB", "\u0661"]
)
def test_a_quota_that_is_none_stops_the_start(caller: Caller, text: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        caller(options=f"user_storage_quota = {text}")
    assert re.fullmatch("gantry: [^\n]*user_storage_quota = [^\n]*", str(stopped.value))


@pytest.mark.parametrize("chunked", [False, True])
def test_the_quota_is_the_owners(caller: Caller, tmp_path: pathlib.Path, chunked: bool) -> None:
    options = "user_storage_quota = 2MB"
    api = caller(options=options)
    first, answer = send(api, ONE, chunked=chunked)
    assert answer.status_code == 204
    assert send(api, ONE, chunked=chunked)[1].status_code == 204
    third, answer = send(api, b"x", chunked=chunked)
    assert answer.status_code == 413
    assert "user_storage_quota" in answer.text
    assert_nothing_came(api, third, tmp_path)
    stranger = caller(project=STRANGER, options=options)
    assert send(stranger, ONE)[1].status_code == 204
    api = caller(options=options)
    assert api.ask("DELETE", f"/v2/images/{first}").status_code == 204
    assert api.put(third, ONE).status_code == 204
    assert not reserved()


def test_each_location_counts(
    caller: Caller, several_stores: str, execute: Callable[[Any], None]
) -> None:
    api = caller(options=f"user_storage_quota = 3MB\n{several_stores}")
    first, _ = send(api, ONE)
    location = {"value": "file:///elsewhere", "meta_data": {"store": "cheap"}}
    execute(sa.insert(models.ImageLocation).values(image_id=first, **location))
    assert send(api, ONE)[1].status_code == 204
    assert send(api, b"x")[1].status_code == 413


def test_staging_is_not_stored(caller: Caller) -> None:
    api = caller(options="user_storage_quota = 1MB")
    assert send(api, ONE * 2, "stage")[1].status_code == 204
    assert send(api, ONE)[1].status_code == 204


def test_keystones_limits_replace_the_quota(
    caller: Caller, server: limit_server.LimitServer
) -> None:
    api = caller(options="user_storage_quota = 1B\n" + server.options())
    assert send(api, ONE)[1].status_code == 204


# Unified limits


def test_images(limited: Limited) -> None:
    """Deleted ones do not count; what is refused has left nothing behind."""
    api = limited(image_count_total=2)
    first = api.create()
    api.create()
    answer = api.ask("POST", "/v2/images", {"name": "third"})
    assert answer.status_code == 413
    assert (
        f"Project {OWNER} is over a limit for [Resource image_count_total is over limit of 2 due to "
        "current usage 2 and delta 1]" in answer.text
    )
    assert len(api.ask("GET", "/v2/images").get_json()["images"]) == 2
    assert api.ask("DELETE", f"/v2/images/{first}").status_code == 204
    api.create()


def test_a_limit_that_changes_holds_at_once(
    limited: Limited, server: limit_server.LimitServer
) -> None:
    api = limited(image_count_total=0)
    assert api.ask("POST", "/v2/images", {}).status_code == 413
    server.registered["image_count_total"] = 1
    api.create()
    assert api.ask("POST", "/v2/images", {}).status_code == 413
    server.projects[OWNER] = {"image_count_total": 2}
    api.create()
    server.projects[OWNER] = {"image_count_total": -1}
    api.create()


def test_the_owners_limit_counts_not_the_askers(
    caller: Caller, server: limit_server.LimitServer
) -> None:
    server.projects[OWNER] = {"image_count_total": 1, "image_size_total": 1}
    admin = caller(project=STRANGER, roles="admin", options=server.options())
    image_id = admin.create(owner=OWNER, **FORMATS)
    assert admin.ask("POST", "/v2/images", {"owner": OWNER}).status_code == 413
    assert admin.put(image_id, ONE + b"x").status_code == 413
    assert admin.ask("POST", "/v2/images", {"owner": None}).status_code == 201
    assert admin.put(image_id, ONE).status_code == 204


@pytest.mark.parametrize("name", sorted(PLENTY))
def test_what_is_not_registered_is_zero(
    limited: Limited, server: limit_server.LimitServer, name: str
) -> None:
    api = limited()
    image_id = api.create(**FORMATS)
    del server.registered[name]
    answers = {
        "image_count_total": api.ask("POST", "/v2/images", {}).status_code,
        "image_size_total": api.put(image_id, ONE).status_code,
        "image_stage_total": api.put(api_image(server, api, name), ONE, "stage").status_code,
    }
    answers["image_count_uploading"] = answers["image_stage_total"]
    assert answers[name] == 413


def api_image(server: limit_server.LimitServer, api: Api, name: str) -> str:
    """A new image, even where there may be none."""
    missing = server.registered
    server.registered = PLENTY
    image_id = api.create(**FORMATS)
    server.registered = missing
    return image_id


@pytest.mark.parametrize(
    ("what", "name"), [("file", "image_size_total"), ("stage", "image_stage_total")]
)
def test_bytes(limited: Limited, tmp_path: pathlib.Path, what: str, name: str) -> None:
    """A size that is said must fit; to the byte."""
    api = limited(**{name: 3})
    assert send(api, ONE, what)[1].status_code == 204
    second, answer = send(api, ONE * 2 + b"x", what)
    assert answer.status_code == 413
    usage = f"Resource {name} is over limit of 3 due to current usage 1 and delta 3"
    assert usage in answer.text
    assert_nothing_came(api, second, tmp_path)
    assert api.put(second, ONE * 2, what).status_code == 204
    assert send(api, b"x", what)[1].status_code == 413
    assert not reserved()


@pytest.mark.parametrize(
    ("what", "name"), [("file", "image_size_total"), ("stage", "image_stage_total")]
)
def test_bytes_whose_length_is_not_said(
    limited: Limited, tmp_path: pathlib.Path, what: str, name: str
) -> None:
    """They may pass the limit by one MiB, once: Glance lets them, and Tempest's scenario wants it."""
    api = limited(**{name: 1})
    too_long, answer = send(api, ONE * 2 + b"x", what, chunked=True)
    assert answer.status_code == 413
    assert name in answer.text
    assert_nothing_came(api, too_long, tmp_path)
    assert send(api, ONE, what, chunked=True)[1].status_code == 204
    assert send(api, ONE, what, chunked=True)[1].status_code == 204
    assert send(api, b"", what, chunked=True)[1].status_code == 413


def test_a_hint_that_is_too_small_is_no_way_in(limited: Limited, tmp_path: pathlib.Path) -> None:
    api = limited(image_size_total=1)
    image_id = api.create(**FORMATS)
    answer = api.put(image_id, ONE * 4, X_OpenStack_Image_Size="5")
    assert answer.status_code in (400, 413)
    assert_nothing_came(api, image_id, tmp_path)


@pytest.mark.parametrize("what", ["file", "stage"])
def test_images_under_way(limited: Limited, what: str) -> None:
    api = limited(image_count_uploading=1)
    staged, answer = send(api, ONE, "stage")
    assert answer.status_code == 204
    other, answer = send(api, ONE, what)
    assert answer.status_code == 413
    assert "image_count_uploading is over limit of 1 due to current usage 1 and delta 1" in (
        answer.text
    )
    assert api.ask("POST", f"/v2/images/{staged}/import", DIRECT).status_code == 202
    assert api.put(other, ONE, what).status_code == 413
    assert api.ask("DELETE", f"/v2/images/{staged}").status_code == 204
    assert api.put(other, ONE, what).status_code == 204


def test_an_import_where_too_much_is_stored_already(
    limited: Limited, server: limit_server.LimitServer
) -> None:
    api = limited()
    send(api, ONE * 2)
    staged, _ = send(api, ONE, "stage")
    server.registered["image_size_total"] = 1
    answer = api.ask("POST", f"/v2/images/{staged}/import", DIRECT)
    assert answer.status_code == 413
    assert "image_size_total is over limit of 1 due to current usage 2 and delta 0" in answer.text
    assert api.show(staged)["status"] == "uploading"
    server.registered["image_size_total"] = 2
    answer = api.ask("POST", f"/v2/images/{staged}/import", DIRECT)
    assert answer.status_code == 202, "that this one does not fit the worker finds out"
    assert reserved() == [(staged, 0, 0)]


def test_what_an_import_reserves_counts(limited: Limited) -> None:
    api = limited(image_size_total=3)
    staged, _ = send(api, ONE * 2, "stage")
    assert api.ask("POST", f"/v2/images/{staged}/import", DIRECT).status_code == 202
    assert reserved() == [(staged, 2 * MIB, 0)]
    assert send(api, ONE + b"x")[1].status_code == 413
    assert send(api, ONE)[1].status_code == 204
    assert api.ask("DELETE", f"/v2/images/{staged}").status_code == 204
    assert reserved() == []
    assert send(api, ONE * 2)[1].status_code == 204


@pytest.mark.parametrize("away", [False, True])
def test_without_keystone_nothing_is_decided(
    limited: Limited, server: limit_server.LimitServer, away: bool
) -> None:
    api = limited()
    image_id = api.create(**FORMATS)
    server.broken = not away
    if away:
        server.url = "http://127.0.0.1:1"
        api = limited()
    staged = f"/v2/images/{image_id}"
    answers = [
        api.ask("POST", "/v2/images", {}),
        api.put(image_id, ONE),
        api.put(image_id, ONE, "stage"),
        api.ask("POST", f"{staged}/import", DIRECT),
        api.ask("GET", "/v2/info/usage"),
    ]
    assert [answer.status_code for answer in answers] == [503] * 5
    assert "127.0.0.1" not in "".join(answer.text for answer in answers)
    assert api.show(image_id)["status"] == "queued"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("auth_type = password", "auth_type"),
        ("auth_type = password", "auth_url"),
        ("auth_type = password", "nonsense"),
        ("endpoint_id = images", "endpoint_id"),
    ],
)
def test_limits_that_cannot_be_asked_for_stop_the_start(
    caller: Caller, server: limit_server.LimitServer, line: str, complaint: str
) -> None:
    options = server.options()
    if complaint == "auth_url":
        options = options.replace(f"auth_url = {server.url}/v3\n", "")
    elif complaint == "nonsense":
        options = options.replace(line, "auth_type = nonsense")
    else:
        options = options.replace(f"{line}\n", "")
    with pytest.raises(SystemExit) as stopped:
        caller(options=options)
    text = str(stopped.value)
    assert re.fullmatch("gantry: [^\n]*oslo_limit[^\n]*", text)
    assert complaint.replace("_", "-") in text.replace("_", "-")


def test_an_unseen_image_is_not_found_and_costs_no_question(
    caller: Caller, server: limit_server.LimitServer
) -> None:
    image_id = caller(options=server.options()).create(**FORMATS)
    stranger = caller(options=server.options(), project=STRANGER)
    server.asked.clear()
    assert stranger.put(image_id, ONE).status_code == 404
    assert stranger.ask("POST", f"/v2/images/{image_id}/import", DIRECT).status_code == 404
    assert server.asked == []


def test_a_question_costs_keystone_two_requests(
    limited: Limited, server: limit_server.LimitServer
) -> None:
    api = limited()
    api.create()
    server.asked.clear()
    api.create()
    assert server.asked == ["/v3/registered_limits", "/v3/limits"]
