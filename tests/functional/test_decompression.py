"""The plugin image_decompression: what is stored is what was packed, or nothing is left."""

import dataclasses
import hashlib
import os
import pathlib
import subprocess
from typing import Any

import pytest
import sqlalchemy as sa

from flows.steps import decompress
from images import db, errors, imports, models, staging
from tests import web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from tests.packing import PACK, zipped
from workers import engine, heartbeat

MIB = 1 << 20
DATA = os.urandom(MIB // 4) + bytes(2 * MIB) + b"end"


def options(*plugins: str, more: str = "", default: str = "") -> str:
    """Of a service with these plugins."""
    return f"""
{default}
{web.LOOPBACK}
[image_import_opts]
image_import_plugins = [{",".join(plugins or ("image_decompression",))}]
[gantry]
heartbeat_seconds = 0.1
remember_seconds = 0
{more}
"""


@pytest.fixture
def api(caller: Caller) -> Api:
    return caller(options=options())


@pytest.fixture
def qcow2(tmp_path: pathlib.Path) -> bytes:
    """A disk with `DATA` and zeros."""
    raw, file = tmp_path / "raw", tmp_path / "qcow2"
    raw.write_bytes(DATA.ljust(4 * MIB, b"\0"))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(file)]
    subprocess.run(command, check=True)
    return file.read_bytes()


def check_stored(api: Api, image: dict[str, Any], data: bytes) -> None:
    """The record speaks of the stored bytes, and nothing else is left of them."""
    assert image["status"] == "active"
    assert image["size"] == len(data)
    assert image["checksum"] == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert image["os_hash_value"] == hashlib.sha512(data).hexdigest()
    assert api.ask("GET", f"/v2/images/{image['id']}/file").data == data
    assert list(staging.path().iterdir()) == []


def check_undone(api: Api, image_id: str, room: pathlib.Path) -> None:
    """As if nobody had asked for it."""
    image = api.show(image_id)
    assert (image["status"], image["size"], image["checksum"]) == ("queued", None, None)
    assert "os_glance_import_task" not in image
    assert not list(room.glob(f"*/{image_id}*"))
    with db.reading() as session:
        assert session.scalars(sa.select(models.Reservation)).all() == []


@pytest.mark.parametrize("kind", PACK)
def test_what_was_packed_is_stored(api: Api, kind: str) -> None:
    image = importing.imported(api, importing.staged(api, PACK[kind](DATA)))
    assert image["virtual_size"] == len(DATA)
    assert (image["disk_format"], image["container_format"]) == ("raw", "bare")
    check_stored(api, image, DATA)


def test_plain_data_pass(api: Api) -> None:
    check_stored(api, importing.imported(api, importing.staged(api, DATA)), DATA)


@pytest.mark.parametrize("kind", PACK)
def test_compressed_means_that_it_shall_stay_so(api: Api, kind: str) -> None:
    packed = PACK[kind](DATA)
    image_id = importing.staged(api, packed, container_format="compressed")
    image = importing.imported(api, image_id)
    assert image["container_format"] == "compressed"
    check_stored(api, image, packed)


def test_without_the_plugin_nothing_is_unpacked(caller: Caller) -> None:
    api, packed = caller(options=options("no_op")), PACK["gzip"](DATA)
    check_stored(api, importing.imported(api, importing.staged(api, packed)), packed)


def test_a_packed_disk_is_judged_when_it_has_come_out(api: Api, qcow2: bytes) -> None:
    """The packed file is no qcow2, and that is no reason to refuse it."""
    image_id = importing.staged(api, PACK["gzip"](qcow2), disk_format="qcow2")
    image = importing.imported(api, image_id)
    assert image["virtual_size"] == 4 * MIB
    check_stored(api, image, qcow2)


@pytest.mark.parametrize("method", ["glance-direct", "web-download"])
def test_unpacked_then_converted(caller: Caller, qcow2: bytes, method: str) -> None:
    """In the order that the operator has written."""
    api = caller(options=options("image_decompression", "image_conversion"))
    packed = PACK["xz"](qcow2)
    with web.serving({"/disk.qcow2.xz": web.whole(packed)}) as url:
        if method == "web-download":
            image_id = api.create(**(importing.FORMATS | {"disk_format": "qcow2"}))
            asked = {"name": method, "uri": f"{url}/disk.qcow2.xz"}
            image = importing.imported(api, image_id, asked)
        else:
            image_id = importing.staged(api, packed, disk_format="qcow2")
            image = importing.imported(api, image_id)
    assert image["disk_format"] == "raw"
    check_stored(api, image, DATA.ljust(4 * MIB, b"\0"))


def test_nothing_packed_is_converted(caller: Caller, tmp_path: pathlib.Path) -> None:
    """It would be a disk of packed data; whoever has put the plugins in this order is told."""
    target = "[image_conversion]\noutput_format = qcow2\n"
    api = caller(options=options("image_conversion", "image_decompression", more=target))
    image_id = importing.staged(api, PACK["gzip"](DATA))
    said = importing.refused(api, image_id)
    assert "image_decompression must stand before image_conversion" in said
    check_undone(api, image_id, tmp_path)
    plain = importing.imported(api, importing.staged(api, DATA))
    assert (plain["status"], plain["disk_format"]) == ("active", "qcow2")


@pytest.mark.parametrize(
    ("packed", "said"),
    [
        (PACK["gzip"](DATA)[:-1], "cut short"),
        (PACK["xz"](DATA) + b"more", "something else"),
        (zipped(b"one", b"two"), "2 members"),
        (PACK["zstd"](b"QFI\xfb" + bytes(600)), "safety check"),
    ],
    ids=["cut", "followed", "two", "unsafe"],
)
def test_what_is_refused_leaves_nothing(
    api: Api, tmp_path: pathlib.Path, packed: bytes, said: str
) -> None:
    """The cause is said, and the image can be filled again."""
    image_id = importing.staged(api, packed)
    assert said in importing.refused(api, image_id)
    check_undone(api, image_id, tmp_path)
    assert api.put(image_id, PACK["gzip"](DATA), "stage").status_code == 204
    check_stored(api, importing.imported(api, image_id), DATA)


def test_what_comes_out_must_be_what_is_declared(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = importing.staged(api, PACK["gzip"](DATA), disk_format="qcow2")
    assert "declared qcow2, but the data are raw" in importing.refused(api, image_id)
    check_undone(api, image_id, tmp_path)


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        ("gzip", "image_size_cap = 2000000"),
        ("zstd", "user_storage_quota = 2MB"),
        ("zip", "decompression_ratio = 1"),
    ],
)
def test_a_bomb_is_stopped(caller: Caller, tmp_path: pathlib.Path, kind: str, limit: str) -> None:
    """A few KiB that would be 17 MiB, by whichever limit is met first; little of it is written."""
    ours = limit.startswith("decompression")
    lines = {"more": limit} if ours else {"default": limit}
    api = caller(options=options(**lines))
    image_id = importing.staged(api, PACK[kind](bytes(17 * MIB)))
    assert limit.split(" ", maxsplit=1)[0] in importing.refused(api, image_id)
    check_undone(api, image_id, tmp_path)
    check_stored(api, importing.imported(api, importing.staged(api, PACK[kind](b"x"))), b"x")


def test_what_comes_out_is_reserved_for_in_every_store(
    caller: Caller, several_stores: str, tmp_path: pathlib.Path
) -> None:
    """It is the unpacked size that counts, once for each store."""
    lines = options(default=f"user_storage_quota = 5MB\n{several_stores}")
    api = caller(options=lines)
    image_id = importing.staged(api, PACK["gzip"](bytes(3 * MIB)))
    assert "user_storage_quota" in importing.refused(api, image_id, all_stores=True)
    check_undone(api, image_id, tmp_path)
    fits = importing.staged(api, PACK["gzip"](bytes(2 * MIB)))
    assert importing.imported(api, fits, all_stores=True)["size"] == 2 * MIB


def test_another_worker_goes_on_behind_it(caller: Caller, qcow2: bytes) -> None:
    """What is unpacked already is not unpacked again."""
    api = caller(options=options("image_decompression", "image_conversion"))
    image_id = importing.staged(api, PACK["gzip"](qcow2), disk_format="qcow2")
    task_id = importing.asked(api, image_id)
    assert "decompress" in importing.attempt(task_id, "first", leave_at="convert").steps
    second = importing.attempt(task_id, "second")
    assert "convert" in second.steps
    assert "decompress" not in second.steps
    check_stored(api, api.show(image_id), DATA.ljust(4 * MIB, b"\0"))


def test_another_worker_begins_it_anew(api: Api) -> None:
    """The first one is gone in the middle, and leaves a part that nobody could go on with."""
    image_id = importing.staged(api, PACK["gzip"](DATA))
    task_id = importing.asked(api, image_id)
    importing.attempt(task_id, "first", leave_at="decompress")
    staging.path(image_id, ".1.unpacked.part").write_bytes(b"half")
    assert "decompress" in importing.attempt(task_id, "second").steps
    check_stored(api, api.show(image_id), DATA)


def test_a_late_attempt_leaves_the_output_of_the_next_one_alone(api: Api) -> None:
    """The one that has lost its lease may not know it yet; the other is at work."""
    image_id = importing.staged(api, PACK["gzip"](DATA))
    first = imports.begin(importing.asked(api, image_id), "first")
    assert first is not None
    plan = dataclasses.replace(first, lease=dataclasses.replace(first.lease, attempt=2))
    others = [".1.unpacked", ".2.unpacked.part", ".3.unpacked", ".12.unpacked"]
    for name in others:
        staging.path(image_id, name).write_bytes(b"theirs")
    step, told = decompress.Decompress(), {"path": str(staging.path(image_id)), "size": 1}
    formats = importing.FORMATS | {"virtual_size": None}
    given = step.execute(watch=heartbeat.Heartbeat(plan), staged=told | formats)
    assert pathlib.Path(given["path"]).read_bytes() == DATA
    assert pathlib.Path(given["path"]).name == f"{image_id}.2.unpacked"
    step.revert(watch=heartbeat.Heartbeat(plan))
    left = {file.name for file in staging.path().glob("*unpacked*")}
    assert left == {f"{image_id}.3.unpacked", f"{image_id}.12.unpacked"}
    assert {staging.path(image_id, name).read_bytes() for name in others[2:]} == {b"theirs"}


def test_a_deleted_image_is_not_unpacked_to_the_end(api: Api, tmp_path: pathlib.Path) -> None:
    """The delete comes while the step is at work; its worker hears of it at its next piece."""
    image_id = importing.staged(api, PACK["gzip"](DATA))
    plan = imports.begin(importing.asked(api, image_id), "worker")
    assert plan is not None

    class Deletes(importing.Watch):
        def report(self, step: str, done: int, total: int | None) -> None:
            super().report(step, done, total)
            if step == "decompress" and not deleted:
                deleted.append(api.ask("DELETE", f"/v2/images/{image_id}").status_code)
                self.pause(step, 60)  # it ends when the heartbeat has seen it

    deleted: list[int] = []
    with Deletes(plan) as watch, pytest.raises(errors.ImportFailed, match="deleted"):
        engine.run(plan, watch)
    assert deleted == [204]
    assert not list(tmp_path.glob(f"*/{image_id}*"))


def test_it_takes_no_longer_than_it_may(caller: Caller, tmp_path: pathlib.Path) -> None:
    """The limit of a step holds within it."""
    api = caller(options=options(more="step_timeout = 1"))
    image_id = importing.staged(api, PACK["gzip"](DATA))
    plan = imports.begin(importing.asked(api, image_id), "worker")
    assert plan is not None

    class Slow(importing.Watch):
        def report(self, step: str, done: int, total: int | None) -> None:
            super().report(step, done, total)
            if step == "decompress":
                self._running[step].ends = 0.0  # as if it had gone on for so long

    with Slow(plan) as watch, pytest.raises(errors.ImportFailed, match="step_timeout allows, 1 s"):
        engine.run(plan, watch)
    check_undone(api, image_id, tmp_path)
