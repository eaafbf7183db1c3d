"""Delayed deletion as operators see it: scrubbed, or restored (contract section 5.5)."""

import pathlib
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from images import db, models, removal, restoring, stores, upkeep
from tests import service
from tests.functional.conftest import STRANGER, Api, Caller, Command

Execute = Callable[[Any], None]
DATA = b"the data" * 500
DELAYED = "delayed_delete = true\nscrub_time = 1000"
FORMATS = {"disk_format": "raw", "container_format": "bare"}


def deleted(api: Api, **fields: Any) -> str:
    """An image with data that waits to be scrubbed."""
    image_id = api.create(**(FORMATS | fields))
    assert api.put(image_id, DATA).status_code == 204
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    return image_id


def status(image_id: str) -> str:
    with db.reading() as session:
        return session.get_one(models.Image, image_id).status


def stored(room: pathlib.Path) -> list[str]:
    return sorted(file.name for file in (room / "images").iterdir())


@pytest.mark.parametrize("line", ["gantry scrubber --restore", "glance-scrubber --restore"])
@pytest.mark.parametrize("by_glance", [False, True])
def test_r21_a_delayed_deletion_is_taken_back(
    caller: Caller, command: Command, execute: Execute, line: str, by_glance: bool
) -> None:
    """By us, and one that Glance has made; it marks the locations as deleted, too."""
    api = caller(options=DELAYED)
    image_id = deleted(api, name="kept")
    if by_glance:
        execute(sa.update(models.ImageLocation).values(deleted=True, deleted_at=db.now()))
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    ended = command(line, image_id)
    assert (ended.code, image_id in ended.out) == (0, True)
    shown = api.show(image_id)
    assert (shown["status"], shown["name"], shown["size"]) == ("active", "kept", len(DATA))
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    upkeep.run()
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA, "it stays restored"
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert command("gantry scrubber --restore", image_id).code == 0, "a second time"


@pytest.mark.parametrize("what", ["unknown", "active", "queued", "deleted", "no-uuid"])
def test_r22_nothing_else_is_restored(
    caller: Caller, command: Command, tmp_path: pathlib.Path, what: str
) -> None:
    api = caller(options=DELAYED)
    image_id = str(uuid.uuid4()) if what == "unknown" else what
    if what in ("active", "queued"):
        image_id = api.create(**FORMATS)
    if what == "active":
        api.put(image_id, DATA)
    if what == "deleted":
        image_id = deleted(api)
        assert removal.scrub(image_id)
    ended = command("glance-scrubber --restore", image_id)
    assert ended.code == 1
    assert ended.err.startswith("ERROR")
    if what in ("active", "queued", "deleted"):
        assert status(image_id) == what


@pytest.fixture
def daemon(caller: Caller, tmp_path: pathlib.Path) -> Iterator[subprocess.Popen[str]]:
    """A scrubber that has made its first pass."""
    caller(options=DELAYED)
    command = [sys.executable, "-m", "images.commands.main"]
    words = ["--config-file", str(tmp_path / "gantry.conf"), "scrubber", "--daemon"]
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", *command, *words],
        cwd=service.ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert "scrubbed" in process.stdout.readline()
        yield process
        process.kill()


def test_r23_not_beside_a_scrubber(
    daemon: subprocess.Popen[str], caller: Caller, command: Command
) -> None:
    image_id = deleted(caller(options=DELAYED))
    ended = command("gantry scrubber --restore", image_id)
    assert (ended.code, ended.err.startswith("ERROR")) == (1, True)
    assert status(image_id) == "pending_delete"
    daemon.terminate()
    assert daemon.wait(service.PATIENCE) == 0
    assert command("gantry scrubber --restore", image_id).code == 0


def test_r23_not_as_a_daemon(caller: Caller, command: Command) -> None:
    image_id = deleted(caller(options=DELAYED))
    ended = command("glance-scrubber --daemon --restore", image_id)
    assert (ended.code, ended.err.startswith("ERROR")) == (1, True)
    assert status(image_id) == "pending_delete"


def test_r24_what_comes_back(caller: Caller, command: Command) -> None:
    """Properties and tags do, but for what was removed before; whom it was shared with does not."""
    api = caller(options=DELAYED)
    image_id = api.create(**FORMATS, some="property", other="gone", tags=["a", "b"])
    api.put(image_id, DATA)
    api.patch(image_id, {"op": "remove", "path": "/other"})
    assert api.ask("DELETE", f"/v2/images/{image_id}/tags/b").status_code == 204
    assert (
        api.ask("POST", f"/v2/images/{image_id}/members", {"member": STRANGER}).status_code == 200
    )
    before = api.show(image_id)
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert command("gantry scrubber --restore", image_id).code == 0
    after = api.show(image_id)
    assert after | {"updated_at": ""} == before | {"updated_at": ""}
    assert "other" not in after
    assert api.ask("GET", f"/v2/images/{image_id}/members").get_json()["members"] == []
    stranger = caller(project=STRANGER)
    assert stranger.ask("GET", f"/v2/images/{image_id}").status_code == 404


def test_data_that_are_gone_are_not_restored(
    caller: Caller, command: Command, tmp_path: pathlib.Path
) -> None:
    """Else the image would be active, and its download broken."""
    image_id = deleted(caller(options=DELAYED))
    (tmp_path / "images" / image_id).unlink()
    ended = command("gantry scrubber --restore", image_id)
    assert (ended.code, ended.err.startswith("ERROR")) == (1, True)
    assert status(image_id) == "pending_delete"


def test_data_in_one_of_two_stores(
    caller: Caller, command: Command, execute: Execute, several_stores: str, tmp_path: pathlib.Path
) -> None:
    """The image comes back with what there is."""
    api = caller(options=f"{DELAYED}\n{several_stores}".strip())
    image_id = api.create(**FORMATS)
    api.put(image_id, DATA)
    lost = {
        "value": f"file://{tmp_path}/cheap/{image_id}",
        "meta_data": {"store": "cheap"},
        "image_id": image_id,
    }
    execute(sa.insert(models.ImageLocation).values(lost))
    assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert command("gantry scrubber --restore", image_id).code == 0
    assert api.show(image_id)["stores"] == "fast"
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA


@pytest.mark.parametrize("options", [DELAYED, ""])
def test_what_is_being_removed_is_not_restored(
    caller: Caller, execute: Execute, tmp_path: pathlib.Path, options: str
) -> None:
    """By workers' upkeep, or by a deletion that is not delayed: no lock tells of them, the record does."""
    api = caller(options=options)
    image_id = deleted(api) if options else api.create(**FORMATS)
    if not options:  # with a location that it has lost before, whose bytes are still there
        api.put(image_id, DATA)
        lost = {"image_id": image_id, "status": "pending_delete"}
        lost["value"] = f"file://{tmp_path}/images/{image_id}"
        execute(sa.insert(models.ImageLocation).values(lost))
    driver = stores._drivers()["file"]
    removed, seen = driver.delete, []

    def delete(location: Any, **options: Any) -> None:
        try:
            restoring.restore(image_id)
        except Exception as error:  # noqa: BLE001
            seen.append(str(error))
        removed(location, **options)

    driver.delete = delete
    if options:
        assert removal.scrub(image_id)
    else:
        assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert len(seen) == 1
    assert status(image_id) == "deleted"


def test_what_was_restored_is_not_scrubbed(caller: Caller, tmp_path: pathlib.Path) -> None:
    """Upkeep had looked before."""
    image_id = deleted(caller(options=DELAYED))
    restoring.restore(image_id)
    assert not removal.scrub(image_id)
    assert (status(image_id), stored(tmp_path)) == ("active", [image_id])


def test_a_scrubber_that_died_is_followed_by_the_next(
    caller: Caller, command: Command, tmp_path: pathlib.Path, execute: Execute
) -> None:
    """It had said that it would remove the data, and has not."""
    image_id = deleted(caller(options=DELAYED))
    execute(sa.update(models.ImageLocation).values(status="deleted"))
    long_ago = sa.update(models.Image).values(deleted_at=db.now().replace(year=2020))
    execute(long_ago)
    assert command("gantry scrubber --restore", image_id).code == 1
    ended = command("glance-scrubber")
    assert (ended.code, ended.out) == (0, "1 images scrubbed\n")
    assert (status(image_id), stored(tmp_path)) == ("deleted", [])


def test_one_pass_takes_all_that_is_due(
    caller: Caller, command: Command, execute: Execute, tmp_path: pathlib.Path
) -> None:
    api = caller(options=DELAYED)
    young = deleted(api)
    old = [deleted(api) for _ in range(3)]
    long_ago = sa.update(models.Image).where(models.Image.id.in_(old))
    execute(long_ago.values(deleted_at=db.now().replace(year=2020)))
    assert command("gantry scrubber").out == "3 images scrubbed\n"
    assert stored(tmp_path) == [young]
    assert [status(one) for one in (young, *old)] == ["pending_delete", *["deleted"] * 3]
