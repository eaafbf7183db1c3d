"""What users name, and what others have stored, neither splits a header nor leaves its directory."""

import hashlib
import io
import pathlib
import re
import urllib.parse
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from werkzeug import test

from images import cache, errors, models
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from tests.functional.importing import FORMATS
from workers import jobs

MORE = """
[paste_deploy]
flavor = cachemanagement
[image_import_opts]
image_import_plugins = [image_decompression]
"""
DATA = b"the data" * 100


@pytest.fixture
def admin(caller: Caller, several_stores: str, tmp_path: pathlib.Path) -> Api:
    """Whoever may do most; the service has several stores and a cache."""
    options = f"image_cache_dir = {tmp_path}/cache\n{several_stores}{MORE}"
    return caller(roles="admin,member,reader", options=options)


# Headers

SPLITTING = ["x\r\nX-Injected: yes", "x\nX-Injected: yes", "x\rX-Injected: yes", "x\0y", "x\u2028y"]


def check(answer: test.TestResponse) -> test.TestResponse:
    """No header has another one in it, and nothing has broken."""
    assert answer.status_code < 500, answer.text
    assert "X-Injected" not in answer.headers
    for name, value in answer.headers:
        assert not re.search("[\r\n\0]", name + value), (name, value)
    return answer


@pytest.mark.parametrize("text", SPLITTING)
def test_names_split_no_header(admin: Api, text: str) -> None:
    """Of an image, a tag, a property, a member, a namespace; in a path and in a header too."""
    made = admin.ask("POST", "/v2/images", FORMATS | {"name": text, "x": text, "tags": [text]})
    image_id = check(made).get_json().get("id") if made.status_code == 201 else admin.create()
    check(admin.put(image_id, DATA))
    check(admin.ask("GET", f"/v2/images/{image_id}/file"))
    check(admin.ask("POST", f"/v2/images/{image_id}/members", {"member": text}))
    space = {"namespace": text, "display_name": text}
    check(admin.ask("POST", "/v2/metadefs/namespaces", space))
    part = urllib.parse.quote(text, safe="")
    for path in (f"images/{part}", f"metadefs/namespaces/{part}", f"stores/{part}/{image_id}"):
        for method in ("GET", "PUT", "DELETE"):
            check(admin.ask(method, f"/v2/{path}"))
    check(admin.ask("PUT", f"/v2/images/{image_id}/tags/{part}"))
    check(admin.ask("GET", f"/v2/images?name={part}&marker={part}&sort_key={part}"))


@pytest.mark.parametrize("text", SPLITTING)
@pytest.mark.parametrize("part", ["", "bytes=1-2"])
def test_a_stored_checksum_splits_no_header(
    admin: Api, execute: Callable[[sa.Executable], None], text: str, part: str
) -> None:
    """Whoever has written it: the data come, without a `Content-MD5` that is none."""
    image_id = admin.create(**FORMATS)
    assert admin.put(image_id, DATA).status_code == 204
    image = models.Image
    execute(sa.update(image).where(image.id == image_id).values(checksum=text))
    answer = check(
        admin.ask("GET", f"/v2/images/{image_id}/file", headers={"Range": part} if part else {})
    )
    assert answer.data == (DATA[1:3] if part else DATA)
    assert "Content-MD5" not in answer.headers


# Directories

CLIMBING = [
    *("../outside/canary", "../../outside/canary", "..", ".", "/etc/passwd", "x/../../outside"),
    *("%2e%2e%2foutside%2fcanary", ".lock", "queue", "incomplete", "canary", "..\\outside"),
]


def tree(room: pathlib.Path) -> dict[str, bytes]:
    """All files but the database's."""
    return {
        str(file.relative_to(room)): file.read_bytes()
        for file in room.rglob("*")
        if file.is_file() and not file.name.startswith("gantry.sqlite")
    }


@pytest.fixture
def image(admin: Api, tmp_path: pathlib.Path) -> str:
    """An image in a store, and files that are nobody's: beside the directories, and in that of the cache."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/canary").write_bytes(b"untouched")
    (tmp_path / "cache/canary").write_bytes(b"untouched")
    image_id = admin.create(**FORMATS)
    assert admin.put(image_id, DATA).status_code == 204
    return image_id


def attacks(image_id: str, name: str) -> list[tuple[str, str, Any]]:
    """Requests that name something so."""
    found: list[tuple[str, str, Any]] = [
        ("POST", "/v2/images", FORMATS | {"id": name}),
        (
            "POST",
            f"/v2/images/{image_id}/import",
            {"method": {"name": "copy-image"}, "stores": [name]},
        ),
        ("POST", f"/v2/images/{image_id}/members", {"member": name}),
    ]
    for part in (urllib.parse.quote(name, safe=""), urllib.parse.quote(name)):
        found += [
            *(("DELETE", f"/v2/images/{part}", None), ("GET", f"/v2/images/{part}/file", None)),
            *(("PUT", f"/v2/images/{part}/file", DATA), ("PUT", f"/v2/images/{part}/stage", DATA)),
            *(("PUT", f"/v2/cache/{part}", None), ("DELETE", f"/v2/cache/{part}", None)),
            *(("GET", f"/v2/cache/nodes/{part}", None), ("PUT", f"/v2/queued_images/{part}", None)),
            ("DELETE", f"/v2/cached_images/{part}", None),
            ("DELETE", f"/v2/queued_images/{part}", None),
            ("DELETE", f"/v2/stores/{part}/{image_id}", None),
            ("DELETE", f"/v2/images/{image_id}/members/{part}", None),
        ]
    return found


def ask(api: Api, method: str, path: str, body: Any) -> None:
    """One of these requests."""
    if isinstance(body, bytes):
        check(api.ask(method, path, data=body, content_type="application/octet-stream"))
    else:
        check(api.ask(method, path, body))


@pytest.mark.parametrize("name", CLIMBING)
def test_names_leave_no_directory(
    admin: Api, image: str, tmp_path: pathlib.Path, name: str
) -> None:
    """Ids, stores, members, and what stands for an image in the cache: no file comes, goes or changes."""
    before = tree(tmp_path)
    for attack in attacks(image, name):
        ask(admin, *attack)
    new = admin.create(**FORMATS)
    assert check(admin.put(new, DATA, X_Image_Meta_Store=name)).status_code in (400, 409)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", CLIMBING)
def test_a_task_s_names_leave_no_directory(
    admin: Api, image: str, tmp_path: pathlib.Path, name: str
) -> None:
    """The older way to import takes properties, an id among them."""
    before = tree(tmp_path)
    made = {"import_from": "http://images.example/x", "import_from_format": "raw"}
    fields = FORMATS | {"id": name, "image_id": name}
    task = {"type": "import", "input": made | {"image_properties": fields}}
    answer = check(admin.ask("POST", "/v2/tasks", task))
    if answer.status_code == 201:
        with pytest.raises(errors.ImportFailed):
            jobs.run_import(answer.get_json()["id"])
    assert tree(tmp_path) == before
    assert admin.show(image)["status"] == "active"


def test_names_sing_where_the_cache_takes_any(
    admin: Api, image: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its look at ids the cache removes what is nobody's."""
    monkeypatch.setattr(cache, "_ID", re.compile(".*"))
    for attack in attacks(image, "canary"):
        ask(admin, *attack)
    assert not (tmp_path / "cache/canary").exists()
    assert (tmp_path / "outside/canary").exists()


# What is in a packed file


def zipped(name: str, mode: int = 0o100644) -> bytes:
    """An archive of one file of that name."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        archive.writestr(entry, DATA)
    return made.getvalue()


@pytest.mark.parametrize("mode", [0o100644, 0o120777], ids=["a file", "a link"])
@pytest.mark.parametrize("name", [*CLIMBING, "{room}/outside/canary", "C:\\canary"])
def test_names_in_an_archive_leave_no_directory(
    admin: Api, image: str, tmp_path: pathlib.Path, name: str, mode: int
) -> None:
    """They mean nothing: what is in it becomes the image, or nothing does."""
    before = tree(tmp_path)
    image_id = importing.staged(admin, zipped(name.format(room=tmp_path), mode))
    try:
        record = importing.imported(admin, image_id)
        assert record["checksum"] == hashlib.md5(DATA, usedforsecurity=False).hexdigest()
    except errors.ImportFailed:
        assert admin.show(image_id)["status"] == "queued"
    (tmp_path / "fast" / image_id).unlink(missing_ok=True)
    assert tree(tmp_path) == before
    assert image
