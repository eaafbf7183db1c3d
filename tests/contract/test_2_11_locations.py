"""Contract section 2.11: locations, the old way (PATCH) and the new one."""

from typing import Any

import pytest

from tests.contract.conftest import SEVERAL_STORES, World
from tests.contract.table import RAW, Row, add, each, patch, remove, replace

OPTIONS = "http_retries = 0" + SEVERAL_STORES
ON = {"show_multiple_locations": True}
PATCH = "PATCH /v2/images/{id}"
POST, GET = "POST /v2/images/{id}/locations", "GET /v2/images/{id}/locations"
URL = "http://192.0.2.1/image"
HASH = {"os_hash_algo": "sha256", "os_hash_value": "a" * 64}


def place(url: Any = URL, **more: Any) -> dict[str, Any]:
    """A location of the old way."""
    return {"url": url, "metadata": {}} | more


BAD_PLACES: list[Any] = [
    *(
        {},
        5,
        None,
        "x",
        {"url": URL},
        {"metadata": {}},
        place(5),
        place("x" * 256),
        place(metadata=5),
    ),
    *(place(f"{scheme}://x/y") for scheme in ("file", "filesystem", "swift+config", "unheard")),
    place(metadata={"store": "unheard"}),
    *(
        place(validation_data=value)
        for value in each(5, {}, {"os_hash_algo": "sha512"}, HASH | {"x": "y"})
    ),
]
BAD_BODIES: list[Any] = [
    *([], "x", 5, {}, {"url": None}, {"url": 5}, {"url": ""}),
    *(
        {"url": URL, "validation_data": value}
        for value in each(
            5,
            [],
            "x",
            {"os_hash_algo": "sha256"},
            {"os_hash_value": "a" * 64},
            HASH | {"os_hash_algo": "sha1024"},
            HASH | {"os_hash_value": "a" * 63},
            HASH | {"os_hash_value": "z" * 64},
            HASH | {"os_hash_value": 5},
        )
    ),
]

ROWS = [
    *(
        Row(f"off: {change}", PATCH, 403, status="stored", **patch(change))
        for change in (
            add("/locations/-", place()),
            replace("/locations", []),
            remove("/locations/0"),
        )
    ),
    *(
        Row(
            f"add {value}"[:80],
            PATCH,
            400,
            status=status,
            image=RAW,
            options=ON,
            **patch(add("/locations/-", value)),
        )
        for value in BAD_PLACES
        for status in ("queued", "stored")
    ),
    *(
        Row(
            f"{change['op']} while {status}",
            PATCH,
            409,
            status=status,
            who="admin",
            options=ON,
            image=RAW,
            **patch(change),
        )
        for change in (add("/locations/-", place()), remove("/locations/0"))
        for status in ("staged", "saving", "importing", "deactivated")
    ),
    Row(
        "remove while queued", PATCH, 409, options=ON, who="admin", **patch(remove("/locations/0"))
    ),
    Row(
        "remove the last",
        PATCH,
        403,
        status="stored",
        options=ON,
        who="admin",
        **patch(remove("/locations/0")),
    ),
    Row(
        "replace by none",
        PATCH,
        403,
        status="stored",
        options=ON,
        **patch(replace("/locations", [])),
    ),
    Row(
        "replace by others",
        PATCH,
        400,
        status="stored",
        options=ON,
        **patch(replace("/locations", [place()])),
    ),
    Row(
        "one too many",
        PATCH,
        413,
        status="stored",
        options=ON | {"image_location_quota": 1},
        **patch(add("/locations/-", place())),
    ),
    Row(
        "shown when on",
        "GET /v2/images/{id}",
        200,
        status="stored",
        options=ON,
        says='"store": "fast"',
    ),
    Row(
        "new: accepted",
        POST,
        202,
        who="service",
        image=RAW | {"visibility": "public"},
        json={"url": URL},
    ),
    Row("new: with a hash", POST, 202, image=RAW, json={"url": URL, "validation_data": HASH}),
    *(Row(f"new: {body}"[:80], POST, 400, image=RAW, json=body) for body in BAD_BODIES),
    *(
        Row(f"new: {status}", POST, 409, status=status, image=RAW, json={"url": URL})
        for status in ("staged", "stored", "importing")
    ),
    Row("new: a user's file", POST, 403, image=RAW, json={"url": "file:///etc/passwd"}),
    Row("new: a reader", POST, 403, who="reader", image=RAW, json={"url": URL}),
    Row(
        "new: foreign",
        POST,
        403,
        of="stranger",
        image=RAW | {"visibility": "public"},
        json={"url": URL},
    ),
    Row("new: invisible", POST, 404, of="stranger", image=RAW, json={"url": URL}),
    Row("new: missing", "POST /v2/images/missing/locations", 404, json={"url": URL}),
    Row(
        "fetch by a service",
        GET,
        200,
        who="service",
        status="stored",
        image={"visibility": "public"},
        says='"metadata"',
    ),
    Row(
        "fetch by an administrator", GET, 200, who="admin", status="stored", says='"store": "fast"'
    ),
    Row("fetch, none", GET, 200, who="admin", equals=[]),
    Row("fetch by the owner", GET, 403, status="stored"),
    Row("fetch by a service that cannot see it", GET, 404, who="service", status="stored"),
    Row("fetch, missing", "GET /v2/images/missing/locations", 404, who="admin"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
