"""Contract section 2.0: what holds for every request."""

import re

import pytest

from tests.contract.conftest import World
from tests.contract.table import V20, V21, Row, each

MISSING = "GET /v2/images/missing"
ALLOW = {
    "/v2/images": "GET, POST",
    "/v2/images/{id}": "GET, PATCH, DELETE",
    "/v2/images/{id}/file": "GET, PUT",
    "/v2/images/{id}/stage": "PUT",
    "/v2/images/{id}/import": "POST",
    "/v2/images/{id}/tasks": "GET",
    "/v2/images/{id}/members": "GET, POST",
    "/v2/images/{id}/members/x": "GET, PUT, DELETE",
    "/v2/images/{id}/tags/x": "PUT, DELETE",
    "/v2/images/{id}/actions/deactivate": "POST",
    "/v2/images/{id}/actions/reactivate": "POST",
    "/v2/info/import": "GET",
    "/v2/info/stores": "GET",
    "/v2/info/stores/detail": "GET",
    "/v2/schemas/image": "GET",
    "/v2/schemas/images": "GET",
    "/v2/schemas/openapi": "GET",
    "/v2/tasks": "GET, POST",
}
NO_BODY = [
    *("GET /v2/images/{id}", "DELETE /v2/images/{id}", "GET /v2/images/{id}/file"),
    *("GET /v2/images/{id}/tasks", "GET /v2/images/{id}/members/x", "PUT /v2/images/{id}/tags/x"),
    *("DELETE /v2/images/{id}/tags/x", "DELETE /v2/images/{id}/members/x"),
    *("POST /v2/images/{id}/actions/deactivate", "POST /v2/images/{id}/actions/reactivate"),
    *(
        "GET /v2/info/import",
        "GET /v2/info/stores",
        "GET /v2/info/stores/detail",
        "GET /v2/info/usage",
    ),
    *("GET /v2/schemas/image", "GET /v2/schemas/images", "GET /v2/schemas/member"),
]
JSON_BODIES = [
    ("POST /v2/images", {}),
    ("POST /v2/images/{id}/import", {}),
    ("POST /v2/images/{id}/members", {}),
    ("PUT /v2/images/{id}/members/x", {}),
    ("POST /v2/images/{id}/locations", {}),
    ("PATCH /v2/images/{id}", {"Content-Type": V21}),
    ("PATCH /v2/images/{id}", {"Content-Type": V20}),
]
NO_JSON = [b"", b"{", b"nonsense", b"\xff\xfe", b'{"a": NaN}', b'"x"', b"5", b"null", b"[" * 100000]
LANGUAGES = ["xx", "de-CH, de;q=0.9", "*;q=0", "*", "", ";;;q=,", "en;q=2", "\xe4", "a" * 5000]
ACCEPTS = [
    "",
    "*/*",
    "nonsense",
    "a/b/c",
    "text/html;q=x",
    ",;,",
    "application/json;q=0",
    "a" * 5000,
]

ROWS = [
    Row("errors are HTML", MISSING, 404, says="<h1>404 Not Found</h1>"),
    Row(
        "errors as JSON",
        MISSING,
        404,
        headers={"Accept": "application/json"},
        holds={
            "code": "404 Not Found",
            "title": "Not Found",
            "message": "No image found with ID missing<br /><br />\n\n\n",
        },
    ),
    Row(
        "errors as text",
        MISSING,
        404,
        headers={"Accept": "text/plain"},
        says="404 Not Found\n\n",
        gives={"Content-Type": "text/plain; charset=UTF-8"},
    ),
    Row(
        "*/* is HTML",
        MISSING,
        404,
        headers={"Accept": "*/*"},
        gives={"Content-Type": "text/html; charset=UTF-8"},
    ),
    Row("JSON answers", "GET /v2/images", 200, gives={"Content-Type": "application/json"}),
    Row("dates", "GET /v2/images/{id}", 200, image={}, says='Z", "self"'),
    *(
        Row(f"{method} {path} is not allowed", f"{method} {path}", 405, gives={"Allow": allow})
        for path, allow in ALLOW.items()
        for method in ("HEAD", "OPTIONS", "BREW")
    ),
    Row(
        "/locations lists what it has (Glance: only POST)",
        "PUT /v2/images/{id}/locations",
        405,
        gives={"Allow": "GET, POST"},
    ),
    Row("unknown path", "GET /v2/nothing", 404),
    Row("unknown verb, unknown path", "BREW /v2/nothing", 501),
    Row("usage, other method", "POST /v2/info/usage", 404),
    *(Row(f"no body: {ask}", ask, 400, raw=b"x") for ask in NO_BODY),
    *(
        Row(f"no JSON for {ask} {number} {headers}", ask, 400, raw=raw, headers=headers)
        for ask, headers in JSON_BODIES
        for number, raw in enumerate(NO_JSON)
    ),
    *(Row(f"a list for {ask}", ask, 400, raw=b"[]") for ask, headers in JSON_BODIES if not headers),
    Row(
        "Content-Type of JSON is not checked",
        "POST /v2/images",
        201,
        raw=b"{}",
        headers={"Content-Type": "a/b"},
    ),
    Row("slashes in the path", "GET /v2//images///{id}", 200),
    Row("no read-only context for changes", "POST /v2/images", 403, json={}, who="no role"),
    Row(
        "policy denies what is visible",
        "DELETE /v2/images/{id}",
        403,
        of="stranger",
        image={"visibility": "public"},
    ),
    Row("policy denies what is not visible", "DELETE /v2/images/{id}", 404, of="stranger"),
    *(
        Row(f"4 bytes in {what}", ask, 400, **more)
        for what, ask, more in each(
            ("a name", "POST /v2/images", {"json": {"name": "\U0001f600"}}),
            ("a property's name", "POST /v2/images", {"json": {"\U0001f600": "x"}}),
            ("a property", "POST /v2/images", {"json": {"x": "\U0001f600"}}),
            ("a tag", "PUT /v2/images/{id}/tags/%F0%9F%98%80", {}),
            ("a member", "POST /v2/images/{id}/members", {"json": {"member": "\U0001f600"}}),
        )
    ),
    *(
        Row(f"r49 Accept-Language {value[:20]!r}", ask, code, headers={"Accept-Language": value})
        for value in LANGUAGES
        for ask, code in (("GET /v2/images/{id}", 200), (MISSING, 404))
    ),
    *(
        Row(
            f"r49 odd Accept {value[:20]!r}",
            "GET /v2/images/{id}/file",
            200,
            status="stored",
            headers={"Accept": value},
        )
        for value in ACCEPTS
    ),
    *(
        Row(f"odd Accept {value[:20]!r} of an error", MISSING, 404, headers={"Accept": value})
        for value in ACCEPTS
    ),
    *(
        Row(
            f"request id {asked[:12]} {len(asked)}",
            "GET /v2/images",
            code,
            headers={"X-Openstack-Request-ID": asked},
        )
        for asked, code in (
            ("x" * 60, 200),
            ("x" * 61, 431),
            ("req-" + "x" * 60, 200),
            ("req-" + "x" * 61, 431),
        )
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


@pytest.mark.parametrize("ask", ["GET /v2/images", MISSING, "BREW /v2/nothing", "HEAD /v2/images"])
@pytest.mark.parametrize("asked", ["req-mine", "mine", None])
def test_request_ids(world: World, ask: str, asked: str | None) -> None:
    headers = {"X-Openstack-Request-ID": asked} if asked else {}
    answer = world.ask("owner", *ask.split(" ", 1), headers=headers)
    given = answer.headers["x-openstack-request-id"]
    if asked:
        assert given == "req-mine"
    else:
        assert re.fullmatch("req-[0-9a-f-]{36}", given)
