"""Contract section 2.9: /v2/images/{id}/tags/{tag}."""

import pytest

from tests.contract.conftest import World
from tests.contract.table import Row

PATH = "/v2/images/{id}/tags"
ROWS = [
    Row("add", f"PUT {PATH}/new", 204, after={"tags": ["new"]}),
    Row("add what is there", f"PUT {PATH}/a", 204, image={"tags": ["a"]}, after={"tags": ["a"]}),
    Row("case counts", f"PUT {PATH}/A", 204, image={"tags": ["A"]}, after={"tags": ["A"]}),
    Row("255 characters", f"PUT {PATH}/{'x' * 255}", 204),
    Row("256 characters", f"PUT {PATH}/{'x' * 256}", 400),
    Row("NUL", f"PUT {PATH}/%00", 400),
    Row("no UTF-8", f"PUT {PATH}/%FF", 204),
    Row(
        "one too many", f"PUT {PATH}/b", 413, image={"tags": ["a"]}, options={"image_tag_quota": 1}
    ),
    Row("foreign", f"PUT {PATH}/a", 403, of="stranger", image={"visibility": "public"}),
    Row("invisible", f"PUT {PATH}/a", 404, of="stranger"),
    Row("missing", "PUT /v2/images/missing/tags/a", 404),
    Row("a reader", f"PUT {PATH}/a", 403, who="reader"),
    Row("remove", f"DELETE {PATH}/a", 204, image={"tags": ["a", "b"]}, after={"tags": ["b"]}),
    Row("remove what is not there", f"DELETE {PATH}/a", 404),
    Row("remove, other case", f"DELETE {PATH}/A", 404, image={"tags": ["a"]}),
    Row(
        "remove, foreign",
        f"DELETE {PATH}/a",
        403,
        of="stranger",
        image={"visibility": "public", "tags": ["a"]},
    ),
    Row("remove, invisible", f"DELETE {PATH}/a", 404, of="stranger", image={"tags": ["a"]}),
    Row("GET", f"GET {PATH}/a", 405, gives={"Allow": "PUT, DELETE"}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)
