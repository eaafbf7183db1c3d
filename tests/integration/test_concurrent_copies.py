"""Eight callers that ask for the same copy: one gets it, on every database; and tasks in pages there."""

import concurrent.futures
import contextlib
from collections.abc import Iterator

import pytest

from tests import service
from tests.integration import databases
from tests.integration.test_multi_store_imports import COPY, active, holders, in_stores, options

CALLERS = 8


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat with several stores."""
    state = tmp_path_factory.mktemp("gantry")
    with contextlib.ExitStack() as stack:
        lines = options(state)
        if request.param != "sqlite":
            url = stack.enter_context(getattr(databases, request.param)())
            lines += f"[database]\nconnection = {url}\n"
        names = ("api", "worker", "beat")
        yield stack.enter_context(service.running(state, *names, options=lines))


def test_one_gets_it(running: service.Service) -> None:
    image_id = active(running)
    path, body = f"/v2/images/{image_id}/import", COPY | {"stores": ["cheap"]}
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as pool:
        asked = [pool.submit(running.ask, "POST", path, body) for _ in range(CALLERS)]
    statuses = sorted(one.result().status for one in asked)
    # One that comes when the copy is there already is told so: 400.
    assert (statuses.count(202), set(statuses) <= {202, 400, 409}) == (1, True), statuses
    assert running.wait_for_task(image_id)["status"] == "success"
    assert len(running.ask("GET", f"/v2/images/{image_id}/tasks").json()["tasks"]) == 1
    assert in_stores(running.image(image_id)) == holders(running, image_id) == {"fast", "cheap"}
    assert running.ask("DELETE", f"/v2/images/{image_id}").status == 204


@pytest.mark.parametrize("key", ["created_at", "expires_at", "image_id", "status"])
def test_tasks_in_pages(running: service.Service, key: str) -> None:
    """NULL comes in the same place everywhere, and each task once."""
    for _ in range(2):  # two that fail, of no image that anybody knows
        task = {"import_from": "http://127.0.0.1/", "import_from_format": "raw"}
        body = {"type": "import", "input": task}
        assert running.ask("POST", "/v2/tasks", body).status == 201
    service.wait_for(lambda: not _unfinished(running), "the tasks to end")  # they move in the order
    whole = running.ask("GET", f"/v2/tasks?sort_key={key}&limit=100").json()["tasks"]
    seen: list[str] = []
    path = f"/v2/tasks?sort_key={key}&limit=2"
    while path:
        answer = running.ask("GET", path).json()
        seen += [one["id"] for one in answer["tasks"]]
        path = answer.get("next", "")
    assert len(seen) == len(set(seen))
    assert {one["id"] for one in whole} <= set(seen)


def _unfinished(running: service.Service) -> bool:
    """Whether a worker still changes a task."""
    tasks = running.ask("GET", "/v2/tasks?limit=100").json()["tasks"]
    return any(one["status"] in ("pending", "processing") for one in tasks)
