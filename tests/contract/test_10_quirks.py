"""Contract section 10: what Glance does oddly, and what is done here, where a request can show it.

Rows 2 to 4 (imports that end badly) are in tests/system, 10 and 11 (commands) are with the commands.
"""

import pytest

from tests.contract.conftest import World
from tests.contract.table import DATA, RAW, STRANGER, Row, add, data, patch

ROWS = [
    Row(
        "1 a failed upload leaves nothing",
        "PUT /v2/images/{id}/file",
        415,
        image=RAW | {"disk_format": "iso"},
        **data(),
        after={"status": "queued", "checksum": None, "os_hash_value": None, "size": None},
    ),
    Row(
        "5 add /owner",
        "PATCH /v2/images/{id}",
        403,
        **patch(add("/owner", STRANGER)),
        after={"owner": "owner-project"},
    ),
    Row("6 a list makes no image", "POST /v2/images", 400, raw=b"[]"),
    Row("6 a list is no import", "POST /v2/images/{id}/import", 400, raw=b"[]"),
    Row("6 a method that is no object", "POST /v2/images/{id}/import", 400, json={"method": "x"}),
    Row("7 os_hash_algo", "POST /v2/images", 403, json={"os_hash_algo": "md5"}),
    Row("7 os_hash_value", "POST /v2/images", 403, json={"os_hash_value": "x"}),
    Row("8 foo_min", "GET /v2/images?foo_min=1", 400),
    Row("9 without authentication", "GET /v2/images?limit=0", 200),
    Row("12 four bytes", "POST /v2/images", 400, json={"name": "\U0001f600"}),
    Row(
        "13 a repeated tag",
        "GET /v2/images?tag=a&tag=b",
        200,
        holds={"first": "/v2/images?tag=a&tag=b"},
    ),
    Row("14 the versions' order", "GET /versions", 200, says='{"versions": [{"id": "v2.15"'),
    Row("17 a new member", "POST /v2/images/{id}/members", 200, json={"member": "x"}),
    Row("19 HEAD", "HEAD /v2/images/{id}", 405, gives={"Allow": "GET, PATCH, DELETE"}),
    Row("20 no data", "GET /v2/images/{id}/file", 204),
    Row("2.1.3 changes-since", "GET /v2/images?changes-since=2026-01-01T00:00:00Z", 400),
    Row("2.2 a name beyond 255", "PATCH /v2/images/{id}", 400, **patch(add("/" + "x" * 256, "y"))),
    *(
        Row(f"2.2 {name}", "PATCH /v2/images/{id}", 403, **patch(add(f"/{name}", "x")))
        for name in ("member", "context", "extra_properties", "image_id", "stores")
    ),
    Row(
        "2.3 Content-Range: bytes */n",
        "GET /v2/images/{id}/file",
        416,
        status="stored",
        headers={"Content-Range": f"bytes */{len(DATA)}"},
    ),
    Row(
        "2.7 a task by hand",
        "POST /v2/tasks",
        400,
        who="admin",
        json={"type": "api_image_import", "input": {}},
    ),
    Row(
        "2.0 a long request id", "GET /v2/images", 431, headers={"X-Openstack-Request-ID": "x" * 65}
    ),
    *(
        Row(f"2.15 {query}", f"GET /v2/metadefs/namespaces?{query}", 400)
        for query in ("limit=x", "sort_key=x")
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
