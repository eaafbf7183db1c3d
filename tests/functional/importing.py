"""Imports from the request to the end of their task, with a worker that the test can stop."""

import pathlib
from collections.abc import Mapping
from typing import Any

from images import errors, imports, leases
from tests.functional.conftest import Api
from workers import engine, heartbeat, jobs

FORMATS = {"disk_format": "raw", "container_format": "bare"}
DIRECT = {"name": "glance-direct"}


class Watch(heartbeat.Heartbeat):
    """A worker's, that remembers the steps which it was told of, and leaves where the test wants it to."""

    def __init__(self, plan: imports.Plan, leave_at: str = "") -> None:
        super().__init__(plan)
        self.leave_at = leave_at
        self.steps: set[str] = set()

    def report(self, step: str, done: int, total: int | None) -> None:
        if self.leave_at and step.startswith(self.leave_at):
            raise errors.Abandoned("The test wants it")
        self.steps.add(step)
        super().report(step, done, total)


def file_stores(
    room: pathlib.Path, places: Mapping[str, str], *, default: str = "", more: str = ""
) -> str:
    """Options of a service with these stores, by the directories in `room`, `one` by default; and the web.

    `default` are lines of [DEFAULT], `more` are further sections. What fails is tried once more, at once.
    """
    sections = "".join(
        f"[{name}]\nfilesystem_store_datadir = {room}/{place}\n" for name, place in places.items()
    )
    backends = ",".join(f"{name}:file" for name in places)
    return (
        f"enabled_backends = {backends},web:http\nshow_multiple_locations = true\n{default}\n"
        f"enabled_import_methods = [glance-direct,copy-image]\n{sections}"
        f"[glance_store]\ndefault_backend = one\n"
        f"[os_glance_staging_store]\nfilesystem_store_datadir = {room}/staging\n{more}"
        "[gantry]\nretry_pause = 0.01\ntries = 2\nheartbeat_seconds = 0.1\n"
    )


def staged(api: Api, data: bytes, **fields: str) -> str:
    """An image whose bytes are staged."""
    image_id = api.create(**(FORMATS | fields))
    assert api.put(image_id, data, "stage").status_code == 204
    return image_id


def asked(api: Api, image_id: str, method: dict[str, Any] | None = None, **members: Any) -> str:
    """POST /import by a method, else of what is staged; the task's id."""
    body = {"method": method or DIRECT} | members
    answer = api.ask("POST", f"/v2/images/{image_id}/import", body)
    assert answer.status_code == 202, answer.text
    return str(task_of(api, image_id)["id"])


def task_of(api: Api, image_id: str) -> dict[str, Any]:
    """The newest task."""
    answer = api.ask("GET", f"/v2/images/{image_id}/tasks")
    task: dict[str, Any] = answer.get_json()["tasks"][0]
    return task


def imported(
    api: Api, image_id: str, method: dict[str, Any] | None = None, **members: Any
) -> dict[str, Any]:
    """The record after an import that has gone well."""
    assert jobs.run_import(asked(api, image_id, method, **members)) == "active"
    return api.show(image_id)


def refused(api: Api, image_id: str, method: dict[str, Any] | None = None, **members: Any) -> str:
    """The message of an import that has failed."""
    task_id = asked(api, image_id, method, **members)
    try:
        ended = jobs.run_import(task_id)
    except errors.ImportFailed:
        task = task_of(api, image_id)
        assert task["status"] == "failure"
        return str(task["message"])
    raise AssertionError(f"It ended as {ended}")


def attempt(task_id: str, worker: str, leave_at: str = "") -> Watch:
    """What one worker does; if it leaves, it hands the task back."""
    plan = imports.begin(task_id, worker)
    assert plan is not None
    with Watch(plan, leave_at) as watch:
        try:
            engine.run(plan, watch)
        except errors.Abandoned:
            leases.hand_back(plan.lease)
    return watch
