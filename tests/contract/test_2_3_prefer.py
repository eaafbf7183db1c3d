"""Contract section 2.3, with several stores: which of them an image is downloaded from, and put into."""

import pytest

from tests.contract.conftest import SEVERAL_STORES, World
from tests.contract.table import DATA, RAW, Row, data

OPTIONS = SEVERAL_STORES
GET = "GET /v2/images/{id}/file"
WHOLE: dict[str, str | None] = {"Content-Length": str(len(DATA))}
PUT = "PUT /v2/images/{id}/file"


def into(store: str) -> Row:
    """An upload into a store that is named."""
    return Row(
        f"into {store}",
        PUT,
        204,
        image=RAW,
        raw=DATA,
        headers={"Content-Type": "application/octet-stream", "X-Image-Meta-Store": store},
        after={"stores": store, "status": "active"},
    )


ROWS = [
    Row("prefer the store that has it", f"{GET}?prefer=fast", 200, status="stored", gives=WHOLE),
    Row("prefer another", f"{GET}?prefer=cheap,fast", 200, status="stored", gives=WHOLE),
    Row("then the rest", f"{GET}?prefer=cheap", 200, status="stored", gives=WHOLE),
    Row("prefer an unknown store", f"{GET}?prefer=fast,none", 400, status="stored"),
    Row("prefer, nothing stored", f"{GET}?prefer=fast", 204),
    Row("prefer, a reader", f"{GET}?prefer=fast", 403, who="reader", status="stored"),
    Row("prefer, invisible", f"{GET}?prefer=fast", 404, of="stranger", status="stored"),
    Row("into the default", PUT, 204, image=RAW, **data(), after={"stores": "fast"}),
    into("fast"),
    into("cheap"),
    Row(
        "into an unknown store",
        PUT,
        400,
        image=RAW,
        raw=DATA,
        headers={"Content-Type": "application/octet-stream", "X-Image-Meta-Store": "none"},
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
