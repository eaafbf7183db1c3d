"""Contract section 2.4: PUT /v2/images/{id}/stage."""

import pytest

from tests.contract.conftest import World
from tests.contract.table import DATA, RAW, Row, data

PUT = "PUT /v2/images/{id}/stage"
STAGED = {"status": "uploading", "size": len(DATA), "checksum": None}
QUEUED = {"status": "queued", "size": None}

ROWS = [
    Row("stage", PUT, 204, image=RAW, **data(), after=STAGED, lacks=()),
    Row("formats may come later", PUT, 204, **data(), after=STAGED),
    Row(
        "content is not looked at", PUT, 204, image={"disk_format": "qcow2"}, **data(), after=STAGED
    ),
    Row(
        "the method is off",
        PUT,
        404,
        **data(),
        options={"enabled_import_methods": ["web-download"]},
    ),
    *(
        Row(
            f"Content-Type {kind}", PUT, 415, raw=DATA, headers={"Content-Type": kind}, after=QUEUED
        )
        for kind in ("application/json", "", "text/plain")
    ),
    Row("invisible", PUT, 404, of="stranger", **data()),
    Row("foreign", PUT, 403, of="stranger", image={"visibility": "public"}, **data()),
    Row("missing", "PUT /v2/images/missing/stage", 404, **data()),
    Row("a reader", PUT, 403, who="reader", **data()),
    *(
        Row(f"status {status}", PUT, 409, status=status, **data())
        for status in ("staged", "stored", "saving", "importing", "deactivated")
    ),
    *(
        Row(f"the size {size} is said", PUT, 400, **data(X_OpenStack_Image_Size=size), after=QUEUED)
        for size in ("5", str(len(DATA) + 1), "x")
    ),
    Row("over the cap", PUT, 413, **data(), options={"image_size_cap": 5}, after=QUEUED),
    Row("GET", "GET /v2/images/{id}/stage", 405, gives={"Allow": "PUT"}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
    assert row.code != 204 or "os_glance_stage_host" not in str(row.after)
