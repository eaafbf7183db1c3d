"""Files in stores that no record points at are removed: once, a second time, and by two hosts at once."""

import pathlib
import time
import uuid

import pytest
import sqlalchemy as sa

from images import db, leftovers, models, stores
from tests.conftest import Configure
from tests.unit import remains

pytestmark = pytest.mark.usefixtures("database")


def test_stored_files_of_nobody() -> None:
    """Those of images of ours that are not being filled, and have no location that means them."""
    ids = [remains.image("queued"), remains.gone("deleted"), remains.image("killed")]
    remains.new_task(ids[0], "failure")
    elsewhere = remains.image("active")
    with db.transaction() as session:
        row = models.ImageLocation(image_id=elsewhere, value="http://a/b", meta_data={})
        session.add(row)
        session.add(models.ImageLocation(image_id=ids[0], value="file:///x", status="deleted"))
    files = [remains.in_store(one) for one in [*ids, elsewhere]]
    parts = [remains.in_store(f".{one}{end}") for one in ids for end in (".part", ".1f2e.part")]
    assert leftovers.remove() == 0, "a file that was just named is young, whatever its time"
    later = time.time() + 700
    assert remains.twice_at_once(lambda: leftovers.remove(later)) >= len(files + parts)
    assert not any(file.exists() for file in files + parts)
    assert leftovers.remove(later) == 0


def test_stored_files_that_somebody_means() -> None:
    later = time.time() + 700
    busy = [remains.image(was) for was in ("saving", "uploading", "importing")]
    copied = remains.image("active")
    remains.new_task(copied, "pending")
    files = [remains.in_store(one) for one in [*busy, copied]]
    files += [remains.in_store(f".{one}.1f.part") for one in [*busy, copied]]
    files += [
        remains.stored(remains.image("active"), "active"),
        remains.stored(remains.image("active"), "pending_delete"),
    ]
    files += [
        remains.stored(remains.gone("pending_delete"), "pending_delete", deleted=by_glance)
        for by_glance in (True, False)
    ]
    assert leftovers.remove(later) == 0
    assert all(file.exists() for file in files)


def test_parts_of_an_image_that_is_being_filled() -> None:
    """Its worker died, and its successor writes to another name."""
    image_id = remains.image("importing")
    part, whole = remains.in_store(f".{image_id}.1f.part"), remains.in_store(image_id)
    assert leftovers.remove(time.time() + 3500) == 0
    assert remains.twice_at_once(lambda: leftovers.remove(time.time() + 3700)) >= 1
    assert (part.exists(), whole.exists()) == (False, True)


def test_files_of_others_in_a_store_s_directory() -> None:
    """Another service's images, whatever else lies there, and images that were purged."""
    stranger = str(uuid.uuid4())
    names = [
        stranger,
        f".{stranger}.part",
        "README",
        ".nfs000",
        "lost.part",
        f"{remains.image('queued')}.bak",
    ]
    files = [remains.in_store(name) for name in names]
    assert leftovers.remove(time.time() + 10**6) == 0
    assert all(file.exists() for file in files)


def test_a_store_whose_directory_was_moved(tmp_path: pathlib.Path) -> None:
    """The record names a file that is not there: this one may be it, under its new path."""
    image_id = remains.image("active")
    file = remains.stored(image_id, "active")
    (file.parent / "elsewhere").mkdir()
    with db.transaction() as session:
        session.execute(sa.update(models.ImageLocation).values(value=f"file:///old/{image_id}"))
    assert leftovers.remove(time.time() + 700) == 0
    assert file.exists()
    link = tmp_path / "link"
    link.symlink_to(file.parent)
    with db.transaction() as session:
        session.execute(sa.update(models.ImageLocation).values(value=f"file://{link}/{image_id}"))
    assert leftovers.remove(time.time() + 700) == 0
    assert file.exists()


def test_an_active_image_without_any_location() -> None:
    """Whatever has happened to the record, these may be its data."""
    file = remains.in_store(remains.image("active"))
    assert leftovers.remove(time.time() + 700) == 0
    assert file.exists()


def test_what_was_stored_after_the_look(tmp_path: pathlib.Path) -> None:
    """Between judging a file and taking it away another one has got its name: that one stays."""
    image_id = remains.image("queued")
    file = remains.in_store(image_id)
    judged = leftovers._identity(file)
    file.unlink()
    (tmp_path / "other").write_bytes(b"new")
    (tmp_path / "other").rename(file)
    assert not leftovers._take_away(file, judged, time.time() + 700)
    assert file.read_bytes() == b"new"
    assert [one.name for one in file.parent.iterdir()] == [image_id]


def test_many_stored_files_take_turns(configure: Configure) -> None:
    """No run looks at more than some thousands of them, and none is left out for ever."""
    configure("upkeep_seconds = 1")
    directory = remains.in_store("x").parent
    names = {str(uuid.uuid4()) for _ in range(12_000)}
    for name in names:
        (directory / name).touch()
    seen: set[str] = set()
    end = time.monotonic() + 20
    while seen != names and time.monotonic() < end:
        _, objects = leftovers._names(directory)
        assert len(objects) < 6000
        seen |= objects
        time.sleep(0.3)
    assert seen == names


def test_several_directories_and_stores(configure: Configure, tmp_path: pathlib.Path) -> None:
    configure(
        f"""
        [DEFAULT]
        enabled_backends = one:file,two:file,web:http
        [glance_store]
        default_backend = one
        [one]
        filesystem_store_datadir =
        filesystem_store_datadirs = {tmp_path}/s1:100
        filesystem_store_datadirs = {tmp_path}/s2:200
        [two]
        filesystem_store_datadir = {tmp_path}/s3
        [os_glance_staging_store]
        filesystem_store_datadir = {tmp_path}/staging
        """.replace("        ", "")
    )
    assert {str(one) for one in stores.directories("one")} == {f"{tmp_path}/s1", f"{tmp_path}/s2"}
    assert stores.directories("web") == []
    image_id = remains.image("queued")
    files = [tmp_path / room / image_id for room in ("s1", "s2", "s3")]
    for file in files:
        file.write_bytes(remains.DATA)
    assert leftovers.remove(time.time() + 700) == 3
    assert not any(file.exists() for file in files)
