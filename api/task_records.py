"""/v2/tasks: tasks whatever their image, for administrators (contract section 2.7)."""

import re
from typing import Any

import flask
from werkzeug import exceptions

from api import body, paging, render, versions
from images import db, errors, legacy, models, policy, queue, tasks

blueprint = flask.Blueprint("task_records", __name__, url_prefix="/v2/tasks")

_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")
#: Only these may be asked for by their type.
_LISTED_TYPES = ("import",)


@blueprint.post("")
def create() -> flask.Response:
    """POST /v2/tasks: a URL becomes an image."""
    policy.enforce(flask.g.context, "tasks_api_access")
    fields = body.read_object(flask.request.environ)
    document = _checked(fields)
    with db.transaction() as session:
        task = tasks.add(session, flask.g.context, "import", document, queue=legacy.QUEUE)
    if task.run and task.run.expires:
        queue.ring(task.id, task.run.queue)
    answer = render.answer(_whole(task), 201)
    base = versions.base_url(flask.request.environ)
    answer.headers["Location"] = f"{base}/v2/tasks/{task.id}"
    return answer


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    for member in ("type", "input"):
        if member not in fields:
            raise errors.Invalid(f"Task '{member}' is required")
    kind = fields["type"]
    if kind not in tasks.TYPES:
        raise errors.Invalid(f"type: {kind!r} is not one of {list(tasks.TYPES)}")
    if kind != "import":
        raise errors.Invalid(f"A task of type {kind} is made by the request that it is the work of")
    if not isinstance(fields["input"], dict | None):
        raise errors.Invalid("input must be an object")
    return legacy.check(fields["input"])


@blueprint.get("")
def index() -> flask.Response:
    """GET /v2/tasks."""
    policy.enforce(flask.g.context, "tasks_api_access")
    body.refuse(flask.request.environ)
    query = _query(flask.request)
    tasks.expire()
    with db.reading() as session:
        found = tasks.page(session, flask.g.context, query)
    more = found and len(found) == query.limit
    links = paging.links(flask.request, found[-1].id if more else None)
    stubs = [_stub(task) for task in found]
    return render.answer({"tasks": stubs, **links, "schema": "/v2/schemas/tasks"})


@blueprint.get("/<task_id>")
def show(task_id: str) -> flask.Response:
    """GET /v2/tasks/{id}."""
    policy.enforce(flask.g.context, "tasks_api_access")
    body.refuse(flask.request.environ)
    with db.reading() as session:
        task = tasks.get(session, flask.g.context, task_id)
    return render.answer(_whole(task))


@blueprint.delete("/<task_id>")
def delete(task_id: str) -> flask.Response:  # noqa: ARG001 - none of them is
    """DELETE /v2/tasks/{id}: nobody deletes a task; it goes when its time is over."""
    policy.enforce(flask.g.context, "tasks_api_access")
    raise exceptions.MethodNotAllowed(
        ["GET"], "Tasks are not deleted by request; each is when its time is over (expires_at)"
    )


def _query(request: flask.Request) -> tasks.Query:
    """The page that a request asks for.

    Raises:
        Invalid: a parameter has a value that it cannot have.
    """
    last = dict(request.args.items(multi=True))
    marker = last.pop("marker", None)
    if marker and not _UUID.fullmatch(marker):
        raise errors.Invalid("Invalid marker format: it is a task's id")
    limit = paging.limit(last.pop("limit", None))
    key, direction = last.pop("sort_key", "created_at"), last.pop("sort_dir", "desc")
    if key not in tasks.SORT_KEYS:
        raise errors.Invalid(f"Invalid sort key: {key}; it is one of {tasks.SORT_KEYS}")
    if direction not in ("asc", "desc"):
        raise errors.Invalid(f"Invalid sort direction: {direction}; it is asc or desc")
    for name, choices in (("status", tasks.STATUSES), ("type", _LISTED_TYPES)):
        if last.get(name) and last[name] not in choices:
            raise errors.Invalid(f"Invalid {name} value: {last[name]}; it is one of {choices}")
    order = [(key, direction), ("created_at", direction), ("id", direction)]
    sort = tuple(one for one in order[1:] if one[0] != key)
    wanted = {name: value for name, value in last.items() if value}
    return tasks.Query(limit, marker or None, (order[0], *sort), wanted)


def _stub(task: models.Task) -> dict[str, Any]:
    """A task in a list: nothing large, and no member that is not set."""
    shown = {name: getattr(task, name) for name in ("id", "type", "status", "owner")}
    shown |= {
        "created_at": render.date(task.created_at),
        "updated_at": render.date(task.updated_at or task.created_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }
    if task.expires_at:
        shown["expires_at"] = render.date(task.expires_at)
    return shown


def _whole(task: models.Task) -> dict[str, Any]:
    """A task by itself."""
    names = ("image_id", "request_id", "user_id")
    set_ones = {name: value for name in names if (value := getattr(task, name))}
    details = {"input": task.info.input, "result": task.info.result}
    return _stub(task) | details | {"message": task.info.message or ""} | set_ones
