"""Contract section 2.10: deactivate and reactivate."""

import pytest

from tests.contract.conftest import World
from tests.contract.table import Row

CLOSE, OPEN = (
    f"POST /v2/images/{{id}}/actions/{action}" for action in ("deactivate", "reactivate")
)
ROWS = [
    Row("close", CLOSE, 204, status="active", after={"status": "deactivated"}),
    Row("close again", CLOSE, 204, status="deactivated", after={"status": "deactivated"}),
    Row("open", OPEN, 204, status="deactivated", after={"status": "active"}),
    Row("open again", OPEN, 204, status="active", after={"status": "active"}),
    *(
        Row(f"{ask[-10:]} {status}", ask, 403, status=status)
        for ask in (CLOSE, OPEN)
        for status in ("queued", "staged", "saving", "importing")
    ),
    *(
        row
        for ask in (CLOSE, OPEN)
        for row in (
            Row(f"{ask[-10:]} by an administrator", ask, 204, who="admin", status="active"),
            Row(f"{ask[-10:]} by a reader", ask, 403, who="reader", status="active"),
            Row(
                f"{ask[-10:]} foreign",
                ask,
                403,
                of="stranger",
                status="active",
                image={"visibility": "public"},
            ),
            Row(f"{ask[-10:]} invisible", ask, 404, of="stranger", status="active"),
            Row(f"{ask[-10:]} with a body", ask, 400, status="active", raw=b"{}"),
        )
    ),
    Row("missing", "POST /v2/images/missing/actions/deactivate", 404),
    Row("another action", "POST /v2/images/{id}/actions/x", 404),
    Row("closed: show", "GET /v2/images/{id}", 200, status="deactivated"),
    Row("closed: delete", "DELETE /v2/images/{id}", 204, status="deactivated"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
