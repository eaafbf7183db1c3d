"""Uploads that meet one another, upkeep, a task, or a database whose answer is lost."""

import contextlib
import datetime
import functools
import hashlib
import io
import os
import pathlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from glance_store import exceptions as store_errors
from sqlalchemy import exc, orm

from images import db, errors, models, staging, stores, upkeep, uploads
from tests import web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from workers import jobs

MIB = 1 << 20
DATA = os.urandom(MIB)
COPY = {"name": "copy-image"}
LISTS = f"{web.LOOPBACK}allowed_hosts = [127.0.0.1]\n"


def status(image_id: str) -> str:
    with db.reading() as session:
        return session.get_one(models.Image, image_id).status


def reserved() -> list[str]:
    """Ids of the images for which something is reserved."""
    with db.reading() as session:
        return list(session.scalars(sa.select(models.Reservation.image_id)))


@contextlib.contextmanager
def listening(event: str, work: Callable[[orm.Session], None]) -> Iterator[None]:
    """What is done at an event of each session meanwhile."""
    sa.event.listen(orm.Session, event, work)
    try:
        yield
    finally:
        sa.event.remove(orm.Session, event, work)


def fault(text: str, name: str) -> exc.OperationalError:
    """What SQLite says of a COMMIT."""
    said = sqlite3.OperationalError(text)
    said.sqlite_errorname = name
    return exc.OperationalError("COMMIT", {}, said)


def test_the_answer_to_the_commit_is_lost(api: Api, tmp_path: pathlib.Path) -> None:
    """The record is written: the data stay where it points, and the client is told that they are there."""
    image_id, lost = api.create(**importing.FORMATS), list[bool]()

    def lose(_: orm.Session) -> None:
        if not lost and status(image_id) == "active":
            lost.append(True)
            raise fault("disk I/O error", "SQLITE_IOERR")

    with listening("after_commit", lose):
        answer = api.put(image_id, DATA)
    assert (lost, answer.status_code) == ([True], 204)
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert not list(staging.path().iterdir())


class Body(io.RawIOBase):
    """A body in whose middle something happens."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._data, self._meanwhile = io.BytesIO(DATA), meanwhile
        self._pieces = 0

    def seek(self, *_: int) -> int:
        return 0

    def tell(self) -> int:
        return 0

    def readable(self) -> bool:
        return True

    def readinto(self, room: Any) -> int:
        self._pieces += 1
        if self._pieces == 2:
            self._meanwhile()
        return self._data.readinto(memoryview(room)[: MIB // 4])


def send(api: Api, image_id: str, what: str, meanwhile: Callable[[], object]) -> int:
    """PUT /file or /stage with such a body; the status of the answer."""
    answer = api.ask(
        "PUT",
        f"/v2/images/{image_id}/{what}",
        input_stream=Body(meanwhile),
        content_type="application/octet-stream",
        environ_overrides={"CONTENT_LENGTH": str(MIB)},
    )
    return answer.status_code


def test_an_import_that_is_asked_for_while_the_bytes_are_staged(api: Api) -> None:
    """It would fail, and give the image back: the next one to stage would meet the first one's end."""
    image_id, answers = api.create(**importing.FORMATS), []

    def ask() -> None:
        body = {"method": importing.DIRECT}
        other = Api(api.application)
        answers.append(other.ask("POST", f"/v2/images/{image_id}/import", body))

    assert send(api, image_id, "stage", ask) == 204
    assert [(one.status_code, "still being staged" in one.text) for one in answers] == [(409, True)]
    importing.imported(api, image_id)
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA


class Store:
    """A file store in which something happens: before it takes a file, and when it has taken one."""

    def __init__(self) -> None:
        driver = stores._drivers()["file"]
        self.before: Callable[[], object] = bool
        self.behind: Callable[[], object] = bool
        self._best, driver._find_best_datadir = driver._find_best_datadir, self._find
        self._metadata, driver._get_metadata = driver._get_metadata, self._describe

    def _find(self, size: int) -> str:
        self.before()
        return str(self._best(size))

    def _describe(self, path: str) -> Any:
        self.behind()
        return self._metadata(path)


def make_old(image_id: str) -> None:
    """Nothing of an upload has moved for more than an hour."""
    past = time.time() - 4000
    for file in staging.path().glob(f"{image_id}*"):
        os.utime(file, (past, past))
    before = db.now() - datetime.timedelta(seconds=4000)
    image = sa.update(models.Image).where(models.Image.id == image_id)
    with db.transaction() as session:
        session.execute(image.values(updated_at=before))


def test_an_upload_whose_store_takes_an_hour_is_not_dead(
    api: Api, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows a sign of life now and then, of which upkeep hears."""
    monkeypatch.setattr("images.uploads._SIGN_OF_LIFE", 0)
    image_id, given_back = api.create(**importing.FORMATS), list[int]()

    def begin() -> None:
        os.link(staging.path(image_id), tmp_path / "another link")  # so that it is copied
        make_old(image_id)

    store = Store()
    store.before = begin
    store.behind = lambda: given_back.append(upkeep.give_back_uploads())
    answer = api.put(image_id, DATA)
    assert (answer.status_code, given_back) == (204, [0]), answer.text
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA


@pytest.mark.parametrize("linked", [True, False])
def test_an_upload_that_was_paused_leaves_its_successor_s_data(
    api: Api, tmp_path: pathlib.Path, linked: bool
) -> None:
    """It comes to its end after upkeep has given the image back and somebody else has filled it."""
    image_id, other = api.create(**importing.FORMATS), os.urandom(1000)
    store = Store()

    def pause() -> None:
        store.before = bool
        for name in () if linked else ("another link", "and another"):  # so that it is copied
            os.link(staging.path(image_id), tmp_path / name)
        make_old(image_id)
        assert upkeep.give_back_uploads() == 1
        assert Api(api.application).put(image_id, other).status_code == 204

    store.before = pause
    assert api.put(image_id, DATA).status_code == 410
    assert status(image_id) == "active"
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == other


def test_the_place_is_recorded_for_another_reason(api: Api, tmp_path: pathlib.Path) -> None:
    """By what an earlier import has left there, to be removed: no upload has come to its end by that."""
    image_id = api.create(**importing.FORMATS)
    place = {"value": f"file://{tmp_path}/images/{image_id}", "status": "pending_delete"}
    with db.transaction() as session:
        session.add(models.ImageLocation(image_id=image_id, meta_data={}, **place))

    def break_off(_: orm.Session) -> None:
        with db.reading() as session:
            status = session.connection().scalar(sa.select(models.Image.status))
        if status == "saving" and list((tmp_path / "images").glob(image_id)):
            raise fault("database is locked", "SQLITE_BUSY")

    with listening("before_commit", break_off):
        answer = api.put(image_id, DATA)
    assert answer.status_code == 503
    assert not list(staging.path().iterdir())


@pytest.mark.parametrize("breaks", [True, False])
@pytest.mark.parametrize("is_over", [True, False])
@pytest.mark.parametrize("what", ["file", "stage"])
def test_an_upload_that_is_late_leaves_its_successor_alone(
    api: Api, what: str, is_over: bool, breaks: bool
) -> None:
    """It stands still until upkeep gives it back; the next one is at work, or done, when it goes on."""
    image_id, begun, go = api.create(**importing.FORMATS), threading.Event(), threading.Event()
    answers: list[int] = []

    def pause() -> None:
        begun.set()
        go.wait(20)

    def succeed() -> None:
        answers.append(send(Api(api.application), image_id, what, pause))

    successor = threading.Thread(target=succeed)

    def meanwhile() -> None:
        assert uploads.give_back(image_id, {"file": "saving", "stage": "uploading"}[what])
        successor.start()
        begun.wait(20)
        if is_over:
            go.set()
            successor.join()
        if breaks:
            raise OSError("The client has gone")

    late = send(api, image_id, what, meanwhile)
    go.set()
    successor.join()
    assert (late, answers) == (400 if breaks else {"file": 410, "stage": 404}[what], [204])
    if what == "stage":
        importing.imported(api, image_id)
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA


def test_a_store_that_fails_too_late_fails_the_late_upload_only(api: Api) -> None:
    """The image was given back while the store stood still, and somebody else's bytes are arriving."""
    image_id, begun, go = api.create(**importing.FORMATS), threading.Event(), threading.Event()
    answers, store = list[int](), Store()

    def pause() -> None:
        begun.set()
        go.wait(20)

    def succeed() -> None:
        answers.append(send(Api(api.application), image_id, "file", pause))

    successor = threading.Thread(target=succeed)

    def fail() -> None:
        store.before = bool
        assert uploads.give_back(image_id, "saving")
        successor.start()
        begun.wait(20)
        raise store_errors.StorageWriteDenied

    store.before = fail
    assert api.put(image_id, DATA).status_code in (410, 503)
    go.set()
    successor.join()
    assert answers == [204]
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA


@pytest.mark.parametrize("what", ["file", "stage"])
def test_a_part_that_vanishes_gives_the_image_back(api: Api, what: str) -> None:
    """Somebody has emptied staging, and nobody else is at work: the client may try again at once."""
    image_id = api.create(**importing.FORMATS)

    def vanish() -> None:
        [part] = staging.path().glob(f"{image_id}*.part")
        part.unlink()

    assert send(api, image_id, what, vanish) in (404, 410)
    assert status(image_id) == "queued"
    assert api.put(image_id, DATA, what).status_code == 204


def test_formats_that_are_unset_before_a_worker_begins(caller: Caller, server: str) -> None:
    """The image would become active without them, and its data never be judged."""
    api = caller(options=LISTS)
    for name in importing.FORMATS:
        staged, located = importing.staged(api, DATA), api.create(**importing.FORMATS)
        tasks = [importing.asked(api, staged)]
        answer = api.ask("POST", f"/v2/images/{located}/locations", {"url": f"{server}/data"})
        assert answer.status_code == 202
        tasks.append(api.show(located)["os_glance_import_task"])
        for image_id, task_id in zip((staged, located), tasks, strict=True):
            change = {"op": "replace", "path": f"/{name}", "value": None}
            assert api.patch(image_id, change).status_code == 200
            with pytest.raises(errors.ImportFailed, match=name):
                jobs.run_import(task_id)
            assert status(image_id) == "queued"


# What is reserved


@pytest.fixture
def server() -> Iterator[str]:
    with web.serving({"/data": web.whole(DATA), "/slow": web.whole(DATA, seconds=1)}) as url:
        yield url


def test_locations_that_are_being_digested_count(caller: Caller, server: str) -> None:
    """Three at once under a limit of one: the others fail, whatever is recorded by then."""
    api = caller(options=f"user_storage_quota = 1MB\n{LISTS}")
    promised = {"os_hash_algo": "sha512", "os_hash_value": hashlib.sha512(DATA).hexdigest()}
    ids = [api.create(**importing.FORMATS) for _ in range(3)]
    for image_id in ids:
        body = {"url": f"{server}/slow", "validation_data": promised}
        answer = api.ask("POST", f"/v2/images/{image_id}/locations", body)
        assert answer.status_code == 202, answer.text

    def work(task_id: str) -> None:
        with contextlib.suppress(errors.ImportFailed):
            jobs.run_import(task_id)

    tasks = [api.show(image_id)["os_glance_import_task"] for image_id in ids]
    threads = [threading.Thread(target=work, args=(task_id,)) for task_id in tasks]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(map(status, ids)) == ["active", "queued", "queued"]
    assert reserved() == []


def test_a_location_s_task_leaves_an_upload_s_reservation(caller: Caller, server: str) -> None:
    api = caller(options=f"user_storage_quota = 1MB\n{LISTS}")
    image_id, other = (api.create(**importing.FORMATS) for _ in range(2))
    body = {"url": f"{server}/data"}
    assert api.ask("POST", f"/v2/images/{image_id}/locations", body).status_code == 202
    task_id, answers = api.show(image_id)["os_glance_import_task"], []

    def fail() -> None:
        with pytest.raises(errors.ImportFailed):
            jobs.run_import(task_id)
        assert reserved() == [image_id]
        answers.append(Api(api.application).put(other, DATA).status_code)

    assert (send(api, image_id, "file", fail), answers) == (204, [413])
    assert reserved() == []


def test_no_location_comes_while_a_copy_is_made(
    caller: Caller, several_stores: str, server: str
) -> None:
    """It would give back what is reserved for the copy, and go with the copy if that fails."""
    options = f"show_multiple_locations = true\nuser_storage_quota = 3MB\n{several_stores}{LISTS}"
    api = caller(roles="admin", options=options)
    image_id = importing.staged(api, DATA)
    importing.imported(api, image_id)
    task_id = importing.asked(api, image_id, COPY, stores=["cheap"])
    value = {"url": f"{server}/data", "metadata": {}}
    add = {"op": "add", "path": "/locations/-", "value": value}
    assert (api.patch(image_id, add).status_code, reserved()) == (409, [image_id])
    assert jobs.run_import(task_id) == "active"
    assert (api.patch(image_id, add).status_code, reserved()) == (200, [])


# Workers that wake up


def test_a_worker_that_was_paused_while_it_took_back_leaves_its_successor_s_data(
    caller: Caller, several_stores: str, tmp_path: pathlib.Path
) -> None:
    """It sleeps when it has removed the first one's data: others end its import, and make the next one."""
    options = several_stores.replace("cheap:file,", "cheap:file,full:file,")
    full = tmp_path / "full"
    api = caller(
        roles="admin",
        options=f"{options}[full]\nfilesystem_store_datadir = {full}\n[gantry]\ntries = 1",
    )
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id, all_stores=True)
    drivers = [stores._drivers()[name] for name in ("fast", "cheap")]
    full.rmdir()
    full.touch()
    slept: list[bool] = []

    def sleep(delete: Callable[[Any], None], location: Any) -> None:
        delete(location)
        if not slept:
            slept.append(True)
            others()

    def others() -> None:
        with db.transaction() as session:
            session.execute(sa.update(models.TaskRun).values(expires=1.5))
        with pytest.raises(errors.ImportFailed):
            jobs.run_import(task_id)
        assert Api(api.application).put(image_id, DATA, "stage").status_code == 204
        importing.imported(api, image_id, stores=["fast", "cheap"])

    for driver in drivers:
        driver.delete = functools.partial(sleep, driver.delete)
    jobs.run_import(task_id)
    assert (slept, api.show(image_id)["stores"]) == ([True], "cheap,fast")
    assert all((tmp_path / name / image_id).read_bytes() == DATA for name in ("cheap", "fast"))
