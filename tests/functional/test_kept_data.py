"""What is stored stays stored, whatever else is done to its image, or to a store, at the same time."""

import os
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from glance_store import exceptions as store_errors

from images import db, errors, imports, leases, models, restoring, staging, stores, upkeep
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from workers import engine, jobs

DATA = os.urandom(1 << 20)
NAMES = ("one", "two", "three")
COPY = {"name": "copy-image"}
LONG_AGO = {"updated_at": db.now().replace(year=2020)}


def start(caller: Caller, room: pathlib.Path, more: str = "", two: str = "two") -> Api:
    """An administrator of a service with three file stores."""
    return caller(
        roles="admin",
        options=importing.file_stores(
            room, {name: name for name in NAMES} | {"two": two}, default=more
        ),
    )


@pytest.fixture
def api(caller: Caller, tmp_path: pathlib.Path) -> Api:
    return start(caller, tmp_path)


class Meanwhile(importing.Watch):
    """Has something done when a step begins, or in each call of it."""

    def __init__(self, plan: imports.Plan, step: str, work: Callable[[], object]) -> None:
        super().__init__(plan)
        self._step, self._work = step, work

    def report(self, step: str, done: int, total: int | None) -> None:
        is_first = step not in self.steps
        super().report(step, done, total)
        if step == self._step and is_first:
            self._work()


def run(task_id: str, step: str = "", work: Callable[[], object] = lambda: None) -> None:
    """Do a task, whose outcome the records tell; it is handed back where the work leaves it."""
    plan = imports.begin(task_id, "worker")
    assert plan is not None
    with Meanwhile(plan, step, work) as watch:
        try:
            engine.run(plan, watch)
        except errors.ImportFailed:
            pass
        except errors.Abandoned:
            leases.hand_back(plan.lease)


def filled(api: Api, **stored: Any) -> str:
    """An active image, in the store `one` or in these `stores`."""
    image_id = importing.staged(api, DATA)
    importing.imported(api, image_id, **stored)
    return image_id


def check(api: Api, image_id: str, room: pathlib.Path, *names: str) -> None:
    """The image is active, and whole in these stores; its record says so, and no other store has it."""
    image = api.show(image_id)
    assert (image["status"], image["stores"]) == ("active", ",".join(names))
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert {name for name in NAMES if (room / name / image_id).exists()} == set(names)
    assert all((room / name / image_id).read_bytes() == DATA for name in names)


def spoil(room: pathlib.Path, name: str) -> None:
    """Let a store's directory be none."""
    (room / name).rmdir()
    (room / name).touch()


def wait_for_store(api: Api, image_id: str, name: str) -> None:
    """Stores are written at the same time."""
    for _ in range(1000):
        if name in api.show(image_id).get("stores", "").split(","):
            return
        threading.Event().wait(0.02)
    raise AssertionError(f"{name} was never written")


# Locations that would leave while a task holds the image


@pytest.mark.parametrize("way", ["DELETE", "PATCH"])
def test_the_original_cannot_leave_while_it_is_copied(
    api: Api, tmp_path: pathlib.Path, way: str
) -> None:
    """When the copies failed and were taken back, nothing would be left."""
    image_id = filled(api)
    task_id, answers = importing.asked(api, image_id, COPY, stores=["two", "three"]), []

    def leave() -> None:
        wait_for_store(api, image_id, "two")
        if way == "DELETE":
            answers.append(api.ask("DELETE", f"/v2/stores/one/{image_id}"))
        else:
            places = [one["metadata"]["store"] for one in api.show(image_id)["locations"]]
            remove = {"op": "remove", "path": f"/locations/{places.index('one')}"}
            answers.append(api.patch(image_id, remove))
        spoil(tmp_path, "three")

    run(task_id, "copy:three", leave)
    assert [one.status_code for one in answers] == [409]
    assert "prior operation is still in progress" in answers[0].text
    check(api, image_id, tmp_path, "one")
    importing.imported(api, image_id, COPY, stores=["two"])
    assert api.ask("DELETE", f"/v2/stores/one/{image_id}").status_code == 204
    check(api, image_id, tmp_path, "two")


def test_no_copy_goes_where_data_are_being_removed(api: Api, tmp_path: pathlib.Path) -> None:
    """A removal that takes its time would take the copy."""
    image_id = filled(api, stores=["one", "two"])
    answers: list[int] = []

    def copy(_: object) -> None:
        for chosen in ({"stores": ["two"]}, {"all_stores": True}):
            body = {"method": COPY} | chosen
            answers.append(api.ask("POST", f"/v2/images/{image_id}/import", body).status_code)

    Store("two").before_delete = copy
    assert api.ask("DELETE", f"/v2/stores/two/{image_id}").status_code == 204
    assert answers == [409, 409]
    check(api, image_id, tmp_path, "one")
    importing.imported(api, image_id, COPY, stores=["two"])
    check(api, image_id, tmp_path, "one", "two")


class Store:
    """A file store that has something done before it deletes."""

    def __init__(self, name: str) -> None:
        driver = stores._drivers()[name]
        self.before_delete: Callable[[object], object] = lambda _: None
        self._delete = driver.delete
        driver.delete = self.delete

    def delete(self, location: Any, **options: Any) -> None:
        self.before_delete(location)
        self._delete(location, **options)


def test_a_store_that_keeps_the_data_of_an_image_deleted_meanwhile(
    api: Api, tmp_path: pathlib.Path
) -> None:
    """Its location waits for upkeep, and is not made active again."""
    image_id = filled(api, stores=["one", "two"])
    store = Store("two")

    def refuse(_: object) -> None:
        assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
        raise store_errors.BackendException

    store.before_delete = refuse
    assert api.ask("DELETE", f"/v2/stores/two/{image_id}").status_code == 503
    store.before_delete = lambda _: None
    assert upkeep.finish_deletions() == 1
    assert not (tmp_path / "two" / image_id).exists()
    with db.reading() as session:
        left = session.scalars(sa.select(models.ImageLocation.status).distinct()).all()
    assert left == ["deleted"]


# Deletion that waits to be scrubbed


@pytest.mark.parametrize("kind", ["import", "copy"])
def test_a_deletion_that_is_delayed_keeps_what_a_task_has_stored(
    caller: Caller, tmp_path: pathlib.Path, kind: str
) -> None:
    api = start(caller, tmp_path, "delayed_delete = true")
    if kind == "copy":
        image_id = filled(api)
        task_id = importing.asked(api, image_id, COPY, stores=["two", "three"])
    else:
        image_id, some = importing.staged(api, DATA), ["two", "three"]
        task_id = importing.asked(api, image_id, stores=some, all_stores_must_succeed=False)

    def delete() -> None:
        wait_for_store(api, image_id, "two")
        assert api.ask("DELETE", f"/v2/images/{image_id}").status_code == 204
        threading.Event().wait(0.3)  # a heartbeat hears of it

    run(task_id, "copy:three" if kind == "copy" else "store:three", delete)
    restoring.restore(image_id)
    check(api, image_id, tmp_path, *(["one", "two"] if kind == "copy" else ["two"]))


# Upkeep


def test_upkeep_lets_data_be_that_came_while_it_was_at_work(
    api: Api, tmp_path: pathlib.Path
) -> None:
    """It has looked at both images when the deletion of the one that is gone takes its time."""
    gone, image_id = filled(api), filled(api)
    with db.transaction() as session:  # what is left where a store was away when an import failed
        image = sa.update(models.Image)
        nothing = dict.fromkeys(("size", "virtual_size", "checksum", "os_hash_algo"))
        session.execute(image.values(status="queued", **nothing))
        session.execute(image.where(models.Image.id == gone).values(status="deleted", deleted=True))
        left = {"status": "pending_delete"} | LONG_AGO
        session.execute(sa.update(models.ImageLocation).values(left))

    def fill(_: object) -> None:
        store.before_delete = lambda _: None
        assert api.put(image_id, DATA, "stage").status_code == 204
        importing.imported(api, image_id)

    store = Store("one")
    store.before_delete = fill
    assert upkeep.finish_deletions() == 2
    check(api, image_id, tmp_path, "one")
    assert not (tmp_path / "one" / gone).exists()


def test_upkeep_keeps_nobody_waiting_for_a_store_that_is_away(
    api: Api, tmp_path: pathlib.Path
) -> None:
    """It holds an image's row while it removes what the image has lost: not while a store does not answer."""
    image_id = filled(api, stores=["one", "two"])
    with db.transaction() as session:
        session.execute(
            sa.update(models.ImageLocation)
            .where(models.ImageLocation.value.contains("/two/"))
            .values({"status": "pending_delete"} | LONG_AGO)
        )
    waited: list[str] = []

    def time_out(_: object) -> int:
        change = {"op": "replace", "path": "/name", "value": "changed meanwhile"}
        waited.append(api.patch(image_id, change).get_json()["name"])
        raise store_errors.RemoteServiceUnavailable

    driver = stores._drivers()["two"]
    get_size, driver.get_size = driver.get_size, time_out
    assert upkeep.finish_deletions() == 1
    assert waited == ["changed meanwhile"]
    assert (tmp_path / "two" / image_id).exists()
    driver.get_size = get_size
    assert upkeep.finish_deletions() == 1
    check(api, image_id, tmp_path, "one")


def test_a_store_that_has_left_the_configuration(caller: Caller, tmp_path: pathlib.Path) -> None:
    """A task that was to write to it ends."""
    api = start(caller, tmp_path)
    chosen: list[dict[str, Any]] = [
        {"stores": ["one", "two"]},
        {"stores": ["one", "two"], "all_stores_must_succeed": False},
    ]
    asked = []
    for members in chosen:
        image_id = importing.staged(api, DATA)
        asked.append((image_id, importing.asked(api, image_id, **members)))
    api = caller(roles="admin", options=importing.file_stores(tmp_path, {"one": "one"}))
    for _, task_id in asked:
        run(task_id)
    (failed, _), (image_id, _) = asked
    task = importing.task_of(api, failed)
    assert (task["status"], "no store two here" in task["message"]) == ("failure", True), task
    assert api.show(failed)["status"] == "queued"
    check(api, image_id, tmp_path, "one")
    assert api.show(image_id)["os_glance_failed_import"] == "two"


def test_a_copy_of_an_image_whose_lost_location_has_no_date(
    api: Api, tmp_path: pathlib.Path
) -> None:
    """As Glance's database may have it."""
    image_id = filled(api, stores=["one", "two"])
    with db.transaction() as session:
        location = models.ImageLocation
        session.execute(
            sa.update(location)
            .where(location.value.contains("/two/"))
            .values(status="pending_delete", updated_at=None, created_at=LONG_AGO["updated_at"])
        )
    importing.imported(api, image_id, COPY, stores=["two"])
    check(api, image_id, tmp_path, "one", "two")


# What a store has taken is what was digested


def test_a_copy_that_the_disk_has_spoilt_is_made_again(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = importing.staged(api, DATA)
    spoilt: list[pathlib.Path] = []

    class Rotten(importing.Watch):
        def report(self, step: str, done: int, total: int | None) -> None:
            super().report(step, done, total)
            if step.startswith("store:") and done == total and not spoilt:
                for part in (tmp_path / step.removeprefix("store:")).glob(".*.part"):
                    if part.stat().st_nlink == 1:  # the other store has linked the staged file
                        spoilt.append(part)
                        with part.open("r+b") as file:
                            file.write(bytes([DATA[0] ^ 1]))

    plan = imports.begin(importing.asked(api, image_id, stores=["one", "two"]), "worker")
    assert plan is not None
    with Rotten(plan) as watch:
        engine.run(plan, watch)
    assert spoilt
    check(api, image_id, tmp_path, "one", "two")


def test_a_staged_file_that_is_changed_after_it_was_digested(
    api: Api, tmp_path: pathlib.Path
) -> None:
    image_id = importing.staged(api, DATA)

    def change() -> None:
        with staging.path(image_id).open("r+b") as file:
            file.write(b"other bytes")

    run(importing.asked(api, image_id, all_stores=True), "store:one", change)
    task = importing.task_of(api, image_id)
    assert (task["status"], "changed" in task["message"]) == ("failure", True), task
    assert api.show(image_id)["status"] == "queued"
    assert not any(list((tmp_path / name).iterdir()) for name in (*NAMES, "staging"))


def test_a_store_that_works_for_the_next_worker_has_not_failed(
    api: Api, tmp_path: pathlib.Path
) -> None:
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id, all_stores=True, all_stores_must_succeed=False)
    stores._drivers()
    spoil(tmp_path, "three")

    def leave() -> None:
        for _ in range(1000):
            if api.show(image_id)["os_glance_failed_import"] == "three":
                raise errors.Abandoned
            threading.Event().wait(0.02)

    run(task_id, "store:two", leave)
    (tmp_path / "three").unlink()
    (tmp_path / "three").mkdir()
    run(task_id)
    check(api, image_id, tmp_path, *NAMES)
    assert api.show(image_id)["os_glance_failed_import"] == ""


# Locations that name no store


def test_images_of_the_time_of_a_single_store(caller: Caller, tmp_path: pathlib.Path) -> None:
    """They are where their URL says, which is not the default store here; no copy replaces the original."""
    api = caller(roles="admin")
    image_id = api.create(**importing.FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    api = start(caller, tmp_path, two="images")
    (tmp_path / "two").symlink_to(tmp_path / "images")
    check(api, image_id, tmp_path, "two")
    body = {"method": COPY, "stores": ["two"]}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 400
    stores._drivers()
    spoil(tmp_path, "three")
    importing.refused(api, image_id, COPY, all_stores=True)
    check(api, image_id, tmp_path, "two")
    importing.imported(api, image_id, COPY, stores=["one"])
    assert api.ask("DELETE", f"/v2/stores/two/{image_id}").status_code == 204
    check(api, image_id, tmp_path, "one")


@pytest.mark.parametrize("metadata", [{"backend": "two"}, {"store": "a former name"}, {}])
def test_locations_that_name_their_store_in_other_ways(
    api: Api, tmp_path: pathlib.Path, metadata: dict[str, str]
) -> None:
    image_id = filled(api, stores=["one", "two"])
    with db.transaction() as session:
        rows = session.scalars(sa.select(models.ImageLocation)).all()
        next(row for row in rows if "/two/" in row.value).meta_data = metadata
    check(api, image_id, tmp_path, "one", "two")
    assert api.ask("DELETE", f"/v2/stores/two/{image_id}").status_code == 204
    check(api, image_id, tmp_path, "one")


# A store that cannot be used


def test_a_store_that_cannot_be_used_keeps_nobody_from_the_others(
    caller: Caller, tmp_path: pathlib.Path
) -> None:
    """Swift, which wants to write to a directory that is not there: glance_store fails for all stores."""
    bad = f"swift_buffer_on_upload = true\nswift_upload_buffer_dir = {tmp_path}/none"
    api = caller(
        roles="admin",
        options=f"enabled_backends = one:file,bad:swift\n[one]\nfilesystem_store_datadir = {tmp_path}/one\n"
        f"[bad]\n{bad}\n[glance_store]\ndefault_backend = one\n"
        f"[os_glance_staging_store]\nfilesystem_store_datadir = {tmp_path}/staging\n",
    )
    image_id = api.create(**importing.FORMATS)
    answer = api.put(image_id, DATA, X_Image_Meta_Store="bad")
    assert (answer.status_code, "The store bad lacks" in answer.text) == (503, True), answer.text
    assert api.show(image_id)["status"] == "queued"
    assert api.put(image_id, DATA).status_code == 204
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    other = importing.staged(api, DATA)
    task_id = importing.asked(api, other, all_stores=True, all_stores_must_succeed=False)
    assert jobs.run_import(task_id) == "active"
    assert api.show(other)["os_glance_failed_import"] == "bad"
