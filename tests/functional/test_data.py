"""PUT and GET /file, PUT /stage (contract sections 2.3 and 2.4)."""

import hashlib
import io
import os
import pathlib
import resource
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from images import models
from tests.functional.conftest import STRANGER, Api, Caller

Execute = Callable[[Any], None]
DATA = bytes(range(256)) * 40
FORMATS = {"disk_format": "raw", "container_format": "bare"}


def status(api: Api, image_id: str) -> str:
    found: str = api.show(image_id)["status"]
    return found


@pytest.fixture
def stored(api: Api) -> str:
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    return image_id


def test_up_and_down(api: Api, stored: str) -> None:
    image = api.show(stored)
    assert image["status"] == "active"
    assert (image["size"], image["virtual_size"]) == (len(DATA), len(DATA))
    assert image["checksum"] == hashlib.md5(DATA).hexdigest()  # noqa: S324 - Glance's checksum
    assert image["os_hash_algo"] == "sha512"
    assert image["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    answer = api.ask("GET", f"/v2/images/{stored}/file")
    assert (answer.status_code, answer.data) == (200, DATA)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Length"] == str(len(DATA))
    assert answer.headers["Content-MD5"] == image["checksum"]


def test_nothing_up_and_down(api: Api) -> None:
    image_id = api.create(**FORMATS)
    assert api.put(image_id, b"").status_code == 204
    image = api.show(image_id)
    assert (image["status"], image["size"], image["virtual_size"]) == ("active", 0, None)
    answer = api.ask("GET", f"/v2/images/{image_id}/file")
    assert (answer.status_code, answer.data) == (200, b"")


@pytest.mark.parametrize("what", ["file", "stage"])
def test_a_body_in_chunks(api: Api, what: str) -> None:
    image_id = api.create(**FORMATS)
    answer = api.ask(
        "PUT",
        f"/v2/images/{image_id}/{what}",
        input_stream=io.BytesIO(DATA),
        content_type="application/octet-stream",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert answer.status_code == 204, answer.text
    assert api.show(image_id)["size"] == len(DATA)


@pytest.mark.parametrize(
    ("field", "value", "part"),
    [
        ("Range", "bytes=0-9", (0, 9)),
        ("Range", "bytes=10000-", (10000, 10239)),
        ("Range", "bytes=-1", (10239, 10239)),
        ("Range", "bytes=-99999", (0, 10239)),
        ("Range", "bytes=5-99999", (5, 10239)),
        ("Content-Range", "bytes 7-8/*", (7, 8)),
    ],
)
def test_parts(api: Api, stored: str, field: str, value: str, part: tuple[int, int]) -> None:
    answer = api.ask("GET", f"/v2/images/{stored}/file", headers={field: value})
    first, last = part
    assert (answer.status_code, answer.data) == (206, DATA[first : last + 1])
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(DATA)}"
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert answer.headers["Content-MD5"] == api.show(stored)["checksum"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("Range", "bytes=10240-", 416),
        ("Range", "bytes=x", 416),
        ("Range", "items=0-1", 416),
        ("Range", "bytes=0-1,2-3", 400),
        ("Content-Range", "bytes */10240", 416),
    ],
)
def test_no_parts(api: Api, stored: str, field: str, value: str, code: int) -> None:
    answer = api.ask("GET", f"/v2/images/{stored}/file", headers={field: value})
    assert answer.status_code == code


def test_no_data_yet(api: Api) -> None:
    answer = api.ask("GET", f"/v2/images/{api.create()}/file")
    assert (answer.status_code, answer.data) == (204, b"")


def test_lost_data(api: Api, stored: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "images" / stored).unlink()
    answer = api.ask("GET", f"/v2/images/{stored}/file")
    assert answer.status_code == 404
    assert str(tmp_path) not in answer.text


def test_who_may_download(caller: Caller, stored: str, execute: Execute) -> None:
    path = f"/v2/images/{stored}/file"
    assert caller(roles="reader").ask("GET", path).status_code == 403
    assert caller(project=STRANGER).ask("GET", path).status_code == 404
    execute(sa.update(models.Image).values(status="deactivated"))
    assert caller().ask("GET", path).status_code == 403
    assert caller(roles="admin").ask("GET", path).status_code == 200
    execute(sa.update(models.Image).values(status="active", visibility="public"))
    assert caller(project=STRANGER).ask("GET", path).data == DATA


@pytest.mark.parametrize("what", ["file", "stage"])
@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-OpenStack-Image-Size": str(len(DATA))}, 204),
        ({"X-OpenStack-Image-Size": "5"}, 400),
        ({"X-OpenStack-Image-Size": "x"}, 400),
        ({"X-OpenStack-Image-Size": "-1"}, 400),
        ({"X-OpenStack-Image-Size": "1e3"}, 400),
        ({"Content-Type": "application/octet-stream; charset=x"}, 204),
        ({"Content-Type": "application/json"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Transfer-Encoding": "gzip"}, 400),
        ({"Transfer-Encoding": "chunked"}, 400),
    ],
)
def test_what_is_sent(
    api: Api, tmp_path: pathlib.Path, what: str, headers: dict[str, str], code: int
) -> None:
    image_id = api.create(**FORMATS)
    headers = {"Content-Type": "application/octet-stream"} | headers
    answer = api.ask("PUT", f"/v2/images/{image_id}/{what}", data=DATA, headers=headers)
    assert answer.status_code == code, answer.text
    if code != 204:
        image = api.show(image_id)
        assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
        assert not [file for file in tmp_path.glob("[is]*/*") if file.is_file()]
        assert api.put(image_id, DATA, what).status_code == 204


@pytest.mark.parametrize("what", ["file", "stage"])
@pytest.mark.parametrize("length", [str(len(DATA) + 1), "x", "-1", "1" * 20, "1_0"])
def test_a_length_that_is_not_the_bodys(api: Api, what: str, length: str) -> None:
    image_id = api.create(**FORMATS)
    answer = api.ask(
        "PUT",
        f"/v2/images/{image_id}/{what}",
        data=DATA,
        content_type="application/octet-stream",
        environ_overrides={"CONTENT_LENGTH": length},
    )
    assert (answer.status_code, status(api, image_id)) == (400, "queued")


def test_staged(api: Api) -> None:
    image_id = api.create()
    assert api.put(image_id, DATA, "stage").status_code == 204
    image = api.show(image_id)
    assert (image["status"], image["size"]) == ("uploading", len(DATA))
    assert api.put(image_id, DATA, "stage").status_code == 409
    assert api.put(image_id, DATA).status_code == 409
    answer = api.ask("GET", f"/v2/images/{image_id}/stage")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "PUT")


def test_stage_without_its_method(caller: Caller) -> None:
    api = caller(options="enabled_import_methods = [web-download]")
    assert api.put(api.create(), DATA, "stage").status_code == 404


@pytest.mark.parametrize("fields", [{}, {"disk_format": "raw"}, {"container_format": "bare"}])
def test_data_need_formats(api: Api, fields: dict[str, str]) -> None:
    image_id = api.create(**fields)
    assert api.put(image_id, DATA).status_code == 400
    assert status(api, image_id) == "queued"


def test_data_are_not_what_the_format_says(api: Api) -> None:
    image_id = api.create(disk_format="qcow2", container_format="bare")
    assert api.put(image_id, DATA).status_code == 415
    assert status(api, image_id) == "queued"


@pytest.mark.parametrize("what", ["file", "stage"])
def test_the_cap(caller: Caller, what: str) -> None:
    api = caller(options=f"image_size_cap = {len(DATA) - 1}")
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, what).status_code == 413
    assert status(api, image_id) == "queued"
    assert api.put(image_id, DATA[1:], what).status_code == 204


def test_an_active_image_keeps_its_data(api: Api, stored: str) -> None:
    assert api.put(stored, b"other").status_code == 409
    assert api.put(stored, b"other", "stage").status_code == 409


def test_stores_are_chosen(caller: Caller, several_stores: str, tmp_path: pathlib.Path) -> None:
    api = caller(options=several_stores)
    first, second, third = (api.create(**FORMATS) for _ in range(3))
    assert api.put(first, DATA).status_code == 204
    assert api.put(second, DATA, X_Image_Meta_Store="cheap").status_code == 204
    assert api.put(third, DATA, X_Image_Meta_Store="unknown").status_code == 400
    assert [api.show(image_id).get("stores") for image_id in (first, second, third)] == [
        *("fast", "cheap", None)
    ]
    assert (tmp_path / "cheap" / second).read_bytes() == DATA
    assert api.ask("GET", f"/v2/images/{second}/file").data == DATA


@pytest.mark.parametrize(("visibility", "code"), [("public", 403), ("private", 404)])
@pytest.mark.parametrize("what", ["file", "stage"])
def test_another_ones_image(caller: Caller, visibility: str, code: int, what: str) -> None:
    admin = caller(project=STRANGER, roles="admin")
    image_id = admin.create(visibility=visibility, **FORMATS)
    assert caller().put(image_id, DATA, what).status_code == code


def test_where_the_data_are(caller: Caller, stored: str, tmp_path: pathlib.Path) -> None:
    url = f"file://{tmp_path}/images/{stored}"
    assert not {"direct_url", "locations", "stores"} & caller().show(stored).keys()
    image = caller(options="show_image_direct_url = true").show(stored)
    assert (image["direct_url"], image.get("locations")) == (url, None)
    api = caller(options="show_multiple_locations = true")
    assert api.show(stored)["locations"] == [{"url": url, "metadata": {}}]
    assert api.show(api.create())["locations"] == []


def test_the_store_header_is_for_several_stores(api: Api) -> None:
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, X_Image_Meta_Store="unknown").status_code == 204


def test_a_download_in_any_form(api: Api, stored: str) -> None:
    for accept in ("application/json", "text/html;q=0", "image/*;q=x", ",,,", "\xe9"):
        answer = api.ask("GET", f"/v2/images/{stored}/file", headers={"Accept": accept})
        assert (answer.status_code, answer.data) == (200, DATA)
    assert api.ask("HEAD", f"/v2/images/{stored}/file").status_code == 405


class Disturbed(io.BytesIO):
    """A body during which something happens."""

    def __init__(self, data: bytes, event: Callable[[], object]) -> None:
        super().__init__(data)
        self._event: Callable[[], object] | None = event

    def read(self, size: int | None = -1, /) -> bytes:
        """Some bytes; the event comes before the first ones."""
        event, self._event = self._event, None
        if event:
            event()
        return super().read(size)

    def readinto(self, buffer: Any, /) -> int:
        """As `read`."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)


def disturbed(api: Api, image_id: str, what: str, event: Callable[[], object]) -> Any:
    """PUT with a body during which something happens."""
    return api.ask(
        "PUT",
        f"/v2/images/{image_id}/{what}",
        input_stream=Disturbed(DATA, event),
        content_type="application/octet-stream",
        content_length=len(DATA),
    )


def left_over(tmp_path: pathlib.Path) -> list[pathlib.Path]:
    return [file for file in tmp_path.glob("[is]*/*") if file.is_file()]


@pytest.mark.parametrize(
    ("what", "status", "code"), [("file", "saving", 410), ("stage", "uploading", 404)]
)
def test_deleted_meanwhile(
    api: Api, tmp_path: pathlib.Path, what: str, status: str, code: int
) -> None:
    image_id = api.create(**FORMATS)
    seen = []

    def delete() -> None:
        seen.append(api.show(image_id)["status"])
        seen.append(api.ask("DELETE", f"/v2/images/{image_id}").status_code)

    assert disturbed(api, image_id, what, delete).status_code == code
    assert seen == [status, 204]
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    assert not left_over(tmp_path)


@pytest.mark.parametrize(
    ("what", "place"), [("file", "images"), ("file", "staging"), ("stage", "staging")]
)
def test_r05_a_place_that_cannot_be_written_to(
    api: Api, tmp_path: pathlib.Path, what: str, place: str
) -> None:
    """503 and `queued`, without a path in the answer; the next try works."""
    image_id = api.create(**FORMATS)
    assert api.put(api.create(**FORMATS), DATA).status_code == 204
    (tmp_path / place).rename(tmp_path / "away")
    (tmp_path / place).touch()
    answer = api.put(image_id, DATA, what)
    assert answer.status_code == 503, answer.text
    assert str(tmp_path) not in answer.text
    image = api.show(image_id)
    (tmp_path / place).unlink()
    (tmp_path / "away").rename(tmp_path / place)
    assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
    assert not [file for file in left_over(tmp_path) if image_id in file.name]
    assert api.put(image_id, DATA, what).status_code == 204


@pytest.mark.parametrize("what", ["file", "stage"])
def test_a_full_disk(api: Api, tmp_path: pathlib.Path, what: str) -> None:
    """413; the limit on the size of a file looks to the service like a disk that is full."""
    image_id = api.create(**FORMATS)
    body = os.urandom(4 << 20)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, before[1]))
    try:
        answer = api.put(image_id, body, what)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert answer.status_code == 413, answer.text
    assert status(api, image_id) == "queued"
    assert not left_over(tmp_path)
    assert api.put(image_id, body, what).status_code == 204


def test_a_store_that_takes_nothing(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options="[glance_store]\nstores = http\ndefault_store = http")
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA).status_code == 410
    assert status(api, image_id) == "queued"
    assert not left_over(tmp_path)
