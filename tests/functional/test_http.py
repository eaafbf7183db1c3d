"""Contract section 2.0 and 5.1: error bodies, methods, request ids, and who is let in."""

import pathlib
import re
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from api import errors as answers
from images import errors, models
from tests.functional.conftest import OWNER, Api, Caller

MISSING = "/v2/images/<missing>"


def ask(api: Api, accept: str | None) -> Any:
    return api.ask("GET", MISSING, headers={} if accept is None else {"Accept": accept})


@pytest.mark.parametrize("accept", [None, "", "*/*", "text/html", "text/*", "text/html, */*;q=0.1"])
def test_errors_are_html(api: Api, accept: str | None) -> None:
    answer = ask(api, accept)
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "<h1>404 Not Found</h1>" in answer.text
    assert "No image found with ID &lt;missing&gt;" in answer.text


@pytest.mark.parametrize("accept", ["application/json", "application/json, text/html;q=0.5"])
def test_errors_are_json(api: Api, accept: str) -> None:
    answer = ask(api, accept)
    assert (answer.status_code, answer.content_type) == (404, "application/json")
    assert answer.get_json() == {
        "message": "No image found with ID <missing><br /><br />\n\n\n",
        "code": "404 Not Found",
        "title": "Not Found",
    }


@pytest.mark.parametrize("accept", ["text/plain", "image/png"])
def test_errors_are_text(api: Api, accept: str) -> None:
    answer = ask(api, accept)
    assert (answer.status_code, answer.mimetype) == (404, "text/plain")
    assert answer.text == "404 Not Found\n\nNo image found with ID <missing>\n\n"


def _all_errors(kind: type[Exception]) -> list[type[Exception]]:
    return [kind, *(one for sub in kind.__subclasses__() for one in _all_errors(sub))]


def test_every_error_has_the_status_of_its_tree() -> None:
    tree = dict(re.findall(r"(\w+) +(\d{3})\b", errors.__doc__ or ""))
    for kind in _all_errors(errors.GantryError):
        if issubclass(kind, errors.ImportFailed) or kind.__module__ != errors.__name__:
            continue  # becomes a task's message; or is caught before there is an answer
        answer = answers.answer(kind(), {"REQUEST_METHOD": "GET", "PATH_INFO": "/"})
        assert str(answer.status_code) == tree[kind.__name__], kind


def test_a_fault_is_not_shown(api: Api, execute: Callable[[Any], None]) -> None:
    image_id = api.create(disk_format="raw", container_format="bare")
    api.put(image_id, b"bytes")
    execute(sa.text("UPDATE image_locations SET meta_data = '{image_properties'"))
    answer = api.ask("GET", f"/v2/images/{image_id}", headers={"Accept": "text/plain"})
    assert answer.status_code == 500
    assert "image_properties" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "code", "allow"),
    [
        ("HEAD", "/v2/images", 405, "GET, POST"),
        ("PUT", "/v2/images", 405, "GET, POST"),
        ("OPTIONS", "/v2/images", 405, "GET, POST"),
        ("BREW", "/v2/images", 405, "GET, POST"),
        ("HEAD", "/v2/images/{id}", 405, "GET, PATCH, DELETE"),
        ("POST", "/v2/images/{id}", 405, "GET, PATCH, DELETE"),
        ("HEAD", "/v2/images/{id}/file", 405, "GET, PUT"),
        ("DELETE", "/v2/images/{id}/file", 405, "GET, PUT"),
        ("GET", "/v2/images/{id}/import", 405, "POST"),
        ("POST", "/v2/images/{id}/tasks", 405, "GET"),
        ("POST", "/v2/info/import", 405, "GET"),
        ("HEAD", "/v2/schemas/image", 405, "GET"),
        ("GET", "/v2/nothing", 404, None),
        ("BREW", "/v2/nothing", 501, None),
    ],
)
def test_methods(api: Api, method: str, path: str, code: int, allow: str | None) -> None:
    answer = api.ask(method, path.format(id=api.create()))
    assert (answer.status_code, answer.headers.get("Allow")) == (code, allow)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/images/{id}"),
        ("DELETE", "/v2/images/{id}"),
        ("GET", "/v2/images/{id}/file"),
        ("GET", "/v2/images/{id}/tasks"),
    ],
)
def test_bodies_where_none_may_be(api: Api, method: str, path: str) -> None:
    assert api.ask(method, path.format(id=api.create()), data=b"x").status_code == 400


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("req-mine", "req-mine"),
        ("mine", "req-mine"),
        ("x" * 60, "req-" + "x" * 60),
    ],
)
def test_request_ids_that_are_taken(api: Api, asked: str, answered: str) -> None:
    answer = api.ask("GET", "/v2/images", headers={"X-Openstack-Request-ID": asked})
    assert answer.headers["x-openstack-request-id"] == answered


@pytest.mark.parametrize(
    ("asked", "code"), [("x" * 61, 431), ("req-" + "x" * 61, 431), ("ä b", 400)]
)
def test_request_ids_that_are_refused(api: Api, asked: str, code: int) -> None:
    answer = api.ask("GET", "/v2/images", headers={"X-Openstack-Request-ID": asked})
    assert answer.status_code == code
    assert re.fullmatch("req-[0-9a-f-]{36}", answer.headers["x-openstack-request-id"])


def test_every_answer_has_an_id_of_its_own(api: Api) -> None:
    ids = {
        api.ask("GET", path).headers["x-openstack-request-id"]
        for path in ("/v2/images", "/v2/images", "/v2/nothing", MISSING)
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("address", "forwarded", "code"),
    [
        ("127.0.0.1", "", 200),
        ("127.1.2.3", "", 200),
        ("::1", "", 200),
        ("::ffff:127.0.0.1", "", 200),
        ("", "", 200),
        ("127.0.0.1", "127.0.0.1, ::1", 200),
        ("192.0.2.1", "", 403),
        ("::ffff:192.0.2.1", "", 403),
        ("2001:db8::1", "", 403),
        ("nonsense", "", 403),
        ("127.0.0.1", "192.0.2.1", 403),
        ("127.0.0.1", "127.0.0.1, unknown", 403),
    ],
)
def test_without_authentication_only_this_machine_is_served(
    api: Api, address: str, forwarded: str, code: int
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    environ = {"REMOTE_ADDR": address}
    answer = api.ask("GET", "/v2/images", headers=headers, environ_overrides=environ)
    assert answer.status_code == code
    if code == 403:
        assert "[noauth] allow_remote" in answer.text
        health = api.ask("GET", "/healthcheck", headers=headers, environ_overrides=environ)
        assert health.status_code == 200


def test_other_machines_when_the_operator_says_so(caller: Caller) -> None:
    api = caller(options="[noauth]\nallow_remote = true")
    answer = api.ask("GET", "/v2/images", environ_overrides={"REMOTE_ADDR": "192.0.2.1"})
    assert answer.status_code == 200


def test_identity_is_not_the_clients_to_choose(api: Api) -> None:
    claims = {
        "X-Identity-Status": "Confirmed",
        "X-Project-Id": "other-project",
        "X-Tenant-Id": "other-project",
        "X-User-Id": "root",
        "X-Roles": "admin",
        "X-Auth-Token": "admin",
    }
    answer = api.ask("POST", "/v2/images", {"visibility": "public"}, headers=claims)
    assert answer.status_code == 403
    assert api.ask("POST", "/v2/images", {}, headers=claims).get_json()["owner"] == OWNER


def test_an_operators_policy(caller: Caller, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text('"publicize_image": "role:member"\n"get_image": "\'x\':%(name)s"\n')
    api = caller(options=f"[oslo_policy]\npolicy_file = {file}")
    seen, unseen = api.create(name="x", visibility="public"), api.create(name="y")
    assert api.ask("GET", f"/v2/images/{seen}").status_code == 200
    assert api.ask("GET", f"/v2/images/{unseen}").status_code == 404
    listed = api.ask("GET", "/v2/images").get_json()["images"]
    assert [image["id"] for image in listed] == [seen]


def test_delete(api: Api, execute: Callable[[Any], None]) -> None:
    image_id = api.create(protected=True)
    path = f"/v2/images/{image_id}"
    assert api.ask("DELETE", path).status_code == 403
    execute(sa.update(models.Image).values(protected=False))
    answers_ = [api.ask("DELETE", path) for _ in range(2)]
    assert [answer.status_code for answer in answers_] == [204, 404]
    assert answers_[0].data == b""
