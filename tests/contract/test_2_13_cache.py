"""Contract section 2.13, with a cache's part of 1.3 and 1.4: who may ask what, and what is answered."""

import pytest

from tests.contract.conftest import World
from tests.contract.table import Row

OPTIONS = "image_cache_dir = {state}/cache"
OLD = {"paste_deploy.flavor": "cachemanagement"}
OFF = {"image_cache_dir": None}
EMPTY: dict[str, list[str]] = {"cached_images": [], "queued_images": []}
NONE = {"total_files_pruned": 0, "total_bytes_pruned": 0}
UNKNOWN = "9d0d9f60-0000-4000-8000-000000000000"
NUMBERS = ["2.18", "2.17", "2.16", "2.15", "2.14", "2.9"]
NUMBERS += ["2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0"]
DOCUMENT = {
    "versions": [
        {
            "id": f"v{number}",
            "status": "CURRENT" if number == "2.18" else "SUPPORTED",
            "links": [{"rel": "self", "href": "http://localhost/v2/"}],
        }
        for number in NUMBERS
    ]
}
#: Method and path, what is answered when all is well, of an image in which status.
ASKED = (
    ("GET /v2/cache", 200, "queued"),
    ("PUT /v2/cache/{id}", 202, "stored"),
    ("DELETE /v2/cache/{id}", 204, "stored"),
    ("DELETE /v2/cache", 204, "queued"),
    ("GET /v2/cache/nodes/{id}", 200, "stored"),
    ("POST /v2/cache/clean", 200, "queued"),
    ("POST /v2/cache/prune", 200, "queued"),
)
AS_TO_ROCKY = (
    ("GET /v2/cached_images", 200, "queued"),
    ("DELETE /v2/cached_images", 200, "queued"),
    ("DELETE /v2/cached_images/{id}", 200, "stored"),
    ("GET /v2/queued_images", 200, "queued"),
    ("PUT /v2/queued_images/{id}", 200, "stored"),
    ("DELETE /v2/queued_images", 200, "queued"),
    ("DELETE /v2/queued_images/{id}", 200, "stored"),
)


def clear(target: str) -> dict[str, str]:
    """The header."""
    return {"x-image-cache-clear-target": target}


ROWS = [
    *(
        row
        for asked, options in ((ASKED, {}), (AS_TO_ROCKY, OLD))
        for ask, code, status in asked
        for row in (
            Row(ask, ask, code, who="admin", status=status, options=options),
            Row(f"{ask} by its owner", ask, 403, status=status, options=options),
            Row(f"{ask}, no cache", ask, 404, who="admin", status=status, options=options | OFF),
            Row(f"{ask} by its owner, no cache", ask, 403, status=status, options=options | OFF),
        )
    ),
    *(
        Row(f"{ask}, no cachemanagement", ask, 404, who="admin", status=status)
        for ask, _, status in AS_TO_ROCKY
    ),
    Row("nothing yet", "GET /v2/cache", 200, who="admin", equals=EMPTY),
    Row("nothing to prune", "POST /v2/cache/prune", 200, who="admin", equals=NONE),
    Row("nowhere", "GET /v2/cache/nodes/{id}", 200, who="admin", equals=[]),
    *(
        Row(f"cache, {status}", "PUT /v2/cache/{id}", 400, who="admin", status=status)
        for status in ("queued", "saving", "staged", "importing", "deactivated")
    ),
    *(
        Row(f"{ask}, missing", ask.replace("{id}", name), 404, who="admin")
        for ask in ("PUT /v2/cache/{id}", "DELETE /v2/cache/{id}", "GET /v2/cache/nodes/{id}")
        for name in (UNKNOWN, "missing", "%2e%2e", "queue")
    ),
    *(
        Row(f"{ask[:3]} invisible", ask, 404, of="stranger", status="stored")
        for ask in ("PUT /v2/cache/{id}", "DELETE /v2/cache/{id}")
    ),
    *(
        Row(f"clear {target}", "DELETE /v2/cache", code, who="admin", headers=clear(target))
        for target, code in (("cache", 204), ("queue", 204), ("", 204), ("x", 400), ("*", 400))
    ),
    *(
        Row(
            f"nodes, {driver}",
            "GET /v2/cache/nodes/{id}",
            409,
            who="admin",
            status="stored",
            options={"image_cache_driver": driver},
        )
        for driver in ("sqlite", "xattr")
    ),
    *(
        Row(f"another method, {path}", f"PATCH {path}", 405, who="admin", gives={"Allow": allow})
        for path, allow in (
            ("/v2/cache", "GET, DELETE"),
            ("/v2/cache/x", "PUT, DELETE"),
            ("/v2/cache/nodes/x", "GET"),
        )
    ),
    Row("1.3 versions", "GET /versions", 200, equals=DOCUMENT),
    *(Row(f"1.4 v{number}", f"GET /v{number}/images?limit=0", 200) for number in NUMBERS),
    *(
        Row(f"1.4 v{number} is not", f"GET /v{number}/images", 300, equals=DOCUMENT)
        for number in ("2.8", "2.10", "2.13", "2.19")
    ),
    *(
        Row(f"1.4 v{number} without a cache", f"GET /v{number}/images", 300, options=OFF)
        for number in ("2.14", "2.16", "2.18")
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
