"""Contract section 1: the versions document, and what a path's first part means."""

from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.table import Row

ONE_STORE = ["2.15", "2.9", "2.17", "2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"]
DOCUMENT: dict[str, Any] = {
    "versions": [
        {
            "id": f"v{number}",
            "status": "CURRENT" if number == "2.17" else "SUPPORTED",
            "links": [{"rel": "self", "href": "http://localhost/v2/"}],
        }
        for number in ONE_STORE
    ]
}
ACCEPT = "application/vnd.openstack.images-v{}"

ROWS = [
    *(
        Row(f"1.1 unknown path {path}", f"GET {path}", 300, equals=DOCUMENT)
        for path in (
            "/",
            "//",
            "/v1",
            "/v1/images",
            "/v3",
            "/foo",
            "/image",
            "/v2x",
            "/openapi.json",
        )
    ),
    *(
        Row(f"1.1 {path}", f"GET {path}", 200, equals=DOCUMENT)
        for path in ("/versions", "/versions/", "/versions/x")
    ),
    Row("1.1 /v2", "GET /v2", 302, gives={"Location": "http://localhost/v2/"}),
    Row("1.1 /v2/", "GET /v2/", 404),
    *(
        Row(f"1.4 v{number} is allowed", f"GET /v{number}/images?limit=0", 200)
        for number in ONE_STORE
    ),
    *(
        Row(f"1.4 v{number} is not", f"GET /v{number}/images", 300, equals=DOCUMENT)
        for number in ("2.8", "2.10", "2.11", "2.12", "2.13", "2.14", "2.16", "2.18", "2.99", "2.")
    ),
    *(
        Row(f"1.1 Accept v{number}", "GET /images", code, headers={"Accept": ACCEPT.format(number)})
        for number, code in (("2", 200), ("2.7", 200), ("2.18", 300), ("1", 300))
    ),
    Row(
        "1.1 healthcheck",
        "GET /healthcheck",
        200,
        says="OK",
        gives={"Content-Type": "text/plain; charset=UTF-8"},
    ),
    Row(
        "1.1 healthcheck, disabled",
        "GET /healthcheck",
        503,
        who="no role",
        headers={"Accept": "*/*"},
        options={"healthcheck.disable_by_file_path": "/dev/null"},
    ),
    Row(
        "1.2 base is public_endpoint",
        "GET /versions",
        200,
        says='"http://images.example/v2/"',
        options={"public_endpoint": "http://images.example"},
    ),
    Row("1.1 v1 never makes a record", "POST /v1/images", 300, json={"name": "x"}, equals=DOCUMENT),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
