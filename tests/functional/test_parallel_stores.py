"""Several stores are written at the same time: what is shared, and what happens where one of them fails."""

import contextlib
import hashlib
import http.server
import os
import pathlib
import shutil
import threading
from typing import Any

import pytest

from images import db, errors, imports, leases, models, staging
from tests import web
from tests.functional import importing
from tests.functional.conftest import OWNER, Api, Caller
from workers import engine, heartbeat, jobs

DATA = os.urandom(3 << 20)
NAMES = ("one", "two", "three", "four")
ALL: dict[str, Any] = {"all_stores": True}
COPY = {"name": "copy-image"}
#: Seconds that a step waits for the others before the test has failed.
PATIENCE = 60


def start(caller: Caller, room: pathlib.Path, more: str = "") -> Api:
    """An administrator of a service with four file stores, and the web to read from."""
    options = importing.file_stores(room, {name: name for name in NAMES}, more=web.LOOPBACK)
    return caller(roles="admin", options=f"{options}{more}")


@pytest.fixture
def api(caller: Caller, tmp_path: pathlib.Path) -> Api:
    """As `start` makes it."""
    return start(caller, tmp_path)


class Meeting(importing.Watch):
    """Lets no store go on before all of them have begun."""

    def __init__(self, plan: imports.Plan, leave_at: str = "") -> None:
        super().__init__(plan, leave_at)
        self._all = threading.Barrier(len(plan.stores), timeout=PATIENCE)

    def report(self, step: str, done: int, total: int | None) -> None:
        is_first = step.startswith(("store:", "copy:")) and step not in self.steps
        super().report(step, done, total)
        if is_first:
            self._all.wait()


def begun(task_id: str, worker: str = "worker") -> imports.Plan:
    """The task, taken."""
    plan = imports.begin(task_id, worker)
    assert plan is not None
    return plan


def check_whole(api: Api, image_id: str, room: pathlib.Path) -> None:
    """Every store has a file of its own with the data, the record says so, and nothing else is left."""
    image = api.show(image_id)
    assert (image["status"], image["stores"]) == ("active", ",".join(NAMES))
    assert (image["os_glance_importing_to_stores"], image["os_glance_failed_import"]) == ("", "")
    assert image["os_hash_value"] == hashlib.sha512(DATA).hexdigest()
    for name in NAMES:
        assert [file.name for file in (room / name).iterdir()] == [image_id]
        assert (room / name / image_id).read_bytes() == DATA
    assert len({(room / name / image_id).stat().st_ino for name in NAMES}) == len(NAMES)
    assert not list(staging.path().iterdir())


def test_stores_are_written_at_the_same_time(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = importing.staged(api, DATA)
    with Meeting(begun(importing.asked(api, image_id, **ALL))) as watch:
        engine.run(watch.plan, watch)
    check_whole(api, image_id, tmp_path)


def test_copies_are_made_at_the_same_time(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = api.create(**importing.FORMATS)
    assert api.put(image_id, DATA, X_Image_Meta_Store="three").status_code == 204
    with Meeting(begun(importing.asked(api, image_id, COPY, **ALL))) as watch:
        assert len(watch.plan.stores) == len(NAMES) - 1
        engine.run(watch.plan, watch)
    check_whole(api, image_id, tmp_path)


class Threads(importing.Watch):
    """Remembers which threads have written stores, and lets no store go on before `width` have begun."""

    def __init__(self, plan: imports.Plan, width: int) -> None:
        super().__init__(plan)
        self.threads: set[int] = set()
        self._some = threading.Barrier(width, timeout=PATIENCE)

    def report(self, step: str, done: int, total: int | None) -> None:
        is_first = step.startswith(("store:", "copy:")) and step not in self.steps
        super().report(step, done, total)
        if is_first:
            self.threads.add(threading.get_ident())
            self._some.wait()


@pytest.mark.parametrize("width", [1, 2])
def test_the_operator_bounds_how_many_are_written_at_the_same_time(
    caller: Caller, tmp_path: pathlib.Path, width: int
) -> None:
    bound = f"[image_import_opts]\nmax_parallel_stores = {width}\n"
    api = start(caller, tmp_path, bound)
    image_id = importing.staged(api, DATA)
    with Threads(begun(importing.asked(api, image_id, **ALL)), width) as watch:
        engine.run(watch.plan, watch)
    assert len(watch.threads) == width
    check_whole(api, image_id, tmp_path)


def test_copies_are_made_one_after_the_other(caller: Caller, tmp_path: pathlib.Path) -> None:
    api = start(caller, tmp_path, "[image_import_opts]\nmax_parallel_stores = 1\n")
    image_id = api.create(**importing.FORMATS)
    assert api.put(image_id, DATA).status_code == 204
    with Threads(begun(importing.asked(api, image_id, COPY, **ALL)), 1) as watch:
        engine.run(watch.plan, watch)
    assert watch.threads == {threading.get_ident()}
    check_whole(api, image_id, tmp_path)


def test_the_cause_names_every_store_that_failed(api: Api, tmp_path: pathlib.Path) -> None:
    """What the others have taken is gone again."""
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id, **ALL)
    for name in ("two", "four"):
        shutil.rmtree(tmp_path / name, ignore_errors=True)
        (tmp_path / name).touch()
    with pytest.raises(errors.ImportFailed):
        jobs.run_import(task_id)
    message = importing.task_of(api, image_id)["message"]
    assert "The store two" in message
    assert "The store four" in message
    image = api.show(image_id)
    assert (image["status"], image["os_glance_failed_import"]) == (
        "queued",
        ",".join(sorted(NAMES)),
    )
    assert not [*(tmp_path / "one").iterdir(), *(tmp_path / "three").iterdir()]
    assert not list(staging.path().iterdir())


@pytest.mark.parametrize("leaves_at", ["store:one", "store:four"])
def test_a_worker_that_leaves_one_store_leaves_all(
    api: Api, tmp_path: pathlib.Path, leaves_at: str
) -> None:
    """Its successor writes those that are not written down."""
    image_id = importing.staged(api, DATA)
    task_id = importing.asked(api, image_id, **ALL)
    importing.attempt(task_id, "first", leaves_at)
    assert api.show(image_id)["status"] == "importing"
    assert [one for one in threading.enumerate() if "ThreadPool" in one.name] == []
    second = importing.attempt(task_id, "second")
    check_whole(api, image_id, tmp_path)
    assert leaves_at in second.steps
    assert api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"][0]["owner"] == OWNER


def test_a_delete_stops_every_store(api: Api, tmp_path: pathlib.Path) -> None:
    image_id = importing.staged(api, DATA)

    class Deletes(Meeting):
        def report(self, step: str, done: int, total: int | None) -> None:
            super().report(step, done, total)
            if step == "store:two":
                api.ask("DELETE", f"/v2/images/{image_id}")
            if step.startswith("store:"):
                self.pause(step, PATIENCE)

    plan = begun(importing.asked(api, image_id, **ALL))
    with Deletes(plan) as watch, pytest.raises(errors.ImportFailed):
        engine.run(plan, watch)
    assert importing_message(plan) == "The image was deleted while it was imported"
    assert not [file for name in NAMES for file in (tmp_path / name).iterdir()]
    assert not list(staging.path().iterdir())


def importing_message(plan: imports.Plan) -> str | None:
    """What the task says in the end; its image is gone, and cannot be asked for it."""
    with db.reading() as session:
        return session.get_one(models.TaskInfo, plan.lease.task_id).message


@pytest.mark.parametrize("must_succeed", [True, False])
def test_what_copies_have_brought_waits_for_another_try(
    caller: Caller, tmp_path: pathlib.Path, must_succeed: bool
) -> None:
    """From a store that is no directory: it is asked once, by whichever copy comes first."""
    served: list[int] = []

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        served.append(len(DATA))
        web.whole(DATA)(handler)

    api = start(caller, tmp_path)
    with web.serving({"/data": answer}) as url:
        image_id = api.create(**importing.FORMATS)
        change = {
            "op": "add",
            "path": "/locations/-",
            "value": {"url": f"{url}/data", "metadata": {}},
        }
        assert api.patch(image_id, change).status_code == 200
        asked_for_size = len(served)
        (tmp_path / "two").rmdir()
        (tmp_path / "two").touch()
        options = ALL | {"all_stores_must_succeed": must_succeed}
        task_id = importing.asked(api, image_id, COPY, **options)
        fails = pytest.raises(errors.ImportFailed) if must_succeed else contextlib.nullcontext()
        with fails:
            jobs.run_import(task_id)
        assert len(served) == asked_for_size + 1
    assert staging.path(image_id).read_bytes() == DATA
    (tmp_path / "two").unlink()
    (tmp_path / "two").mkdir()
    assert jobs.run_import(importing.asked(api, image_id, COPY, **ALL)) == "active"
    assert (tmp_path / "two" / image_id).read_bytes() == DATA
    assert not list(staging.path().iterdir())


def test_progress_is_that_of_all_stores(api: Api) -> None:
    plan = begun(importing.asked(api, importing.staged(api, DATA), **ALL))
    watch = heartbeat.Heartbeat(plan)
    watch.report("digest", 5, 5)
    watch.report("store:one", 10, 40)
    assert watch._measured() == leases.Progress("store:one", 10, 40)
    watch.report("store:two", 20, 40)
    watch.fault("store:two", "it was away")
    assert watch._measured() == leases.Progress("store", 30, 80, retries=1, fault="it was away")
    watch.report("activate", 0, None)
    assert watch._measured() == leases.Progress("activate", 0, None)
