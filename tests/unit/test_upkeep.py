"""What dead processes leave over is put right: once, a second time, and by two hosts at the same time."""

import datetime
import logging
import os
import time
import uuid
from concurrent import futures
from typing import Any

import pytest

from images import (
    cancelling,
    context,
    db,
    errors,
    leftovers,
    models,
    removal,
    staging,
    stores,
    upkeep,
    uploads,
)
from tests.conftest import Configure
from tests.unit import remains

pytestmark = pytest.mark.usefixtures("database")


# Uploads


@pytest.mark.parametrize("was", ["saving", "uploading"])
def test_a_dead_upload_is_given_back(was: str) -> None:
    image_id = remains.image(was)
    files = remains.staged(image_id)
    remains.reserve(image_id)
    assert upkeep.give_back_uploads() == 1
    assert remains.status(image_id) == "queued"
    assert not any(file.exists() for file in files)
    assert remains.reserved() == set()
    assert upkeep.give_back_uploads() == 0


def test_two_hosts_give_an_upload_back_once() -> None:
    image_id = remains.image("saving")
    remains.staged(image_id)
    assert remains.twice_at_once(upkeep.give_back_uploads) == 1
    assert remains.status(image_id) == "queued"


@pytest.mark.parametrize(
    ("was", "age", "size", "bytes_age"),
    [
        ("saving", datetime.timedelta(), None, remains.HOUR),
        ("saving", remains.HOUR, None, datetime.timedelta()),
        ("uploading", remains.HOUR, 5, remains.HOUR),
        ("importing", remains.HOUR, None, remains.HOUR),
        ("queued", remains.HOUR, None, remains.HOUR),
        ("active", remains.HOUR, None, remains.HOUR),
    ],
)
def test_an_upload_that_lives_is_left_alone(
    was: str, age: datetime.timedelta, size: int | None, bytes_age: datetime.timedelta
) -> None:
    """Its record, or its bytes, have moved; or it is none (any more)."""
    image_id = remains.image(was, age=age, size=size)
    files = remains.staged(image_id, age=bytes_age)
    assert upkeep.give_back_uploads() == 0
    assert remains.status(image_id) == was
    assert all(file.exists() for file in files)


def test_what_has_moved_on_is_not_given_back() -> None:
    """The image was looked at, and its import began before it could be given back."""
    image_id = remains.image("importing", size=5)
    files = remains.staged(image_id)
    assert not uploads.give_back(image_id, "uploading")
    assert remains.status(image_id) == "importing"
    assert all(file.exists() for file in files)


def test_what_came_for_a_deleted_image_is_removed() -> None:
    image_id = remains.gone("deleted")
    files = remains.staged(image_id)
    assert not uploads.give_back(image_id, "saving")
    assert remains.status(image_id) == "deleted"
    assert not any(file.exists() for file in files)


def test_a_dead_upload_leaves_nothing_in_the_store() -> None:
    """The API process died between the store and the record."""
    image_id, other = remains.image("saving"), remains.image("uploading")
    file, part = remains.in_store(image_id), remains.in_store(f".{image_id}.3c.part")
    stays = [remains.in_store(name) for name in (other, str(uuid.uuid4()))]
    assert remains.twice_at_once(upkeep.give_back_uploads) == 2
    assert not file.exists()
    assert (
        leftovers.remove(time.time() + 700) == 2
    )  # what bears the name of a staged image is nobody's, too
    assert [one.exists() for one in (part, *stays)] == [False, False, True]


# Staging


def test_staged_files_of_nobody() -> None:
    ids = [
        remains.gone("deleted"),
        remains.image("queued"),
        remains.image("active"),
        str(uuid.uuid4()),
    ]
    remains.new_task(ids[2], "success")
    files = [file for one in ids for file in remains.staged(one, "", ".facts", ".qcow2")]
    assert remains.twice_at_once(upkeep.empty_staging) >= len(ids)
    assert not any(file.exists() for file in files)
    assert upkeep.empty_staging() == 0


def test_staged_files_that_are_waited_for() -> None:
    ids = [remains.image("saving"), remains.image("uploading"), remains.image("importing")]
    copied = remains.image("active")
    remains.new_task(copied, "processing")
    files = [file for one in [*ids, copied] for file in remains.staged(one)]
    young = remains.staged(str(uuid.uuid4()), age=datetime.timedelta())
    assert upkeep.empty_staging() == 0
    assert all(file.exists() for file in [*files, *young])


def test_staged_files_of_the_deleted_go_at_once() -> None:
    """Nobody can wait for them, however young they are."""
    files = remains.staged(remains.gone("deleted"), age=datetime.timedelta())
    assert upkeep.empty_staging() == 1
    assert not any(file.exists() for file in files)


def test_what_is_no_image_s_stays_in_staging() -> None:
    note, directory = staging.path("README.txt"), staging.path("lost+found")
    note.write_bytes(remains.DATA)
    os.utime(note, (0, 0))
    directory.mkdir()
    assert upkeep.empty_staging() == 0
    assert note.exists()
    assert directory.exists()


def test_what_earlier_attempts_were_writing() -> None:
    """What they had finished may be needed, and a download that was broken off may be gone on with."""
    image_id = remains.image("importing")
    remains.new_task(image_id, "processing", attempt=3)
    old = remains.staged(image_id, ".1.part", ".2.part")
    stays = remains.staged(
        image_id, "", ".1", ".2.raw", ".2.facts", ".3.part", ".part", ".0f3a.part"
    )
    stays += remains.staged(image_id, ".12.part", age=datetime.timedelta())
    young = remains.staged(
        remains.image("importing"), ".1.part", age=datetime.timedelta(minutes=50)
    )
    assert remains.twice_at_once(upkeep.empty_staging) >= 1
    assert not any(file.exists() for file in old)
    assert all(file.exists() for file in [*stays, *young])
    assert upkeep.empty_staging() == 0


# Deletions


def test_bytes_of_a_deleted_image() -> None:
    image_id = remains.gone("deleted")
    file = remains.stored(image_id, "pending_delete")
    assert remains.twice_at_once(upkeep.finish_deletions) >= 1
    assert (file.exists(), remains.locations(image_id)) == (False, ["deleted"])
    assert upkeep.finish_deletions() == 0


def test_bytes_that_are_gone_already() -> None:
    image_id = remains.gone("deleted")
    remains.stored(image_id, "pending_delete").unlink()
    assert upkeep.finish_deletions() == 1
    assert remains.locations(image_id) == ["deleted"]


def test_a_location_that_a_living_image_has_lost() -> None:
    image_id = remains.image("active")
    file = remains.stored(image_id, "pending_delete")
    assert upkeep.finish_deletions() == 1
    assert (file.exists(), remains.locations(image_id)) == (False, ["deleted"])


@pytest.mark.parametrize("was", ["deleted", "active"])
def test_a_store_that_does_not_answer_keeps_no_other_waiting(
    was: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even where one run sees nothing but what waits for it."""
    monkeypatch.setattr(upkeep, "_AT_ONCE", 2)
    ids = [remains.gone("deleted") if was == "deleted" else remains.image(was) for _ in range(3)]
    files = [remains.stored(one, "pending_delete") for one in ids]
    for file in files[:2]:  # no store removes a directory
        file.unlink()
        file.mkdir()
    runs = [upkeep.finish_deletions() for _ in range(3)]
    assert runs == [2, 2, 2]
    assert [remains.locations(one) for one in ids] == [["pending_delete"]] * 2 + [["deleted"]]
    assert not files[2].exists()


def test_a_driver_that_raises_anything_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither what a living image has lost, nor a deleted one's data."""
    ids = [remains.image("active"), remains.image("active"), remains.gone("pending_delete")]
    ids.append(remains.gone("pending_delete"))
    files = [remains.stored(one, "pending_delete") for one in ids]
    delete = stores.delete

    def breaks(url: str, metadata: dict[str, str] | None) -> None:
        if url.removeprefix("file://") in (str(files[0]), str(files[2])):
            raise RuntimeError("a driver's own")
        delete(url, metadata)

    monkeypatch.setattr(stores, "delete", breaks)
    assert (upkeep.finish_deletions(), upkeep.scrub()) == (2, 1)
    assert [file.exists() for file in files] == [True, False, True, False]
    assert remains.status(ids[3]) == "deleted"


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
    image_id = remains.image(was)
    file = [remains.stored(image_id, row) for row in rows][-1]
    assert upkeep.finish_deletions() == 0
    assert file.exists()
    assert remains.locations(image_id) == rows


# Scrubbing


@pytest.mark.parametrize("by_glance", [False, True])
def test_scrubbed(by_glance: bool) -> None:
    """Glance marks the rows of a delayed deletion as deleted, too."""
    image_id = remains.gone("pending_delete", age=datetime.timedelta(seconds=5))
    file = remains.stored(image_id, "pending_delete", deleted=by_glance)
    assert upkeep.scrub() == 1
    assert (remains.status(image_id), remains.locations(image_id)) == ("deleted", ["deleted"])
    assert not file.exists()
    assert upkeep.scrub() == 0


def test_scrubbed_by_two_hosts(configure: Configure) -> None:
    configure("[DEFAULT]\nscrub_pool_size = 3")
    ids = [remains.gone("pending_delete") for _ in range(5)]
    files = [remains.stored(one, "pending_delete") for one in ids]
    remains.twice_at_once(upkeep.scrub)
    assert {remains.status(one) for one in ids} == {"deleted"}
    assert not any(file.exists() for file in files)


def test_scrub_time(configure: Configure) -> None:
    configure("[DEFAULT]\nscrub_time = 60")
    young = remains.gone("pending_delete", age=datetime.timedelta(seconds=50))
    old = remains.gone("pending_delete", age=datetime.timedelta(seconds=70))
    files = [remains.stored(one, "pending_delete") for one in (young, old)]
    assert upkeep.scrub() == 1
    assert [remains.status(young), remains.status(old)] == ["pending_delete", "deleted"]
    assert [file.exists() for file in files] == [True, False]


def test_a_deletion_under_way_is_left_to_who_does_it() -> None:
    """Until he must be dead: its locations still count as active, for the case that a store refuses."""
    fresh = remains.gone("pending_delete", age=datetime.timedelta(seconds=50))
    dead = remains.gone("pending_delete")
    files = [remains.stored(one, "active") for one in (fresh, dead)]
    assert upkeep.scrub() == 1
    assert [remains.status(fresh), remains.status(dead)] == ["pending_delete", "deleted"]
    assert [file.exists() for file in files] == [True, False]


@pytest.mark.parametrize("rows", [["pending_delete"], ["pending_delete", "deleted"]])
def test_a_delayed_deletion_is_never_early(configure: Configure, rows: list[str]) -> None:
    """However long ago an immediate one would have been given up; that it has lost a location is no sign."""
    configure("[DEFAULT]\nscrub_time = 604800")
    image_id = remains.gone("pending_delete")
    file, *_ = [remains.stored(image_id, row) for row in rows]
    assert upkeep.scrub() == 0
    assert (remains.status(image_id), file.exists()) == ("pending_delete", True)


@pytest.mark.parametrize("scrub_time", [0, 604800])
def test_a_deletion_at_once_of_an_image_that_had_lost_a_location(
    configure: Configure, scrub_time: int
) -> None:
    """It is not delayed: nobody scrubs it while it is under way, and it does not wait for `scrub_time`."""
    configure(f"[DEFAULT]\nscrub_time = {scrub_time}")
    fresh = remains.gone("pending_delete", age=datetime.timedelta(seconds=50))
    dead = remains.gone("pending_delete")
    for one in (fresh, dead):
        for row in ("pending_delete", "active"):
            remains.stored(one, row)
    assert upkeep.scrub() == 1
    assert [remains.status(fresh), remains.status(dead)] == ["pending_delete", "deleted"]


@pytest.mark.parametrize("whole", [True, False])
def test_images_in_use_keep_no_other_waiting(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """Even where one run sees nothing but them; and they are scrubbed once they are in use no more.

    Whoever wants the `whole` of them has it in one call.
    """
    monkeypatch.setattr(upkeep, "_AT_ONCE", 2)

    def scrub() -> int:
        return upkeep.scrub_all() if whole else upkeep.scrub() + upkeep.scrub()

    ids = [remains.gone("pending_delete", age=(4 - n) * remains.HOUR) for n in range(3)]
    files = [remains.stored(one, "pending_delete") for one in ids]
    used, delete = {str(file) for file in files[:2]}, stores.delete

    def refuse(url: str, metadata: dict[str, str] | None) -> None:
        if url.removeprefix("file://") in used:
            raise errors.Conflict("in use")
        delete(url, metadata)

    monkeypatch.setattr(stores, "delete", refuse)
    assert scrub() == 1
    assert [remains.status(one) for one in ids] == ["pending_delete"] * 2 + ["deleted"]
    used.clear()
    assert scrub() == 2
    assert {remains.status(one) for one in ids} == {"deleted"}


def test_nothing_else_is_scrubbed() -> None:
    ids = [remains.image("active"), remains.image("queued"), remains.gone("deleted")]
    files = [remains.stored(one, "active") for one in ids[:1]]
    assert upkeep.scrub() == 0
    assert [remains.status(one) for one in ids] == ["active", "queued", "deleted"]
    assert files[0].exists()


# Reservations


def test_reservations_of_nobody() -> None:
    over = [
        remains.image("queued"),
        remains.image("active"),
        remains.gone("deleted"),
        remains.gone("pending_delete"),
        "x" * 36,
    ]
    held = [remains.image(was) for was in ("saving", "uploading", "importing")]
    copied, coming = remains.image("active"), "y" * 36
    for one in (copied, coming):  # a legacy task makes its image by itself
        remains.new_task(one, "processing")
    remains.new_task(over[0], "failure")
    for one in [*over, *held, copied, coming]:
        remains.reserve(one)
    assert remains.twice_at_once(upkeep.free_reservations) == len(over)
    assert remains.reserved() == {*held, copied, coming}
    assert upkeep.free_reservations() == 0


# Tasks


def test_pending_tasks_of_deleted_images() -> None:
    """Asked for at the moment of the deletion, or by another service's hand."""
    ids = [
        remains.new_task(remains.gone("deleted")),
        remains.new_task(remains.gone("pending_delete")),
        remains.new_task(str(uuid.uuid4())),
    ]
    assert remains.twice_at_once(cancelling.end_abandoned) == 3
    assert {remains.task(one) for one in ids} == {("failure", "The image was deleted")}
    assert sum(remains.kept(one) for one in ids) == 0
    with db.reading() as session:
        assert all(session.get_one(models.Task, one).expires_at for one in ids)
    assert cancelling.end_abandoned() == 0


def test_a_task_whose_host_is_gone() -> None:
    """It was begun, and nobody goes on with it; the worker that had it cannot write any more."""
    task_id = remains.new_task(
        remains.gone("deleted"), "processing", queue="convert@x", worker="x:1", attempt=4
    )
    assert remains.twice_at_once(cancelling.end_abandoned) == 1
    assert (remains.task(task_id), remains.kept(task_id)) == (
        ("failure", "The image was deleted"),
        0,
    )
    with db.reading() as session:
        assert session.get_one(models.TaskRun, task_id).attempt == 5


def test_tasks_that_are_somebody_s() -> None:
    """The worker's, that of a living image, one that has ended, one whose image is not made yet."""
    held: dict[str, Any] = {"worker": "w:1", "expires": time.time() + 60}
    young = datetime.timedelta(seconds=60)
    found = [
        (remains.new_task(remains.gone("deleted"), **held), "pending"),
        (remains.new_task(remains.gone("deleted"), "processing", **held), "processing"),
        (remains.new_task(remains.gone("deleted"), "processing", age=young), "processing"),
        (remains.new_task(remains.image("active")), "pending"),
        (remains.new_task(remains.image("importing"), "processing"), "processing"),
        (remains.new_task(remains.gone("deleted"), "success"), "success"),
        (remains.new_task(None, kind="import"), "pending"),
        (remains.new_task(str(uuid.uuid4()), "processing", kind="import"), "processing"),
    ]
    assert cancelling.end_abandoned() == 0
    assert [remains.task(one) for one, _ in found] == [(was, None) for _, was in found]


def test_what_is_kept_of_tasks_that_have_ended() -> None:
    over = [remains.new_task(None, "success"), remains.new_task(None, "failure"), "x" * 36]
    with db.transaction() as session:
        session.add(models.FlowState(task_id=over[2], state="{}"))
    live = [remains.new_task(None), remains.new_task(None, "processing")]
    assert remains.twice_at_once(upkeep.forget_tasks) == 5
    assert ([remains.kept(one) for one in over], [remains.kept(one) for one in live]) == (
        [0, 0, 0],
        [2, 2],
    )
    assert upkeep.forget_tasks() == 0


# All of it


def test_a_deletion_at_once_with_its_upkeep() -> None:
    """Of both that end the task, one does; nothing is left."""
    asker = context.Context(
        user_id="u", project_id="p", owner="p", roles=("admin",), is_admin=True, request_id="r"
    )
    image_id = remains.image("importing")
    task_id = remains.new_task(image_id)
    files = remains.staged(image_id)
    with futures.ThreadPoolExecutor(2) as pool:
        deletion, run = pool.submit(removal.delete, asker, image_id), pool.submit(upkeep.run)
        deletion.result()
        run.result()
    upkeep.run()
    assert (remains.status(image_id), remains.task(task_id)) == (
        "deleted",
        ("failure", "The image was deleted"),
    )
    assert not any(file.exists() for file in files)


def test_everything_is_put_right_in_one_run() -> None:
    """One after another: what one part ends, the next ones clear away."""
    dead, deleted = remains.image("saving"), remains.gone("deleted")
    remains.reserve(dead)
    task_id, over = remains.new_task(deleted), remains.new_task(None, "success")
    files = [
        *remains.staged(dead),
        *remains.staged(deleted),
        remains.in_store(dead),
        remains.stored(deleted, "pending_delete"),
    ]
    with db.transaction() as session:
        session.get_one(models.Task, over).expires_at = db.now() - remains.HOUR
    done = upkeep.run()
    assert {what for what, count in done.items() if count} == {
        "uploads given back",
        "tasks ended",
        "staged files removed",
        "deletions finished",
        "rows removed",
    }
    assert not any(file.exists() for file in files)
    assert (remains.status(dead), remains.task(task_id)[0], remains.reserved()) == (
        "queued",
        "failure",
        set(),
    )
    with db.reading() as session:
        assert session.get_one(models.Task, over).deleted
    assert not any(upkeep.run().values())


def test_a_part_that_fails_holds_up_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """The staging area cannot be used: everything else is done all the same."""
    directory = staging.path()
    directory.rmdir()
    directory.write_text("no directory")
    task_id = remains.new_task(remains.gone("deleted"))
    with caplog.at_level(logging.ERROR):
        done = upkeep.run()
    assert (done["tasks ended"], done["staged files removed"]) == (1, 0)
    assert remains.task(task_id)[0] == "failure"
    assert "staged files removed" in caplog.text
