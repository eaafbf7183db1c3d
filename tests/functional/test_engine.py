"""A flow that its worker leaves is gone on with by the next one: steps that have ended are not run again."""

import dataclasses
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from taskflow import task
from taskflow.patterns import linear_flow

from flows.steps import claim
from images import config, db, errors, imports, leases, models, staging, stores
from tests import service, web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from workers import engine, heartbeat, jobs

DATA = os.urandom(1 << 20)
OPTIONS = f"{web.LOOPBACK}[gantry]\nretry_pause = 0.01\ntries = 3\nheartbeat_seconds = 0.1\n"


class Watch(importing.Watch):
    """One that remembers its faults, and may do something at each."""

    def __init__(self, plan: imports.Plan, leave_at: str = "") -> None:
        super().__init__(plan, leave_at)
        self.faults: list[str] = []
        self.on_fault: Callable[[], object] = lambda: None

    def fault(self, step: str, cause: str) -> None:
        self.faults.append(cause)
        self.on_fault()


@pytest.fixture
def api(caller: Caller) -> Api:
    return caller(options=OPTIONS)


@pytest.fixture
def url() -> Iterator[str]:
    """Data that take more than a second to come."""
    with web.serving({"/raw": web.whole(DATA, seconds=1.2)}) as base:
        yield f"{base}/raw"


def asked(api: Api, **method: str) -> tuple[str, str]:
    """An image whose import was answered 202, and the task."""
    image_id = api.create(disk_format="raw", container_format="bare")
    if method["name"] == "glance-direct":
        assert api.put(image_id, DATA, "stage").status_code == 204
    assert api.ask("POST", f"/v2/images/{image_id}/import", {"method": method}).status_code == 202
    task_id: str = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"][0]["id"]
    return image_id, task_id


def kept() -> list[str]:
    """What is remembered of flows."""
    with db.reading() as session:
        return list(session.scalars(sa.select(models.FlowState.state)))


def test_what_has_ended_is_not_run_again(api: Api, url: str) -> None:
    """The worker leaves when it is about to store; the next one stores what the first has fetched."""
    image_id, task_id = asked(api, name="web-download", uri=url)
    first = importing.attempt(task_id, "first", leave_at="store")
    assert "fetch" in first.steps
    assert len(kept()) == 1
    assert api.show(image_id)["status"] == "importing"
    second = importing.attempt(task_id, "second")
    assert second.steps == {"store:file"}
    assert api.show(image_id)["status"] == "active"
    assert api.ask("GET", f"/v2/images/{image_id}/file").data == DATA
    assert kept() == []
    assert list(staging.path().iterdir()) == []


@pytest.fixture
def digested(caller: Caller) -> tuple[Api, str, pathlib.Path]:
    """The first worker has left when its digest was remembered: the service, the task, what was staged."""
    api = caller(options=f"{OPTIONS}remember_seconds = 0\n")
    image_id, task_id = asked(api, name="glance-direct")
    assert "store:file" not in importing.attempt(task_id, "first", leave_at="store").steps
    return api, task_id, staging.path(image_id)


def test_a_power_cut_takes_what_was_known_of_the_staged_file(
    digested: tuple[Api, str, pathlib.Path],
) -> None:
    """It is not synced, the file is: its bytes say that they are those that were digested."""
    api, task_id, staged = digested
    staged.with_name(f"{staged.name}.facts").write_bytes(b"")
    assert importing.attempt(task_id, "second").steps == {"store:file"}
    assert api.show(staged.name)["status"] == "active"
    assert api.ask("GET", f"/v2/images/{staged.name}/file").data == DATA


@pytest.mark.parametrize("known", [True, False])
def test_a_staged_file_that_is_not_what_was_digested(
    digested: tuple[Api, str, pathlib.Path], known: bool
) -> None:
    """Then the import fails, and nothing is left."""
    api, task_id, staged = digested
    staged.write_bytes(DATA[::-1])
    if known:
        staging.inspect(staged, digest=True)
    with pytest.raises(errors.ImportFailed, match="have changed since they were digested"):
        importing.attempt(task_id, "second")
    assert api.show(staged.name)["status"] == "queued"
    assert remaining() == []


def test_what_is_known_of_a_staged_file_cannot_be_read(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a moment, after the store has taken it: its bytes say that they are the right ones."""
    image_id, task_id = asked(api, name="glance-direct")
    read, missed = staging.facts, list[bool]()

    def facts(file: pathlib.Path, *, linked: bool = False) -> staging.Facts | None:
        if linked and not missed:
            missed.append(True)
            return None
        return read(file, linked=linked)

    monkeypatch.setattr(staging, "facts", facts)
    assert jobs.run_import(task_id) == "active"
    assert (missed, api.show(image_id)["status"]) == ([True], "active")


def remaining() -> list[pathlib.Path]:
    """What lies in the store and in staging."""
    store = pathlib.Path(config.CONF.glance_store.filesystem_store_datadir)
    return [*store.iterdir(), *staging.path().iterdir()]


def test_what_is_short_is_not_remembered(api: Api) -> None:
    """It costs less to do again than to write down."""
    image_id, task_id = asked(api, name="glance-direct")
    importing.attempt(task_id, "first", leave_at="store")
    assert kept() == []
    assert "fetch" in importing.attempt(task_id, "second").steps
    assert api.show(image_id)["status"] == "active"


def test_files_that_are_gone_are_fetched_again(api: Api, url: str) -> None:
    """They lay on a host that is no more."""
    image_id, task_id = asked(api, name="web-download", uri=url)
    importing.attempt(task_id, "first", leave_at="store")
    staging.remove(image_id)
    assert "fetch" in importing.attempt(task_id, "second").steps
    assert api.show(image_id)["status"] == "active"


def test_a_lost_lease_undoes_nothing(api: Api) -> None:
    """A step of the first worker fails after another one has taken the task: the staged data stay."""
    image_id, task_id = asked(api, name="glance-direct")
    plan = imports.begin(task_id, "first")
    assert plan is not None
    with db.transaction() as session:
        session.get_one(models.TaskRun, task_id).expires = 1.5
    other = imports.begin(task_id, "second")
    assert other is not None
    staging.path(image_id).with_name(f"{image_id}.facts").unlink()
    staged = pathlib.Path(staging.path(image_id))
    staged.write_bytes(b"QFI\xfb" + bytes(600))  # no raw image, so the first one's next step fails
    with Watch(plan) as watch, pytest.raises(errors.Abandoned):
        engine.run(plan, watch)
    assert staged.exists()
    assert api.show(image_id)["status"] == "importing"
    with db.reading() as session:
        assert session.get_one(models.Task, task_id).status == "processing"


class First(task.Task):  # type: ignore[misc]
    """Counts what happens to it; its undoing is interrupted once."""

    def __init__(self) -> None:
        super().__init__("first")

    def execute(self) -> None:
        NOTES.append("first done")

    def revert(self, **_: Any) -> None:
        NOTES.append("first undone")
        if NOTES.count("first undone") == 1:
            raise errors.Abandoned("The worker is killed here")


class Second(task.Task):  # type: ignore[misc]
    """Fails."""

    def __init__(self) -> None:
        super().__init__("second")

    def execute(self) -> None:
        NOTES.append("second failed")
        raise errors.ImportFailed("It cannot be done")


NOTES: list[str] = []


def test_undoing_goes_on_too_and_keeps_its_cause(api: Api) -> None:
    image_id, task_id = asked(api, name="glance-direct")
    NOTES.clear()

    def build(_: imports.Plan) -> linear_flow.Flow:
        return linear_flow.Flow("test").add(claim.Claim("claim"), First(), Second())

    engine.FLOWS["test"] = build
    try:
        for worker in ("first", "second"):
            plan = imports.begin(task_id, worker)
            assert plan is not None
            plan = dataclasses.replace(plan, kind="test")
            with Watch(plan) as watch, pytest.raises((errors.Abandoned, errors.ImportFailed)):
                engine.run(plan, watch)
            leases.hand_back(plan.lease)
    finally:
        del engine.FLOWS["test"]
    assert NOTES == ["first done", "second failed", "first undone", "first undone"]
    tasks = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]
    assert (tasks[0]["status"], tasks[0]["message"]) == ("failure", "It cannot be done")
    assert api.show(image_id)["status"] == "queued"
    assert kept() == []


def test_a_store_that_is_away_for_a_moment(api: Api, tmp_path: pathlib.Path) -> None:
    image_id, task_id = asked(api, name="glance-direct")
    images, elsewhere = tmp_path / "images", tmp_path / "elsewhere"
    stores._drivers()
    images.rename(elsewhere)
    plan = imports.begin(task_id, "worker")
    assert plan is not None
    with Watch(plan) as watch:
        watch.on_fault = lambda: elsewhere.rename(images)
        engine.run(plan, watch)
    assert watch.faults == ["The store file: No such file or directory"]
    assert api.show(image_id)["status"] == "active"


def test_a_store_that_stays_away(api: Api, tmp_path: pathlib.Path) -> None:
    image_id, task_id = asked(api, name="glance-direct")
    stores._drivers()
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(errors.ImportFailed, match="tried 3 times"):
        jobs.run_import(task_id)
    assert api.show(image_id)["status"] == "queued"
    assert list(staging.path().iterdir()) == []
    with db.reading() as session:
        assert session.get_one(models.Task, task_id).status == "failure"


def test_a_store_that_is_away_can_be_cancelled(caller: Caller, tmp_path: pathlib.Path) -> None:
    """Within three seconds, although the next try is a minute away."""
    api = caller(options=OPTIONS.replace("retry_pause = 0.01", "retry_pause = 60"))
    image_id, task_id = asked(api, name="glance-direct")
    stores._drivers()
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    plan = imports.begin(task_id, "worker")
    assert plan is not None
    with Watch(plan) as watch:
        watch.on_fault = lambda: api.ask("DELETE", f"/v2/images/{image_id}")
        begun = time.monotonic()
        with pytest.raises(errors.ImportFailed, match="deleted"):
            engine.run(plan, watch)
    assert time.monotonic() - begun < 3


def test_a_task_that_kills_its_workers_is_given_up(api: Api) -> None:
    image_id, task_id = asked(api, name="glance-direct")
    for number in range(3):
        assert imports.begin(task_id, f"worker {number}") is not None
        with db.transaction() as session:
            session.get_one(models.TaskRun, task_id).expires = 1.5
    with pytest.raises(errors.ImportFailed, match="its worker died 3 times"):
        jobs.run_import(task_id)
    tasks = api.ask("GET", f"/v2/images/{image_id}/tasks").get_json()["tasks"]
    assert (tasks[0]["status"], tasks[0]["message"]) == (
        "failure",
        "It was given up: its worker died 3 times",
    )
    assert api.show(image_id)["status"] == "queued"
    assert list(staging.path().iterdir()) == []


def test_outages_kill_no_worker(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are that last longer than a lease: the import goes on."""
    image_id, task_id = asked(api, name="glance-direct")
    run, hand_back, is_away = engine.run, leases.hand_back, threading.Event()

    def unless_away(do: Callable[..., Any]) -> Callable[..., Any]:
        def answer(*words: Any) -> Any:
            if is_away.is_set():
                raise errors.Abandoned("The database does not answer")
            return do(*words)

        return answer

    monkeypatch.setattr(engine, "run", unless_away(run))
    monkeypatch.setattr(leases, "hand_back", unless_away(hand_back))
    for _ in range(3):
        is_away.set()
        assert jobs.run_import(task_id) == "left to the sweep"
        with db.transaction() as session:
            session.get_one(models.TaskRun, task_id).expires = 1.5
        assert leases.declare_dead() == 1
        is_away.clear()
        service.wait_for(lambda: deaths(task_id) == 0, "the worker's word that it lives")
    assert jobs.run_import(task_id) == "active"
    assert api.show(image_id)["status"] == "active"


def deaths(task_id: str) -> int:
    with db.reading() as session:
        return session.get_one(models.TaskRun, task_id).deaths


def test_bytes_that_a_dead_worker_has_stored_and_told_nobody_of(
    api: Api, tmp_path: pathlib.Path
) -> None:
    """The second attempt fails before it stores: they go all the same."""
    image_id, task_id = asked(api, name="glance-direct")
    assert imports.begin(task_id, "first") is not None
    stores.add("file", image_id, staging.path(image_id))
    (tmp_path / "images" / f".{image_id}.1.part").write_bytes(b"x")
    staging.remove(image_id)
    with db.transaction() as session:
        session.get_one(models.TaskRun, task_id).expires = 1.5
    with pytest.raises(errors.ImportFailed, match="stage them again"):
        jobs.run_import(task_id)
    assert list((tmp_path / "images").iterdir()) == []


def test_a_heart_beats_on_whatever_a_step_is_called(api: Api) -> None:
    """A store's id, and a plugin's step, may be longer than what is kept of it."""
    _, task_id = asked(api, name="glance-direct")
    plan = imports.begin(task_id, "worker")
    assert plan is not None
    with heartbeat.Heartbeat(plan) as watch:
        watch.report("store:" + "x" * 100, 1, 2)
        assert watch._reason_to_stop() is None
    with db.reading() as session:
        step = session.get_one(models.TaskRun, task_id).step
    assert step == ("store:" + "x" * 100)[:64]


def test_progress_costs_less_than_a_per_cent(api: Api) -> None:
    """Of a processor: 500 pieces a second (1 GB/s) that are told of, and a beat that writes it down."""
    _, task_id = asked(api, name="glance-direct")
    plan = imports.begin(task_id, "worker")
    assert plan is not None
    watch = heartbeat.Heartbeat(plan)
    pieces, beats = 20000, 100
    begun = time.process_time()
    for number in range(pieces):
        watch.report("fetch", number, pieces)
    told = (time.process_time() - begun) / pieces
    begun = time.process_time()
    for _ in range(beats):
        assert watch._reason_to_stop() is None
    beat = (time.process_time() - begun) / beats
    print(f"a piece {told * 1e6:.1f} us, a beat {beat * 1e3:.2f} ms")
    assert 500 * told + beat < 0.01
