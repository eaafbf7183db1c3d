"""The JSON schemas: served, and what bodies are judged by (contract section 2.14).

Clients build their models from these; a field that is missing here is dropped by them.
"""

import functools
import itertools
import json
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

import flask
import jsonschema
from jsonschema import exceptions, validators

from api import body, render, viewer
from api.schemas import record
from images import config, editing, errors, extras

blueprint = flask.Blueprint("schemas", __name__, url_prefix="/v2/schemas")

#: Of so many errors the most telling one is said: to find all in a body of some MiB takes a minute.
_ERRORS = 50
#: Members of a task that its place in a list has not.
_ONLY_SINGLE = ("input", "result", "message")


def load() -> None:
    """Read the operator's own part of an image's schema.

    Raises:
        SystemExit: it cannot be used; the text says why.
    """
    try:
        extras.load()
        for name, described in extras.known().items():
            if name in record.properties():
                raise errors.Invalid(f"schema-image.json describes {name}, which every image has")
            jsonschema.Draft4Validator.check_schema(described)
    except errors.Invalid as error:
        raise SystemExit(f"gantry: the configuration cannot be used: {error}") from error
    except jsonschema.SchemaError as error:
        raise SystemExit(f"gantry: schema-image.json: {error.message}") from error
    _validator.cache_clear()


def image(hidden: Collection[str] = ()) -> dict[str, Any]:
    """The schema of an image, without what the operator hides from the caller."""
    own = {name: about for name, about in extras.known().items() if name not in hidden}
    required = [name for name in extras.required() if name not in hidden]
    return {
        "name": "image",
        "properties": record.properties() | own,
        "additionalProperties": {"type": "string"},
        **({"required": required} if required else {}),
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def images(hidden: Collection[str] = ()) -> dict[str, Any]:
    """The schema of a list of images: of pages, which the others' lists have not."""
    schema = _collection("images", image(hidden))
    text = {"type": "string"}
    schema["properties"] |= {"first": text, "next": text}
    schema["links"] = [
        {"rel": "first", "href": "{first}"},
        {"rel": "next", "href": "{next}"},
        *schema["links"],
    ]
    return schema


def check(fields: dict[str, Any], *, whole: bool = False) -> None:
    """Judge members of an image; with `whole` they are all that a new image gets.

    Raises:
        Invalid: one does not match the schema, or a required one is missing; the text says which and why.
    """
    formats = config.CONF.image_format
    judging = _validator(tuple(formats.container_formats), tuple(formats.disk_formats))
    error = fault(judging, fields)
    if error is not None:
        name = f"{error.path[0]}: " if error.path else ""
        raise errors.Invalid(
            f"Provided object does not match schema 'image': {name}{error.message[:500]}"
        )
    if whole and (missing := set(extras.required()) - fields.keys()):
        raise errors.Invalid(f"A new image must have the properties {', '.join(sorted(missing))}")


def check_changes(changes: list[editing.Change]) -> None:
    """Judge the new values of a PATCH; raises what `check` raises."""
    for change in changes:
        if change.operation != "remove":
            check({change.name: change.value})


@functools.lru_cache(maxsize=4)
def _validator(*_formats: tuple[str, ...]) -> jsonschema.Draft4Validator:
    """Compiled once for each set of formats; two columns are narrower than Glance says."""
    schema = image()
    schema.pop("required", None)
    for name in ("min_ram", "min_disk"):
        schema["properties"][name] |= {"minimum": 0, "maximum": record.INTEGER}
    return judge(schema)


def _unique(_: Any, wanted: bool, found: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    """`uniqueItems`; jsonschema's own compares each with each: a list of 40 KB takes it half a minute."""
    if not (wanted and isinstance(found, list)):
        return
    if len({json.dumps(one, sort_keys=True) for one in found}) != len(found):
        yield jsonschema.ValidationError("it names something twice")


_JUDGE: Any = validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft4Validator, {"uniqueItems": _unique}
)


def judge(schema: dict[str, Any]) -> jsonschema.Draft4Validator:
    """Whatever judges bodies by this schema, in a time that grows as they do."""
    made: jsonschema.Draft4Validator = _JUDGE(schema)
    return made


def fault(judging: jsonschema.Draft4Validator, body: Any) -> jsonschema.ValidationError | None:
    """The most telling of a body's faults; None where it has none."""
    found = itertools.islice(judging.iter_errors(body), _ERRORS)
    worst: jsonschema.ValidationError | None = exceptions.best_match(found)
    return worst


def _collection(name: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "properties": {name: {"type": "array", "items": item}, "schema": {"type": "string"}},
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }


@functools.cache
def _file(name: str) -> Any:
    """A schema that no option changes."""
    return json.loads(pathlib.Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))


def named(name: str) -> dict[str, Any]:
    """The schema of a member, of a task, or of their lists."""
    if name == "tasks":
        return _tasks()
    return _collection(name, _file("member")) if name == "members" else dict(_file(name))


def _tasks() -> dict[str, Any]:
    whole = _file("task")
    kept = {name: about for name, about in whole["properties"].items() if name not in _ONLY_SINGLE}
    return _collection("tasks", whole | {"properties": kept})


@blueprint.get("/<any(image, images):name>")
def show_image(name: str) -> flask.Response:
    """GET /v2/schemas/image and /v2/schemas/images."""
    body.refuse(flask.request.environ)
    may = viewer.of_request().may
    hidden = [known for known in extras.known() if not may("read", known)]
    return render.answer(image(hidden) if name == "image" else images(hidden))


@blueprint.get("/<any(member, members, task, tasks):name>")
def show(name: str) -> flask.Response:
    """GET /v2/schemas/member, members, task and tasks."""
    body.refuse(flask.request.environ)
    return render.answer(named(name))
