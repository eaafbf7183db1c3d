"""CORS, a proxy's headers and the health check (contract sections 1.1, 2.0 and 5.1)."""

import pathlib

import pytest

from tests.functional.conftest import Caller
from tests.functional.test_auth import KEYSTONE

_ORIGIN = "https://horizon.example.org"
CORS = f"[cors]\nallowed_origin = {_ORIGIN}\n"
HEADERS = {
    *("Content-MD5", "X-Image-Meta-Checksum", "X-Storage-Token", "Accept-Encoding", "X-Auth-Token"),
    *("X-Identity-Status", "X-Roles", "X-Service-Catalog", "X-User-Id", "X-Tenant-Id"),
    "X-OpenStack-Request-ID",
}


@pytest.mark.parametrize("keystone", [False, True])
@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 200), ("PUT", 200), ("POST", 200), ("DELETE", 200), ("PATCH", 200), ("TRACE", None)],
)
def test_preflight_needs_no_token(
    caller: Caller, keystone: bool, method: str, status: int | None
) -> None:
    api = caller(options=f"{KEYSTONE if keystone else ''}{CORS}")
    headers = {
        "Origin": _ORIGIN,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "X-Auth-Token, Content-Type",
    }
    answer = api.ask("OPTIONS", "/v2/images", headers=headers)
    assert answer.status_code == 200
    assert answer.headers.get("Access-Control-Allow-Origin") == (_ORIGIN if status else None)
    assert answer.headers.get("Access-Control-Allow-Methods") == (method if status else None)


@pytest.mark.parametrize("keystone", [False, True])
def test_answers_to_a_page_of_the_origin(caller: Caller, keystone: bool) -> None:
    api = caller(options=f"{KEYSTONE if keystone else ''}{CORS}")
    answer = api.ask("GET", "/v2/images", headers={"Origin": _ORIGIN})
    assert answer.status_code == (401 if keystone else 200)
    assert answer.headers["Access-Control-Allow-Origin"] == _ORIGIN
    assert set(answer.headers["Access-Control-Expose-Headers"].split(",")) == HEADERS
    assert answer.headers["Vary"] == "Origin"
    assert answer.headers["x-openstack-request-id"]


@pytest.mark.parametrize(
    ("options", "origin"),
    [(CORS, "https://evil.example.org"), ("", _ORIGIN), (CORS, None)],
    ids=["another origin", "not configured", "no origin"],
)
def test_answers_to_everybody_else(caller: Caller, options: str, origin: str | None) -> None:
    api = caller(options=options)
    answer = api.ask("GET", "/v2/images", headers={"Origin": origin} if origin else {})
    assert answer.status_code == 200
    assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_cors_is_the_operators_to_change(caller: Caller) -> None:
    api = caller(options=f"{CORS}expose_headers = X-One,X-Two\nallow_credentials = false\n")
    answer = api.ask("GET", "/v2/images", headers={"Origin": _ORIGIN})
    assert answer.headers["Access-Control-Expose-Headers"] == "X-One,X-Two"
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_bodies_pass_cors_and_a_proxys_headers(caller: Caller) -> None:
    api = caller(options=f"{CORS}[oslo_middleware]\nenable_proxy_headers_parsing = true\n")
    headers = {"Origin": _ORIGIN, "X-Forwarded-Proto": "https"}
    image_id = api.create(container_format="bare", disk_format="raw")
    path = f"/v2/images/{image_id}/file"
    data, kind = bytes(range(256)) * 4096, "application/octet-stream"
    put = api.ask("PUT", path, data=data, content_type=kind, headers=headers)
    assert put.status_code == 204
    got = api.ask("GET", path, headers=headers | {"Range": "bytes=256-511"})
    assert (got.status_code, got.data) == (206, bytes(range(256)))


@pytest.mark.parametrize(
    ("on", "headers", "base"),
    [
        (True, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.org"}, "https://a.org"),
        (True, {"Forwarded": "for=127.0.0.1;proto=https;host=a.org"}, "https://a.org"),
        (
            True,
            {"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/image"},
            "https://localhost/image",
        ),
        (True, {}, "http://localhost"),
        (False, {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.org"}, "http://localhost"),
    ],
)
def test_links_behind_a_proxy(caller: Caller, on: bool, headers: dict[str, str], base: str) -> None:
    api = caller(options=f"[oslo_middleware]\nenable_proxy_headers_parsing = {on}\n")
    document = api.ask("GET", "/versions", headers=headers).get_json()
    assert document["versions"][0]["links"][0]["href"] == f"{base}/v2/"


@pytest.mark.parametrize("keystone", [False, True])
def test_health(caller: Caller, tmp_path: pathlib.Path, keystone: bool) -> None:
    file = tmp_path / "disabled"
    options = f"{KEYSTONE if keystone else ''}[healthcheck]\ndisable_by_file_path = {file}\n"
    api = caller(options=options)
    found = []
    for exists in (False, True):
        if exists:
            file.touch()
        for method in ("GET", "HEAD", "POST"):
            answer = api.ask(method, "/healthcheck")
            found.append((answer.status_code, answer.text))
    assert found == [
        *((200, "OK"), (200, ""), (405, "")),
        *((503, "DISABLED BY FILE"), (503, ""), (405, "")),
    ]
