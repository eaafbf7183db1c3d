"""DELETE /v2/images/{id} (contract sections 2.1.4 and 5.5); imports that it stops are tested elsewhere."""

import concurrent.futures
import io
import pathlib
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from glance_store import exceptions as store_errors
from sqlalchemy import orm

from images import config, db, models, stores, upkeep
from tests.functional.conftest import OWNER, STRANGER, Api, Caller

Execute = Callable[[Any], None]
DATA = b"x" * 5000
FORMATS = {"disk_format": "raw", "container_format": "bare"}
DELAYED = "delayed_delete = true"


def delete(api: Api, image_id: str) -> int:
    return api.ask("DELETE", f"/v2/images/{image_id}").status_code


def filled(api: Api, **fields: Any) -> str:
    image_id = api.create(**(FORMATS | fields))
    assert api.put(image_id, DATA).status_code == 204
    return image_id


def record(image_id: str) -> tuple[str, bool]:
    """The status, and whether the row counts as deleted."""
    with db.reading() as session:
        image = session.get_one(models.Image, image_id)
        assert (image.deleted_at is not None) == image.deleted
        return image.status, image.deleted


def locations(image_id: str) -> list[str]:
    """The statuses of the image's locations."""
    row = models.ImageLocation
    with db.reading() as session:
        return list(session.scalars(sa.select(row.status).where(row.image_id == image_id)))


def parts(image_id: str) -> int:
    """How many properties, tags and members the image has."""
    count = 0
    with db.reading() as session:
        for table in (models.ImageProperty, models.ImageTag, models.ImageMember):
            rows = sa.select(table).where(table.image_id == image_id, table.deleted.is_(False))
            count += len(session.scalars(rows).all())
    return count


def files(room: pathlib.Path) -> list[str]:
    """What lies in staging and in the stores."""
    return sorted(file.name for file in room.glob("*/*") if file.is_file())


def test_all_of_it_goes(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = filled(api, tags=["a", "b"], some="property")
    assert files(tmp_path) == [image_id]
    assert delete(api, image_id) == 204
    assert files(tmp_path) == []
    assert record(image_id) == ("deleted", True)
    assert (locations(image_id), parts(image_id)) == (["deleted"], 0)
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    assert delete(api, image_id) == 404
    assert api.ask("POST", "/v2/images", {"id": image_id}).status_code == 409


@pytest.mark.parametrize(
    ("visibility", "project", "roles", "code"),
    [
        ("private", OWNER, "reader", 403),
        ("private", STRANGER, "member,reader", 404),
        ("public", STRANGER, "member,reader", 403),
        ("community", STRANGER, "member,reader", 403),
        ("public", STRANGER, "admin", 204),
        ("private", STRANGER, "admin", 204),
        ("private", OWNER, "member,reader", 204),
    ],
)
def test_who_may(caller: Caller, visibility: str, project: str, roles: str, code: int) -> None:
    image_id = caller(roles="admin").create(visibility=visibility)
    assert delete(caller(project=project, roles=roles), image_id) == code


@pytest.mark.parametrize(
    ("project", "roles", "code"),
    [
        (OWNER, "member,reader", 403),
        (OWNER, "admin", 403),
        (STRANGER, "admin", 403),
        (STRANGER, "member,reader", 404),
    ],
)
def test_protected(caller: Caller, project: str, roles: str, code: int) -> None:
    image_id = caller().create(protected=True)
    assert delete(caller(project=project, roles=roles), image_id) == code
    api = caller()
    change = {"op": "replace", "path": "/protected", "value": False}
    assert api.patch(image_id, change).status_code == 200
    assert delete(api, image_id) == 204


def test_no_body(api: Api) -> None:
    image_id = api.create()
    assert api.ask("DELETE", f"/v2/images/{image_id}", {}).status_code == 400


@pytest.mark.parametrize("options", ["", DELAYED])
@pytest.mark.parametrize(
    "status", ["queued", "saving", "uploading", "importing", "active", "deactivated", "killed"]
)
def test_any_status(caller: Caller, execute: Execute, options: str, status: str) -> None:
    api = caller(options=options)
    image_id = api.create()
    execute(sa.update(models.Image).values(status=status))
    assert delete(api, image_id) == 204
    assert record(image_id) == ("deleted", True)


@pytest.mark.parametrize("options", ["", DELAYED])
@pytest.mark.parametrize("status", ["pending_delete", "deleted"])
@pytest.mark.parametrize("roles", ["member,reader", "admin"])
def test_gone_is_gone(
    caller: Caller, execute: Execute, options: str, status: str, roles: str
) -> None:
    api = caller(options=options, roles=roles)
    image_id = api.create()
    execute(sa.update(models.Image).values(status=status, deleted=True, deleted_at=db.now()))
    assert delete(api, image_id) == 404
    assert api.ask("GET", f"/v2/images/{image_id}").status_code == 404
    assert api.ask("GET", "/v2/images").get_json()["images"] == []


def test_staged(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = api.create()
    assert api.put(image_id, DATA, "stage").status_code == 204
    assert files(tmp_path)
    assert delete(api, image_id) == 204
    assert files(tmp_path) == []


class Interrupted(io.BytesIO):
    """A body in whose middle something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__(b"x" * (8 << 20))
        self._happens, self._half = happens, 4 << 20

    def read(self, size: int | None = -1, /) -> bytes:
        if self._half <= self.tell():
            self._half = self.getbuffer().nbytes + 1
            self._happens()
        return super().read(size)


@pytest.mark.parametrize("quota", ["0", "1GB"])
@pytest.mark.parametrize(("what", "code"), [("file", 410), ("stage", 404)])
def test_while_bytes_arrive(
    caller: Caller, tmp_path: pathlib.Path, what: str, code: int, quota: str
) -> None:
    api = caller(options=f"user_storage_quota = {quota}")
    image_id = api.create(**FORMATS)
    seen: list[int] = []

    def interrupt() -> None:
        other = Api(api.application)
        asked = threading.Thread(target=lambda: seen.append(delete(other, image_id)))
        asked.start()
        asked.join()

    answer = api.ask(
        "PUT",
        f"/v2/images/{image_id}/{what}",
        input_stream=Interrupted(interrupt),
        content_type="application/octet-stream",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert (seen, answer.status_code) == ([204], code)
    assert files(tmp_path) == []
    assert record(image_id) == ("deleted", True)
    with db.reading() as session:
        assert session.scalars(sa.select(models.Reservation)).all() == []


@pytest.mark.parametrize("stored", [False, True])
def test_while_bytes_are_stored(
    caller: Caller, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, stored: bool
) -> None:
    """The deletion comes right before the store takes the file, or right after: never a 503 (seen once)."""
    api = caller()
    image_id = api.create(**FORMATS)
    add = stores.add

    def interrupted(*arguments: Any) -> tuple[str, dict[str, str]]:
        place = add(*arguments) if stored else None
        with concurrent.futures.ThreadPoolExecutor(1) as other:
            assert other.submit(delete, Api(api.application), image_id).result() == 204
        return place or add(*arguments)

    monkeypatch.setattr(stores, "add", interrupted)
    answer = api.put(image_id, DATA)
    assert (answer.status_code, "was deleted" in answer.text) == (410, True)
    assert files(tmp_path) == []
    assert record(image_id) == ("deleted", True)


# Tasks


def importing(api: Api) -> tuple[str, str]:
    """An image whose import nobody has begun, and its task, with all that is kept of it."""
    image_id = api.create(**FORMATS)
    assert api.put(image_id, DATA, "stage").status_code == 204
    body = {"method": {"name": "glance-direct"}}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 202
    task_id = api.show(image_id)["os_glance_import_task"]
    with db.transaction() as session:
        session.add(models.TaskSecret(task_id=task_id, value="sealed"))
        session.add(models.FlowState(task_id=task_id, state="{}"))
    return image_id, task_id


def task(task_id: str) -> tuple[str, str | None, bool]:
    """A task's status and message, and whether it will go out of sight."""
    with db.reading() as session:
        row = session.get_one(models.Task, task_id, options=[orm.joinedload(models.Task.info)])
        return row.status, row.info.message, row.expires_at is not None


def kept() -> int:
    """Rows that workers keep of tasks."""
    with db.reading() as session:
        return sum(
            session.scalars(sa.select(sa.func.count()).select_from(row)).one()
            for row in (models.TaskSecret, models.FlowState)
        )


@pytest.mark.parametrize("options", ["", DELAYED])
def test_a_task_that_nobody_has_begun_ends(caller: Caller, options: str) -> None:
    """In the same moment, so that it does not wait for a worker that may never come."""
    api = caller(options=options)
    image_id, task_id = importing(api)
    _, other = importing(api)
    assert delete(api, image_id) == 204
    assert task(task_id) == ("failure", "The image was deleted", True)
    assert task(other) == ("pending", None, False)
    assert kept() == 2


def test_a_task_that_was_begun_is_its_worker_s_to_end(api: Api, execute: Execute) -> None:
    image_id, task_id = importing(api)
    execute(sa.update(models.Task).values(status="processing"))
    assert delete(api, image_id) == 204
    assert task(task_id) == ("processing", None, False)
    assert kept() == 2


@pytest.mark.parametrize("options", ["", DELAYED])
@pytest.mark.parametrize("refused", [False, True])
def test_a_copy_that_nobody_has_begun(
    caller: Caller, several_stores: str, options: str, refused: bool
) -> None:
    """It ends with the image, and not where the image stays because its store does not let go."""
    api = caller(options=f"{options}\n{several_stores}".strip(), roles="admin")
    image_id = filled(api)
    body = {"method": {"name": "copy-image"}, "stores": ["cheap"]}
    assert api.ask("POST", f"/v2/images/{image_id}/import", body).status_code == 202
    task_id = api.show(image_id)["os_glance_import_task"]
    stays = refused and not options
    Store(stores._drivers()["fast"]).fault = in_use() if refused else None
    assert delete(api, image_id) == (409 if stays else 204)
    assert task(task_id)[0] == ("pending" if stays else "failure")


def statements(work: Callable[[], object]) -> list[str]:
    """What goes to the database."""
    seen: list[str] = []

    def hear(_: object, __: object, statement: str, *___: object) -> None:
        if not statement.startswith("BEGIN"):
            seen.append(statement)

    sa.event.listen(db.engine(), "before_cursor_execute", hear)
    try:
        work()
    finally:
        sa.event.remove(db.engine(), "before_cursor_execute", hear)
    return seen


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (lambda api: api.create(**FORMATS), 8),
        (lambda api: filled(api, some="property", tags=["a"]), 10),
        (lambda api: importing(api)[0], 12),
    ],
    ids=["queued", "active", "importing"],
)
def test_what_it_costs(api: Api, make: Callable[[Api], str], most: int) -> None:
    """An image without a pending task pays nothing for those that have one."""
    image_id = make(api)
    sent = statements(lambda: delete(api, image_id))
    assert len(sent) <= most, "\n".join(sent)


# Stores that do not let go


class Store:
    """The file store, whose `delete` may be told to fail as other stores do."""

    def __init__(self, driver: Any) -> None:
        self.fault: Exception | None = None
        self._delete = driver.delete
        driver.delete = self.delete

    def delete(self, location: Any, **options: Any) -> None:
        if self.fault:
            raise self.fault
        self._delete(location, **options)


def in_use() -> Exception:
    fault: Exception = store_errors.InUseByStore()
    return fault


def has_snapshot() -> Exception:
    fault: Exception = store_errors.HasSnapshot()
    return fault


@pytest.mark.parametrize("status", ["active", "deactivated"])
@pytest.mark.parametrize("fault", [in_use, has_snapshot])
def test_data_in_use_keep_their_image(
    api: Api,
    execute: Execute,
    tmp_path: pathlib.Path,
    fault: Callable[[], Exception],
    status: str,
) -> None:
    image_id = filled(api, tags=["a"], some="property")
    execute(sa.update(models.Image).values(status=status))
    store = Store(stores._drivers()["file"])
    store.fault = fault()
    before = api.show(image_id)
    answer = api.ask("DELETE", f"/v2/images/{image_id}")
    assert answer.status_code == 409
    assert "in use" in answer.text
    assert api.show(image_id) | {"updated_at": ""} == before | {"updated_at": ""}
    assert (record(image_id), locations(image_id)) == ((status, False), ["active"])
    store.fault = None
    assert delete(api, image_id) == 204
    assert files(tmp_path) == []


def test_data_in_use_in_one_of_two_stores(
    caller: Caller, several_stores: str, execute: Execute, tmp_path: pathlib.Path
) -> None:
    """What the other store has let go of is gone; the image is there, with what it still has."""
    api = caller(options=several_stores)
    image_id = filled(api)
    (tmp_path / "cheap" / image_id).write_bytes(DATA)
    row = {"value": f"file://{tmp_path}/cheap/{image_id}", "meta_data": {"store": "cheap"}}
    execute(sa.insert(models.ImageLocation).values(image_id=image_id, **row))
    store = Store(stores._drivers()["cheap"])
    store.fault = in_use()
    assert delete(api, image_id) == 409
    image = api.show(image_id)
    assert (image["status"], image["stores"]) == ("active", "cheap")
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    store.fault = None
    assert delete(api, image_id) == 204
    assert files(tmp_path) == []


def test_data_out_of_reach_wait_for_upkeep(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = filled(api)
    store = Store(stores._drivers()["file"])
    store.fault = store_errors.BackendException()
    assert delete(api, image_id) == 204
    assert (record(image_id), locations(image_id)) == (("deleted", True), ["pending_delete"])
    assert upkeep.finish_deletions() == 1
    assert files(tmp_path) == [image_id]
    store.fault = None
    upkeep.finish_deletions()
    assert (files(tmp_path), locations(image_id)) == ([], ["deleted"])
    assert upkeep.finish_deletions() == 0


# Delayed deletion


def test_delayed(caller: Caller, tmp_path: pathlib.Path) -> None:
    """Nobody sees it, the data stay until they are scrubbed."""
    api = caller(options=f"{DELAYED}\nscrub_time = 60")
    image_id = filled(api, tags=["a"], some="property")
    assert delete(api, image_id) == 204
    assert (record(image_id), locations(image_id)) == (("pending_delete", True), ["pending_delete"])
    assert (parts(image_id), files(tmp_path)) == (0, [image_id])
    for who in (api, caller(options=DELAYED, roles="admin")):
        assert who.ask("GET", f"/v2/images/{image_id}").status_code == 404
        assert who.ask("GET", f"/v2/images/{image_id}/file").status_code == 404
        assert who.ask("GET", "/v2/images").get_json()["images"] == []
        assert who.patch(image_id).status_code in (400, 404)
        assert delete(who, image_id) == 404
    config.CONF.set_override("scrub_time", 60)
    assert upkeep.scrub() == 0
    config.CONF.clear_override("scrub_time")
    assert upkeep.scrub() == 1
    assert (record(image_id), locations(image_id)) == (("deleted", True), ["deleted"])
    assert files(tmp_path) == []
    assert upkeep.scrub() == 0


def test_delayed_without_data(caller: Caller) -> None:
    api = caller(options=DELAYED)
    image_id = api.create()
    assert delete(api, image_id) == 204
    assert record(image_id) == ("deleted", True)


def test_delayed_does_not_count(caller: Caller) -> None:
    api = caller(options=f"{DELAYED}\nuser_storage_quota = {len(DATA)}")
    assert delete(api, filled(api)) == 204
    filled(api)
