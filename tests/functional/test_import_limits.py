"""Limits that a worker finds passed: what is stored in the end counts, in every store (contract 3.7)."""

import pathlib
import subprocess
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, errors, models
from tests import web
from tests.functional.conftest import Api, Caller
from workers import jobs

MIB = 1 << 20
ONE = b"x" * MIB
LOOPBACK = web.LOOPBACK
CONVERT = """
[image_import_opts]
image_import_plugins = [image_conversion]
[image_conversion]
output_format = {}
"""


def begin(api: Api, image_id: str, method: str = "glance-direct", **members: Any) -> None:
    """POST /import; members `stores` and such stand beside the method's own."""
    beside = {name: members.pop(name) for name in ("stores", "all_stores") if name in members}
    body = {"method": {"name": method} | members} | beside
    answer = api.ask("POST", f"/v2/images/{image_id}/import", body)
    assert answer.status_code == 202, answer.text


def work(api: Api, image_id: str) -> str:
    """Run the image's newest task; how it ended, with the message where it failed."""
    newest = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"][0]
    try:
        return str(jobs.run_import(newest["id"]))
    except errors.ImportFailed:
        task = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"][0]
        assert task["status"] == "failure"
        message: str = task["message"]
        return message


def staged(api: Api, data: bytes, disk_format: str = "raw") -> str:
    image_id = api.create(disk_format=disk_format, container_format="bare")
    assert api.put(image_id, data, "stage").status_code == 204
    return image_id


def qcow2(room: pathlib.Path, mebibytes: int) -> bytes:
    """An image of so many MiB that hold nothing."""
    file = room / "empty.qcow2"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", str(file), f"{mebibytes}M"]
    subprocess.run(command, check=True)
    return file.read_bytes()


def assert_undone(api: Api, image_id: str, room: pathlib.Path) -> None:
    image = api.show(image_id)
    assert (image["status"], image["size"]) == ("queued", None)
    assert "os_glance_import_task" not in image
    assert not list(room.glob(f"*/{image_id}*"))
    with db.reading() as session:
        assert session.scalars(sa.select(models.Reservation)).all() == []


def test_what_is_staged_must_fit(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = caller(options="user_storage_quota = 3MB")
    first, second = staged(api, ONE * 2), staged(api, ONE * 2)
    for one in (first, second):
        begin(api, one)
    said = work(api, second)
    assert "user_storage_quota" in said
    assert f"{MIB} bytes remaining" in said
    assert_undone_besides(api, second, tmp_path)
    assert work(api, first) == "active"
    assert_undone(api, second, tmp_path)
    third = staged(api, ONE)
    begin(api, third)
    assert work(api, third) == "active"


def assert_undone_besides(api: Api, image_id: str, room: pathlib.Path) -> None:
    """While another import holds its reservation."""
    assert api.show(image_id)["status"] == "queued"
    assert not list(room.glob(f"*/{image_id}*"))


def test_room_that_was_made_meanwhile_is_used(caller: Caller) -> None:
    api = caller(options="user_storage_quota = 3MB")
    old = api.create(disk_format="raw", container_format="bare")
    assert api.put(old, ONE * 2).status_code == 204
    image_id = staged(api, ONE * 2)
    begin(api, image_id)
    assert api.ask("DELETE", f"/v2/images/{old}").status_code == 204
    assert work(api, image_id) == "active"


def test_every_store_counts(caller: Caller, several_stores: str, tmp_path: pathlib.Path) -> None:
    api = caller(options=f"user_storage_quota = 3MB\n{several_stores}")
    image_id = staged(api, ONE * 2)
    begin(api, image_id, all_stores=True)
    assert "user_storage_quota" in work(api, image_id)
    assert_undone(api, image_id, tmp_path)
    image_id = staged(api, ONE + ONE[:100])
    begin(api, image_id, all_stores=True)
    assert work(api, image_id) == "active"
    assert api.put(api.create(disk_format="raw", container_format="bare"), ONE).status_code == 413


@pytest.mark.parametrize("size", [1, 2])
def test_a_copy_counts(caller: Caller, several_stores: str, size: int) -> None:
    options = f"user_storage_quota = 3MB\n{several_stores}"
    image_id = caller(options=options).create(disk_format="raw", container_format="bare")
    assert caller(options=options).put(image_id, ONE * size).status_code == 204
    api = caller(options=options, roles="admin")
    begin(api, image_id, "copy-image", stores=["cheap"])
    ended = work(api, image_id)
    image = api.show(image_id)
    if size == 1:
        assert (ended, image["stores"]) == ("active", "cheap,fast")
    else:
        assert "user_storage_quota" in ended
        assert (image["status"], image["stores"]) == ("active", "fast")
    with db.reading() as session:
        assert session.scalars(sa.select(models.Reservation)).all() == []


@pytest.mark.parametrize("length", [True, False])
def test_a_download_must_fit(caller: Caller, tmp_path: pathlib.Path, length: bool) -> None:
    """With its length it is not begun, without one it is stopped where it passes the quota."""

    def unsaid(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(ONE * 6)

    api = caller(options=f"user_storage_quota = 4MB\n{LOOPBACK}")
    answers = {"/big": web.whole(ONE * 6) if length else unsaid, "/fits": web.whole(ONE * 4)}
    with web.serving(answers) as url:
        image_id = api.create(disk_format="raw", container_format="bare")
        begin(api, image_id, "web-download", uri=f"{url}/big")
        assert "user_storage_quota" in work(api, image_id)
        assert_undone(api, image_id, tmp_path)
        begin(api, image_id, "web-download", uri=f"{url}/fits")
        assert work(api, image_id) == "active"


def test_what_a_conversion_makes_counts(caller: Caller, tmp_path: pathlib.Path) -> None:
    """Eight MiB of nothing are a few hundred KiB of qcow2."""
    api = caller(options=f"user_storage_quota = 1MB\n{CONVERT.format('qcow2')}")
    image_id = staged(api, bytes(8 * MIB))
    begin(api, image_id)
    assert work(api, image_id) == "active"
    full = staged(api, b"xyz" * MIB)
    begin(api, full)
    assert "user_storage_quota" in work(api, full)
    assert_undone(api, full, tmp_path)


def test_a_small_file_that_would_become_a_large_one(caller: Caller, tmp_path: pathlib.Path) -> None:
    """It is refused before qemu-img writes a byte (CVE-2013-4463)."""
    api = caller(options=f"user_storage_quota = 100MB\n{CONVERT.format('raw')}")
    bomb = staged(api, qcow2(tmp_path, 1 << 20), "qcow2")
    begin(api, bomb)
    assert f"The size of the data {1 << 40} bytes" in work(api, bomb)
    assert_undone(api, bomb, tmp_path)
    small = staged(api, qcow2(tmp_path, 99), "qcow2")
    begin(api, small)
    assert work(api, small) == "active"
    assert api.show(small)["size"] == 99 * MIB
