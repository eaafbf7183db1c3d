"""POST and GET /v2/images/{id}/locations, and what a worker makes of it (contract section 2.11, new way)."""

import contextlib
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, errors, imports, leases, location_tasks, models, turns
from tests import web
from tests.functional.conftest import OWNER, STRANGER, Api, Caller
from workers import jobs

Execute = Callable[[Any], None]
DATA = bytes(range(256)) * 4096
FORMATS = {"disk_format": "raw", "container_format": "bare"}
ALLOW = web.LOOPBACK + "allowed_hosts = [127.0.0.1]\n"
SHA512, SHA256 = hashlib.sha512(DATA).hexdigest(), hashlib.sha256(DATA).hexdigest()
MD5 = hashlib.md5(DATA).hexdigest()  # noqa: S324 - Glance's checksum
NONE = {"checksum": None, "os_hash_algo": None, "os_hash_value": None}
WHOLE = {"checksum": MD5, "os_hash_algo": "sha512", "os_hash_value": SHA512}


def said(value: str, algorithm: str = "sha512") -> dict[str, str]:
    return {"os_hash_algo": algorithm, "os_hash_value": value}


class Unsteady:
    """Gives the data from the n-th GET on; before it breaks off."""

    def __init__(self, good: int) -> None:
        self.good, self.gets = good, 0

    def __call__(self, handler: Any) -> None:
        self.gets += 1
        whole = self.gets >= self.good
        web.cut(DATA if whole else DATA[:1000], len(DATA))(handler)


@pytest.fixture
def server() -> Iterator[str]:
    answers: dict[str, web.Answer] = {
        "/data": web.whole(DATA),
        "/cut": web.cut(DATA[:1000], len(DATA)),
        "/unsteady": Unsteady(3),
        "/evil": web.redirect("http://169.254.169.254/latest"),
    }
    with web.serving(answers) as url:
        yield url


@pytest.fixture
def api(caller: Caller) -> Api:
    return caller(options=ALLOW)


def post(api: Api, image_id: str, body: Any) -> Any:
    return api.ask("POST", f"/v2/images/{image_id}/locations", body)


def added(api: Api, url: str, validation: dict[str, str] | None = None) -> tuple[str, str]:
    """An image with a task; their ids."""
    image_id = api.create(**FORMATS)
    body = {"url": url} | ({"validation_data": validation} if validation else {})
    answer = post(api, image_id, body)
    assert (answer.status_code, answer.data) == (202, b""), answer.text
    task_id: str = api.show(image_id)["os_glance_import_task"]
    return image_id, task_id


def task_of(api: Api, image_id: str) -> dict[str, Any]:
    tasks: list[dict[str, Any]] = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]
    assert len(tasks) == 1
    return tasks[0]


def run(task_id: str) -> None:
    """What a worker does."""
    with contextlib.suppress(errors.ImportFailed):  # the record says so
        jobs.run_import(task_id)


def columns(image: dict[str, Any]) -> dict[str, Any]:
    return {name: image[name] for name in NONE}


def test_a_task_is_written_down(api: Api, server: str) -> None:
    image_id, task_id = added(api, f"{server}/data", said(SHA512))
    task = task_of(api, image_id)
    assert (task["id"], task["type"], task["status"]) == (task_id, "location_import", "pending")
    assert (task["owner"], task["result"], task["message"]) == (OWNER, None, "")
    assert task["input"] == {
        "image_id": image_id,
        "loc_url": f"{server}/data",
        "validation_data": said(SHA512),
    }
    image = api.show(image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert post(api, image_id, {"url": f"{server}/data"}).status_code == 409


@pytest.mark.parametrize(
    ("options", "validation", "found"),
    [
        ("", {}, WHOLE),
        ("hashing_algorithm = sha256\n", {}, WHOLE | said(SHA256, "sha256")),
        ("", said(SHA512), WHOLE),
        ("", said(SHA512.upper()), WHOLE),
        ("", said(SHA256, "sha256"), WHOLE | said(SHA256, "sha256")),
        ("", said(MD5, "md5"), WHOLE | said(MD5, "md5")),
        ("do_secure_hash = false\n", {}, NONE),
        ("do_secure_hash = false\n", said("ab" * 64), NONE | said("ab" * 64)),
    ],
)
def test_an_accepted_location(
    caller: Caller, server: str, options: str, validation: dict[str, str], found: dict[str, Any]
) -> None:
    api = caller(options=f"{options}show_multiple_locations = true\n{ALLOW}")
    image_id, task_id = added(api, f"{server}/data", validation)
    run(task_id)
    image, task = api.show(image_id), task_of(api, image_id)
    assert (task["status"], task["result"]) == ("success", {"image_id": image_id}), task["message"]
    assert (image["status"], image["size"], columns(image)) == ("active", len(DATA), found)
    assert image["locations"] == [{"url": f"{server}/data", "metadata": {}}]
    assert "os_glance_import_task" not in image
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert post(api, image_id, {"url": f"{server}/data"}).status_code == 409
    assert jobs.run_import(task_id) == "nothing to do"


@pytest.mark.parametrize(
    ("path", "validation", "cause"),
    [
        ("/data", said("beefdead" * 16), "os_hash_value"),
        ("/cut", said(SHA512), "cannot be read"),
        ("/absent", {}, "Invalid location"),
        ("/absent", said(SHA512), "Invalid location"),
        ("/evil", {}, "not allowed"),
    ],
)
def test_a_refused_location(
    caller: Caller, server: str, path: str, validation: dict[str, str], cause: str
) -> None:
    """The image is as it was before, the bad location is gone, and the next try works."""
    api = caller(options=f"show_multiple_locations = true\n{ALLOW}")
    image_id, task_id = added(api, server + path, validation)
    run(task_id)
    image, task = api.show(image_id), task_of(api, image_id)
    assert (task["status"], cause in task["message"]) == ("failure", True), task["message"]
    assert (image["status"], image["size"], columns(image)) == ("queued", None, NONE)
    assert (image["locations"], "os_glance_import_task" in image) == ([], False)
    assert api.ask("GET", f"/v2/images/{image_id}/file").status_code == 204
    assert post(api, image_id, {"url": f"{server}/data"}).status_code == 202
    run(api.show(image_id)["os_glance_import_task"])
    assert columns(api.show(image_id)) == WHOLE


def test_an_active_image_stays_active_without_a_hash(api: Api, server: str) -> None:
    """As in Glance: the location itself is good as far as anybody has said."""
    image_id, task_id = added(api, f"{server}/cut")
    run(task_id)
    image, task = api.show(image_id), task_of(api, image_id)
    assert (image["status"], image["size"], columns(image)) == ("active", len(DATA), NONE)
    assert (task["status"], "no hash" in task["message"]) == ("success", True), task["message"]


@pytest.mark.parametrize(("retries", "found"), [(3, WHOLE), (1, NONE)])
def test_reading_is_tried_again(
    caller: Caller, server: str, retries: int, found: dict[str, Any]
) -> None:
    """The first GET is the question for the size, for this server knows no HEAD."""
    api = caller(options=f"http_retries = {retries}\n{ALLOW}")
    image_id, task_id = added(api, f"{server}/unsteady")
    run(task_id)
    assert columns(api.show(image_id)) == found


def test_the_cap(caller: Caller, server: str) -> None:
    api = caller(options=f"image_size_cap = {len(DATA) - 1}\n{ALLOW}")
    image_id, task_id = added(api, f"{server}/data")
    run(task_id)
    assert "image_size_cap" in task_of(api, image_id)["message"]
    assert api.show(image_id)["status"] == "queued"


def test_the_quota(caller: Caller, server: str) -> None:
    api = caller(options=f"user_storage_quota = {len(DATA) - 1}\n{ALLOW}")
    image_id, task_id = added(api, f"{server}/data")
    run(task_id)
    assert "user_storage_quota" in task_of(api, image_id)["message"]
    assert api.show(image_id)["status"] == "queued"


def test_bytes_arrive_in_another_way_meanwhile(api: Api, server: str) -> None:
    image_id, task_id = added(api, f"{server}/data")
    assert api.put(image_id, b"uploaded").status_code == 204
    run(task_id)
    image = api.show(image_id)
    assert (image["status"], image["size"]) == ("active", 8)
    assert image["os_hash_value"] == hashlib.sha512(b"uploaded").hexdigest()
    assert (task_of(api, image_id)["status"], "os_glance_import_task" in image) == (
        "failure",
        False,
    )
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == b"uploaded"


@pytest.mark.parametrize("validation", [{}, said(SHA512)])
def test_a_worker_that_died_is_replaced(
    api: Api, server: str, execute: Execute, validation: dict[str, str]
) -> None:
    """After it had written the location down; the second one does not write it again."""
    image_id, task_id = added(api, f"{server}/data", validation)
    plan = imports.begin(task_id, "lost")
    assert plan is not None
    location_tasks.place(plan, location_tasks.size(plan))
    assert api.show(image_id)["status"] == ("importing" if validation else "active")
    assert jobs.run_import(task_id) == "nothing to do"
    execute(sa.update(models.TaskRun).values(expires=0.0))
    assert leases.declare_dead() == 1
    assert turns.lost_bells(lambda _: 1) == [(task_id, location_tasks.QUEUE)]
    run(task_id)
    with pytest.raises(errors.Abandoned):
        location_tasks.accept(plan, len(DATA), None)
    image = api.show(image_id)
    assert (image["status"], columns(image)) == ("active", WHOLE)
    with db.reading() as session:
        assert session.scalar(sa.select(sa.func.count(models.ImageLocation.id))) == 1


def test_attempts_are_bounded(api: Api, server: str, execute: Execute) -> None:
    image_id, task_id = added(api, f"{server}/data", said(SHA512))
    execute(sa.update(models.TaskRun).values(deaths=3))
    run(task_id)
    assert "given up" in task_of(api, image_id)["message"]
    assert api.show(image_id)["status"] == "queued"


def test_a_deleted_image(api: Api, server: str) -> None:
    image_id, task_id = added(api, f"{server}/data")
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    run(task_id)
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    with db.reading() as session:
        assert session.scalars(sa.select(models.Task.status)).all() == ["failure"]
        assert not session.scalars(sa.select(models.ImageLocation)).all()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (None, 400),
        ([], 400),
        ("x", 400),
        ({}, 400),
        ({"url": None}, 400),
        ({"url": ""}, 400),
        ({"url": "http://exa mple/"}, 400),
        ({"url": "http://example.org/" + "x" * 5000}, 400),
        ({"url": "http://["}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": []}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": None}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": {"os_hash_value": SHA512}}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": {"os_hash_algo": "sha512"}}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": said(SHA512) | {"checksum": MD5}}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": said(SHA512, "sha123")}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": said(SHA512, "sha384")}, 400),
        (
            {
                "url": "http://127.0.0.1/",
                "validation_data": {"os_hash_algo": 1, "os_hash_value": 2},
            },
            400,
        ),
        ({"url": "http://127.0.0.1/", "validation_data": said(SHA256)}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": said("dbc9e0f8")}, 400),
        ({"url": "http://127.0.0.1/", "validation_data": said("x" * 128)}, 400),
        ({"url": "http://169.254.169.254/latest"}, 400),
        ({"url": "http://2130706433/"}, 400),
        ({"url": "file:///etc/passwd"}, 403),
        ({"url": "rbd://a/b/c/d"}, 403),
        ({"url": "http://127.0.0.1/"}, 202),
        ({"url": "http://127.0.0.1/", "validation_data": {}}, 202),
    ],
)
def test_bodies(api: Api, body: Any, code: int) -> None:
    image_id = api.create(**FORMATS)
    answer = post(api, image_id, body)
    assert answer.status_code == code, answer.text
    image = api.show(image_id)
    assert (image["status"], "os_glance_import_task" in image) == ("queued", code == 202)


def test_a_normal_user_needs_an_http_store(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options=f"{ALLOW}[glance_store]\nstores = file")
    assert post(api, api.create(**FORMATS), {"url": "http://127.0.0.1/"}).status_code == 403


@pytest.mark.parametrize(
    ("roles", "url", "code"),
    [
        ("service,member", "file:///etc/passwd", 400),
        ("service,member", "gopher://example.org/", 400),
        ("service,member", "http://127.0.0.1/", 202),
        ("admin", "file:///etc/passwd", 400),
        ("admin", "http://127.0.0.1/", 202),
        ("reader", "http://127.0.0.1/", 403),
    ],
)
def test_roles(caller: Caller, roles: str, url: str, code: int) -> None:
    image_id = caller(options=ALLOW).create(**FORMATS)
    answer = post(caller(roles=roles, options=ALLOW), image_id, {"url": url})
    assert answer.status_code == code, answer.text


@pytest.mark.parametrize("status", ["active", "importing", "uploading", "saving", "deactivated"])
def test_statuses(api: Api, execute: Execute, status: str) -> None:
    image_id = api.create(**FORMATS)
    execute(sa.update(models.Image).values(status=status))
    assert post(api, image_id, {"url": "http://127.0.0.1/"}).status_code == 409


def test_formats_come_first(api: Api) -> None:
    assert post(api, api.create(), {"url": "http://127.0.0.1/"}).status_code == 400


def test_another_ones_image(caller: Caller) -> None:
    admin = caller(project=STRANGER, roles="admin", options=ALLOW)
    public, private = admin.create(visibility="public", **FORMATS), admin.create(**FORMATS)
    api = caller(options=ALLOW)
    assert post(api, public, {"url": "http://127.0.0.1/"}).status_code == 403
    assert post(api, private, {"url": "http://127.0.0.1/"}).status_code == 404
    service = caller(roles="service", options=ALLOW)
    assert post(service, private, {"url": "http://127.0.0.1/"}).status_code == 404
    assert post(service, public, {"url": "http://127.0.0.1/"}).status_code == 202


def test_locations_are_fetched_by_services(caller: Caller, server: str) -> None:
    api = caller(options=ALLOW)
    image_id, task_id = added(api, f"{server}/data")
    path = f"/v2/images/{image_id}/locations"
    assert caller(roles="service", options=ALLOW).ask("GET", path).get_json() == []
    run(task_id)
    for roles, code in (("service", 200), ("admin", 200), ("member,reader", 403)):
        answer = caller(roles=roles).ask("GET", path)
        assert answer.status_code == code
        if code == 200:
            assert answer.get_json() == [{"url": f"{server}/data", "metadata": {}}]
    assert caller(project=STRANGER, roles="service").ask("GET", path).status_code == 404
    assert caller(roles="admin").ask("GET", path, data=b"x").status_code == 400
    assert caller().ask("GET", "/v2/images/x/locations").status_code == 404
    answer = caller().ask("DELETE", path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


def test_several_stores(caller: Caller, several_stores: str, server: str) -> None:
    """A location of the web belongs to the http store; the record of a refused one still names it."""
    options = f"show_multiple_locations = true{several_stores}{ALLOW}"
    api = caller(options=options)
    good, task_id = added(api, f"{server}/data")
    run(task_id)
    image = api.show(good)
    assert (image["status"], image["stores"]) == ("active", "web")
    assert image["locations"] == [{"url": f"{server}/data", "metadata": {"store": "web"}}]
    bad, task_id = added(api, f"{server}/data", said("beefdead" * 16))
    run(task_id)
    image = api.show(bad)
    assert (image["status"], image["stores"], image["locations"]) == ("queued", "web", [])
    assert not [name for name in image if name.startswith("os_glance_refused")]
    assert api.put(bad, b"data").status_code == 204
    assert api.show(bad)["stores"] == "fast"
