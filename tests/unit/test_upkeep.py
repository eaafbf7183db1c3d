"""What dead processes leave over is put right: once, a second time, and by two hosts at the same time."""

import datetime
import os
import pathlib
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

import pytest

from images import db, imports, models, staging, stores, upkeep, uploads
from tests.conftest import Configure

pytestmark = pytest.mark.usefixtures("database")

HOUR = datetime.timedelta(hours=1, seconds=5)
DATA = b"x" * 3000


def image(status: str, *, age: datetime.timedelta = HOUR, **columns: Any) -> str:
    """An image that was touched so long ago."""
    with db.transaction() as session:
        row = models.Image(status=status, owner="p", updated_at=db.now() - age, **columns)
        session.add(row)
    return row.id


def gone(status: str, *, age: datetime.timedelta = HOUR, **columns: Any) -> str:
    """An image that was deleted so long ago."""
    return image(status, deleted=True, deleted_at=db.now() - age, **columns)


def status(image_id: str) -> str:
    with db.reading() as session:
        return session.get_one(models.Image, image_id).status


def staged(image_id: str, *names: str, age: datetime.timedelta = HOUR) -> list[pathlib.Path]:
    """Files in staging that were written to so long ago."""
    then = time.time() - age.total_seconds()
    files = [staging.path(image_id, name) for name in names or ("", ".part", ".facts")]
    for file in files:
        file.write_bytes(DATA)
        os.utime(file, (then, then))
    return files


def stored(image_id: str, row_status: str, *, deleted: bool = False) -> pathlib.Path:
    """Bytes in the store, and their location."""
    source = staging.path("source")
    source.write_bytes(DATA)
    url, metadata = stores.add(stores.default_id(), image_id, source)
    source.unlink()
    with db.transaction() as session:
        row = models.ImageLocation(image_id=image_id, value=url, meta_data=metadata)
        row.status, row.deleted, row.updated_at = row_status, deleted, db.now() - HOUR
        session.add(row)
    return pathlib.Path(url.removeprefix("file://"))


def locations(image_id: str) -> list[str]:
    with db.reading() as session:
        rows = session.query(models.ImageLocation).filter_by(image_id=image_id)
        return [row.status for row in rows]


def reserve(image_id: str) -> None:
    with db.transaction() as session:
        session.add(models.Reservation(image_id=image_id, store_bytes=5, stage_bytes=5))


def reserved() -> set[str]:
    with db.reading() as session:
        return {row.image_id for row in session.query(models.Reservation)}


def twice_at_once(work: Callable[[], int]) -> int:
    """Run it twice at the same time; how much was done in all, where that is counted by what was changed."""
    with futures.ThreadPoolExecutor(2) as pool:
        return sum(one.result() for one in [pool.submit(work), pool.submit(work)])


# Uploads


@pytest.mark.parametrize("was", ["saving", "uploading"])
def test_a_dead_upload_is_given_back(was: str) -> None:
    image_id = image(was)
    files = staged(image_id)
    reserve(image_id)
    assert upkeep.give_back_uploads() == 1
    assert status(image_id) == "queued"
    assert not any(file.exists() for file in files)
    assert reserved() == set()
    assert upkeep.give_back_uploads() == 0


def test_two_hosts_give_an_upload_back_once() -> None:
    image_id = image("saving")
    staged(image_id)
    assert twice_at_once(upkeep.give_back_uploads) == 1
    assert status(image_id) == "queued"


@pytest.mark.parametrize(
    ("was", "age", "size", "bytes_age"),
    [
        ("saving", datetime.timedelta(), None, HOUR),
        ("saving", HOUR, None, datetime.timedelta()),
        ("uploading", HOUR, 5, HOUR),
        ("importing", HOUR, None, HOUR),
        ("queued", HOUR, None, HOUR),
        ("active", HOUR, None, HOUR),
    ],
)
def test_an_upload_that_lives_is_left_alone(
    was: str, age: datetime.timedelta, size: int | None, bytes_age: datetime.timedelta
) -> None:
    """Its record, or its bytes, have moved; or it is none (any more)."""
    image_id = image(was, age=age, size=size)
    files = staged(image_id, age=bytes_age)
    assert upkeep.give_back_uploads() == 0
    assert status(image_id) == was
    assert all(file.exists() for file in files)


def test_what_has_moved_on_is_not_given_back() -> None:
    """The image was looked at, and its import began before it could be given back."""
    image_id = image("importing", size=5)
    files = staged(image_id)
    assert not uploads.give_back(image_id, "uploading")
    assert status(image_id) == "importing"
    assert all(file.exists() for file in files)


def test_what_came_for_a_deleted_image_is_removed() -> None:
    image_id = gone("deleted")
    files = staged(image_id)
    assert not uploads.give_back(image_id, "saving")
    assert status(image_id) == "deleted"
    assert not any(file.exists() for file in files)


# Staging


def test_staged_files_of_nobody() -> None:
    ids = [gone("deleted"), image("queued"), image("active"), "0" * 32]
    files = [file for one in ids for file in staged(one, "", ".facts", ".qcow2")]
    assert twice_at_once(upkeep.empty_staging) >= len(ids)
    assert not any(file.exists() for file in files)
    assert upkeep.empty_staging() == 0


def test_staged_files_that_are_waited_for() -> None:
    ids = [image("saving"), image("uploading"), image("importing")]
    copied = image("active")
    with db.transaction() as session:
        lock = models.ImageProperty(image_id=copied, name=imports.LOCK, value="task")
        session.add(lock)
    files = [file for one in [*ids, copied] for file in staged(one)]
    young = staged(gone("deleted"), age=datetime.timedelta())
    assert upkeep.empty_staging() == 0
    assert all(file.exists() for file in [*files, *young])


# Deletions


def test_bytes_of_a_deleted_image() -> None:
    image_id = gone("deleted")
    file = stored(image_id, "pending_delete")
    assert twice_at_once(upkeep.finish_deletions) >= 1
    assert (file.exists(), locations(image_id)) == (False, ["deleted"])
    assert upkeep.finish_deletions() == 0


def test_bytes_that_are_gone_already() -> None:
    image_id = gone("deleted")
    stored(image_id, "pending_delete").unlink()
    assert upkeep.finish_deletions() == 1
    assert locations(image_id) == ["deleted"]


def test_a_location_that_a_living_image_has_lost() -> None:
    image_id = image("active")
    file = stored(image_id, "pending_delete")
    assert upkeep.finish_deletions() == 1
    assert (file.exists(), locations(image_id)) == (False, ["deleted"])


@pytest.mark.parametrize(
    ("was", "rows"),
    [
        ("importing", ["pending_delete"]),
        ("active", ["active", "pending_delete"]),
        ("active", ["active"]),
    ],
)
def test_bytes_that_are_used_or_written(was: str, rows: list[str]) -> None:
    """By another location of the image, or by an import that writes to the same place."""
    image_id = image(was)
    file = [stored(image_id, row) for row in rows][-1]
    assert upkeep.finish_deletions() == 0
    assert file.exists()
    assert locations(image_id) == rows


# Scrubbing


@pytest.mark.parametrize("by_glance", [False, True])
def test_scrubbed(by_glance: bool) -> None:
    """Glance marks the rows of a delayed deletion as deleted, too."""
    image_id = gone("pending_delete", age=datetime.timedelta(seconds=5))
    file = stored(image_id, "pending_delete", deleted=by_glance)
    assert upkeep.scrub() == 1
    assert (status(image_id), locations(image_id)) == ("deleted", ["deleted"])
    assert not file.exists()
    assert upkeep.scrub() == 0


def test_scrubbed_by_two_hosts(configure: Configure) -> None:
    configure("[DEFAULT]\nscrub_pool_size = 3")
    ids = [gone("pending_delete") for _ in range(5)]
    files = [stored(one, "pending_delete") for one in ids]
    twice_at_once(upkeep.scrub)
    assert {status(one) for one in ids} == {"deleted"}
    assert not any(file.exists() for file in files)


def test_scrub_time(configure: Configure) -> None:
    configure("[DEFAULT]\nscrub_time = 60")
    young = gone("pending_delete", age=datetime.timedelta(seconds=50))
    old = gone("pending_delete", age=datetime.timedelta(seconds=70))
    files = [stored(one, "pending_delete") for one in (young, old)]
    assert upkeep.scrub() == 1
    assert [status(young), status(old)] == ["pending_delete", "deleted"]
    assert [file.exists() for file in files] == [True, False]


def test_a_deletion_under_way_is_left_to_who_does_it() -> None:
    """Until he must be dead: its locations still count as active, for the case that a store refuses."""
    fresh = gone("pending_delete", age=datetime.timedelta(seconds=50))
    dead = gone("pending_delete")
    files = [stored(one, "active") for one in (fresh, dead)]
    assert upkeep.scrub() == 1
    assert [status(fresh), status(dead)] == ["pending_delete", "deleted"]
    assert [file.exists() for file in files] == [True, False]


def test_nothing_else_is_scrubbed() -> None:
    ids = [image("active"), image("queued"), gone("deleted")]
    files = [stored(one, "active") for one in ids[:1]]
    assert upkeep.scrub() == 0
    assert [status(one) for one in ids] == ["active", "queued", "deleted"]
    assert files[0].exists()


# Reservations


def test_reservations_of_nobody() -> None:
    over = [image("queued"), image("active"), gone("deleted"), gone("pending_delete"), "x" * 36]
    held = [image(was) for was in ("saving", "uploading", "importing")]
    copied = image("active")
    with db.transaction() as session:
        session.add(models.ImageProperty(image_id=copied, name=imports.LOCK, value="task"))
    for one in [*over, *held, copied]:
        reserve(one)
    assert twice_at_once(upkeep.free_reservations) == len(over)
    assert reserved() == {*held, copied}
    assert upkeep.free_reservations() == 0
