"""A task whose flow cannot be made ends all the same, whatever its kind."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from taskflow.patterns import linear_flow

from images import db, errors, imports, location_tasks, models, staging
from tests import web
from tests.functional import importing
from tests.functional.conftest import Api, Caller
from workers import engine, jobs

DATA = bytes(range(256)) * 256
UNEXPECTED = "Unexpected RuntimeError in the import; the worker's log has the details"


def _broken(_: imports.Plan) -> linear_flow.Flow:
    raise RuntimeError("/a/path/of/ours")


@pytest.fixture
def api(caller: Caller, several_stores: str) -> Api:
    methods = "enabled_import_methods = [glance-direct,copy-image]\n"
    filters = f"{web.LOOPBACK}allowed_hosts = [127.0.0.1]\n"
    gantry = "[gantry]\nremember_seconds = 0\n"
    return caller(roles="admin", options=f"{methods}{several_stores}{filters}{gantry}")


@pytest.fixture
def url() -> Iterator[str]:
    with web.serving({"/data": web.whole(DATA)}) as base:
        yield f"{base}/data"


def importing_task(api: Api, _: str) -> tuple[str, str]:
    image_id = importing.staged(api, DATA)
    return image_id, importing.asked(api, image_id, all_stores=True)


def copying_task(api: Api, _: str) -> tuple[str, str]:
    image_id = api.create(**importing.FORMATS)
    assert api.put(image_id, DATA, X_Image_Meta_Store="fast").status_code == 204
    copy = {"name": "copy-image"}
    return image_id, importing.asked(api, image_id, copy, stores=["cheap"])


def location_task(api: Api, url: str) -> tuple[str, str]:
    image_id = api.create(**importing.FORMATS)
    assert api.ask("POST", f"/v2/images/{image_id}/locations", {"url": url}).status_code == 202
    return image_id, str(importing.task_of(api, image_id)["id"])


def legacy_task(api: Api, url: str) -> tuple[str, str]:
    properties = {**importing.FORMATS, "name": "mine"}
    document = {"import_from": url, "import_from_format": "raw", "image_properties": properties}
    answer = api.ask("POST", "/v2/tasks", {"type": "import", "input": document})
    return "", str(answer.get_json()["id"])


#: How a task of each kind comes to be, and what its image is when it has failed.
KINDS: dict[str, tuple[Callable[[Api, str], tuple[str, str]], str]] = {
    "api_image_import": (importing_task, "queued"),
    imports.COPY: (copying_task, "active"),
    location_tasks.KIND: (location_task, "queued"),
    "import": (legacy_task, ""),
}


def check_failed(api: Api, task_id: str, image_id: str, status: str) -> str:
    """The task has ended badly, its image is free, and nothing is left over; the cause."""
    task: dict[str, Any] = api.ask("GET", f"/v2/tasks/{task_id}").get_json()
    assert task["status"] == "failure"
    if image_id:
        image = api.show(image_id)
        assert image["status"] == status
        assert "os_glance_import_task" not in image
        assert image.get("os_glance_importing_to_stores", "") == ""
    else:
        assert api.ask("GET", "/v2/images?visibility=all").get_json()["images"] == []
    assert list(staging.path().iterdir()) == []
    with db.reading() as session:
        assert session.scalars(sa.select(models.FlowState.state)).all() == []
        assert session.scalars(sa.select(models.TaskRun.worker)).all() == [None]
    return str(task["message"])


@pytest.mark.parametrize("kind", KINDS)
def test_it_ends_with_a_cause(
    api: Api, url: str, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    assert engine.FLOWS.keys() == KINDS.keys()
    ask, status = KINDS[kind]
    image_id, task_id = ask(api, url)
    monkeypatch.setitem(engine.FLOWS, kind, _broken)
    with pytest.raises(errors.ImportFailed, match=UNEXPECTED):
        jobs.run_import(task_id)
    assert check_failed(api, task_id, image_id, status) == UNEXPECTED


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_given_up(api: Api, url: str, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Where its workers die of it (memory, say), `max_attempts` ends it: that needs no flow of its own."""
    ask, status = KINDS[kind]
    image_id, task_id = ask(api, url)
    monkeypatch.setitem(engine.FLOWS, kind, _broken)
    with db.transaction() as session:
        session.get_one(models.TaskRun, task_id).deaths = 3
    given_up = "It was given up: its worker died 3 times"
    with pytest.raises(errors.ImportFailed, match=given_up):
        jobs.run_import(task_id)
    assert check_failed(api, task_id, image_id, status) == given_up


def test_what_an_earlier_worker_has_kept_goes_too(
    api: Api, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps cannot be gone on with; what it has stored is removed."""
    image_id, task_id = importing_task(api, url)
    importing.attempt(task_id, "first", leave_at="store:cheap")
    assert api.show(image_id)["stores"] == "fast"
    with db.reading() as session:
        assert len(session.scalars(sa.select(models.FlowState.state)).all()) == 1
    plan = imports.begin(task_id, "second")
    assert plan is not None
    monkeypatch.setitem(engine.FLOWS, plan.kind, _broken)
    with importing.Watch(plan) as watch, pytest.raises(errors.ImportFailed, match=UNEXPECTED):
        engine.run(plan, watch)
    assert check_failed(api, task_id, image_id, "queued") == UNEXPECTED
    assert "stores" not in api.show(image_id)
