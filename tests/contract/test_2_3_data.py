"""Contract section 2.3: PUT and GET /v2/images/{id}/file."""

import hashlib

import pytest

from tests.contract.conftest import World
from tests.contract.table import DATA, OCTETS, RAW, Row, data

PUT, GET = "PUT /v2/images/{id}/file", "GET /v2/images/{id}/file"
SIZE = len(DATA)
MD5 = hashlib.md5(DATA).hexdigest()  # noqa: S324 - Glance's checksum
STORED = {
    "status": "active",
    "size": SIZE,
    "virtual_size": SIZE,
    "checksum": MD5,
    "os_hash_algo": "sha512",
    "os_hash_value": hashlib.sha512(DATA).hexdigest(),
}
QUEUED = {"status": "queued", "size": None, "checksum": None, "os_hash_value": None}


def part(asked: str, first: int, last: int, name: str = "Range") -> Row:
    """A part that there is."""
    gives: dict[str, str | None] = {
        "Content-Range": f"bytes {first}-{last}/{SIZE}",
        "Content-Length": str(last - first + 1),
        "Content-MD5": MD5,
    }
    return Row(f"{name}: {asked}", GET, 206, status="stored", headers={name: asked}, gives=gives)


ROWS = [
    Row("prefer, with one store", f"{GET}?prefer=file", 400, status="stored"),
    Row("upload", PUT, 204, image=RAW, **data(), after=STORED),
    Row(
        "nothing",
        PUT,
        204,
        image=RAW,
        **data(b""),
        after={"status": "active", "size": 0, "virtual_size": None},
    ),
    *(
        Row(
            f"Content-Type {kind}",
            PUT,
            415,
            image=RAW,
            raw=DATA,
            headers={"Content-Type": kind},
            after=QUEUED,
        )
        for kind in ("application/json", "text/plain", "", "application/octet")
    ),
    Row(
        "the right size is said",
        PUT,
        204,
        image=RAW,
        **data(X_OpenStack_Image_Size=str(SIZE)),
        after=STORED,
    ),
    *(
        Row(
            f"the size {size} is said",
            PUT,
            400,
            image=RAW,
            **data(X_OpenStack_Image_Size=size),
            after=QUEUED,
        )
        for size in ("5", str(SIZE + 1), "x", "-1", "1e3", "", "0x400", "9" * 30)
    ),
    Row(
        "a store is ignored where there is one", PUT, 204, image=RAW, **data(X_Image_Meta_Store="x")
    ),
    *(
        Row(f"formats {image}", PUT, 400, image=image, **data(), after=QUEUED)
        for image in ({}, {"disk_format": "raw"}, {"container_format": "bare"})
    ),
    *(
        Row(f"status {status}", PUT, 409, status=status, image=RAW, **data())
        for status in ("staged", "stored", "saving", "importing", "deactivated")
    ),
    Row(
        "over the cap",
        PUT,
        413,
        image=RAW,
        **data(),
        options={"image_size_cap": SIZE - 1},
        after=QUEUED,
    ),
    Row(
        "at the cap", PUT, 204, image=RAW, **data(), options={"image_size_cap": SIZE}, after=STORED
    ),
    Row(
        "not the declared format",
        PUT,
        415,
        image=RAW | {"disk_format": "qcow2"},
        **data(),
        after=QUEUED,
    ),
    Row(
        "another container is not looked into",
        PUT,
        204,
        image=RAW | {"container_format": "ova"},
        **data(),
    ),
    Row(
        "visible, foreign", PUT, 403, of="stranger", image=RAW | {"visibility": "public"}, **data()
    ),
    Row("invisible", PUT, 404, of="stranger", image=RAW, **data()),
    Row("missing", "PUT /v2/images/missing/file", 404, **data()),
    Row("a reader", PUT, 403, who="reader", image=RAW, **data()),
    Row(
        "download",
        GET,
        200,
        status="stored",
        gives={"Content-Type": OCTETS, "Content-Length": str(SIZE), "Content-MD5": MD5},
    ),
    *(
        Row(f"no data: {status}", GET, 204, status=status)
        for status in ("queued", "staged", "importing")
    ),
    part("bytes=0-9", 0, 9),
    part("bytes=100-", 100, SIZE - 1),
    part("bytes=-1", SIZE - 1, SIZE - 1),
    part("bytes=-99999", 0, SIZE - 1),
    part("bytes=5-99999", 5, SIZE - 1),
    part("bytes 7-8/*", 7, 8, "Content-Range"),
    *(
        Row(f"Range: {asked}", GET, 416, status="stored", headers={"Range": asked})
        for asked in (
            f"bytes={SIZE}-",
            "bytes=9-5",
            "bytes=-",
            "bytes=x-y",
            "items=0-1",
            "0-1",
            "bytes=-0",
            "",
        )
    ),
    *(
        Row(f"Content-Range: {asked}", GET, 416, status="stored", headers={"Content-Range": asked})
        for asked in ("bytes */5", "bytes x", f"bytes {SIZE}-{SIZE + 1}/*")
    ),
    Row("several ranges", GET, 400, status="stored", headers={"Range": "bytes=0-1,2-3"}),
    Row("a reader may not download", GET, 403, who="reader", status="stored"),
    Row("invisible data", GET, 404, of="stranger", status="stored"),
    Row(
        "another's public data",
        GET,
        200,
        of="stranger",
        status="stored",
        image={"visibility": "public"},
    ),
    Row("deactivated", GET, 403, status="deactivated"),
    Row("missing data", "GET /v2/images/missing/file", 404),
    Row("HEAD", "HEAD /v2/images/{id}/file", 405, status="stored", gives={"Allow": "GET, PUT"}),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(world: World, row: Row) -> None:
    world.check(row)


@pytest.mark.parametrize(("who", "code"), [("owner", 403), ("admin", 200)])
def test_a_closed_image(world: World, who: str, code: int) -> None:
    image_id = world.make(Row("closed", PUT, 204, status="stored"))
    path = f"/v2/images/{image_id}"
    assert world.ask("owner", "POST", f"{path}/actions/deactivate").status_code == 204
    answer = world.ask(who, "GET", f"{path}/file")
    assert answer.status_code == code
    assert (answer.data == DATA) is (who == "admin")


def test_a_failed_upload_can_be_tried_again(world: World) -> None:
    image_id = world.make(Row("again", PUT, 204, image=RAW | {"disk_format": "qcow2"}))
    path = f"/v2/images/{image_id}"
    sent = world.ask("owner", "PUT", f"{path}/file", data=DATA, content_type=OCTETS)
    assert sent.status_code == 415
    kind = "application/openstack-images-v2.1-json-patch"
    change = [{"op": "replace", "path": "/disk_format", "value": "raw"}]
    assert world.ask("owner", "PATCH", path, change, content_type=kind).status_code == 200
    sent = world.ask("owner", "PUT", f"{path}/file", data=DATA, content_type=OCTETS)
    assert sent.status_code == 204
