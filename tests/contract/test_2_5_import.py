"""Contract section 2.5: POST /v2/images/{id}/import, on a service with several stores."""

from typing import Any

import pytest

from tests.contract.conftest import SEVERAL_STORES, World
from tests.contract.table import RAW, Row, each

OPTIONS = (
    "enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]"
    + SEVERAL_STORES
)
ASK = "POST /v2/images/{id}/import"
DIRECT = {"method": {"name": "glance-direct"}}
WEB = {"method": {"name": "web-download", "uri": "http://192.0.2.1/image"}}
COPY = {"method": {"name": "copy-image"}}
FAR = {
    "name": "glance-download",
    "glance_image_id": "ABCDEFab-0000-4000-8000-000000000001",
    "glance_region": "x",
}
#: What is no request at all.
NONSENSE: list[Any] = [
    *(
        [],
        "x",
        5,
        {},
        {"method": None},
        {"method": []},
        {"method": "glance-direct"},
        {"method": {}},
    ),
    *({"method": {"name": name}} for name in each(None, 5, [], {}, "teleport", "")),
    *(
        DIRECT | {name: value}
        for name in ("all_stores", "all_stores_must_succeed")
        for value in each("yes", 1, None)
    ),
    *(DIRECT | {"stores": value} for value in each([], "fast", [5], {}, [None])),
]
URIS = [
    *(
        None,
        5,
        "",
        "x",
        "http://",
        "file:///etc/passwd",
        "ftp://example.org/",
        "http://192.0.2.1:22/",
    ),
    *(
        "http://[broken",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://127.1/",
        "http://user@/",
        "//example.org/",
    ),
]
STATUSES = [
    *((DIRECT, status) for status in ("queued", "stored", "importing", "saving", "deactivated")),
    *((WEB, status) for status in ("staged", "stored", "importing", "deactivated")),
    *((COPY, status) for status in ("queued", "staged", "importing")),
]


def start(name: str, body: Any, code: int = 202, **more: Any) -> Row:
    """An import of a staged image, unless said otherwise."""
    return Row(name[:90], ASK, code, json=body, **{"status": "staged", "who": "owner", **more})


ROWS = [
    start(
        "glance-direct",
        DIRECT,
        after={"status": "importing", "os_glance_importing_to_stores": "fast"},
    ),
    start("web-download", WEB, status="queued", image=RAW),
    start(
        "copy-image",
        COPY | {"stores": ["cheap"]},
        who="admin",
        status="stored",
        after={"status": "active"},
    ),
    *(start(f"1-3 {body}", body, 400) for body in NONSENSE if body != "x"),
    start(
        "2 not enabled",
        WEB,
        400,
        status="queued",
        image=RAW,
        options={"enabled_import_methods": ["glance-direct"]},
        says="web-download",
    ),
    Row("5 missing", "POST /v2/images/missing/import", 404, json=DIRECT),
    start("5 invisible", DIRECT, 404, of="stranger"),
    *(
        start(f"6-9 {body} of {status}", body, 409, status=status, image=RAW, who="admin")
        for body, status in STATUSES
    ),
    *(
        start(
            f"10 without {name}",
            WEB,
            409,
            status="queued",
            image={"disk_format": "raw", "container_format": "bare"} | {name: None},
            says=name,
        )
        for name in ("container_format", "disk_format")
    ),
    *(
        start(f"11 {method}", {"method": method}, 400, status="queued", image=RAW)
        for method in (
            FAR | {"glance_region": None},
            FAR | {"glance_image_id": None},
            {"name": "glance-download"},
        )
    ),
    start(
        "11 no UUID",
        {"method": FAR | {"glance_image_id": "x"}},
        400,
        status="queued",
        image=RAW,
        says="image id does not look like a UUID",
    ),
    start("12 copy-image by a member", COPY | {"stores": ["cheap"]}, 403, status="stored"),
    start("12 a reader", DIRECT, 403, who="reader"),
    start("12 foreign", DIRECT, 403, of="stranger", image={"visibility": "community"}),
    start("14 an unknown store", DIRECT | {"stores": ["x"]}, 409),
    start("14 an unknown store by header", DIRECT, 409, headers={"X-Image-Meta-Store": "x"}),
    start("14 a store that is only read", DIRECT | {"stores": ["web"]}, 409),
    start(
        "15 stores and header",
        DIRECT | {"stores": ["fast"]},
        400,
        headers={"X-Image-Meta-Store": "cheap"},
    ),
    start(
        "15 all stores and header",
        DIRECT | {"all_stores": True},
        400,
        headers={"X-Image-Meta-Store": "cheap"},
    ),
    start("15 all stores and stores", DIRECT | {"all_stores": True, "stores": ["fast"]}, 400),
    start("17 the store holds it", COPY | {"stores": ["fast"]}, 400, status="stored", who="admin"),
    *(
        start(
            f"19 {uri}",
            {"method": {"name": "web-download", "uri": uri}},
            400,
            status="queued",
            image=RAW,
        )
        for uri in URIS
    ),
    start("19 no uri", {"method": {"name": "web-download"}}, 400, status="queued", image=RAW),
    start("the default store", DIRECT, after={"os_glance_importing_to_stores": "fast"}),
    start(
        "a store by header",
        DIRECT,
        headers={"X-Image-Meta-Store": "cheap"},
        after={"os_glance_importing_to_stores": "cheap"},
    ),
    start(
        "stores",
        DIRECT | {"stores": ["fast", "cheap"]},
        after={"os_glance_importing_to_stores": "cheap,fast"},
    ),
    start(
        "all stores",
        DIRECT | {"all_stores": True, "all_stores_must_succeed": False},
        after={"os_glance_importing_to_stores": "cheap,fast"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


def test_a_second_import_at_a_time(world: World) -> None:
    image_id = world.make(Row("13", ASK, 202, status="stored"))
    path, body = f"/v2/images/{image_id}/import", COPY | {"stores": ["cheap"]}
    codes = [world.ask("admin", "POST", path, body).status_code for _ in range(2)]
    assert codes == [202, 409]


def test_nothing_is_left_to_copy(world: World) -> None:
    one = world.make(Row("18", ASK, 202, status="stored"))
    world.set({"glance_store.default_backend": "fast"})
    world.reset()
    body = COPY | {"all_stores": True}
    assert world.ask("admin", "POST", f"/v2/images/{one}/import", body).status_code == 202
    tasks = world.ask("admin", "GET", f"/v2/images/{one}/tasks").get_json()["tasks"]
    assert [task["input"]["backend"] for task in tasks] == [["cheap"]]
