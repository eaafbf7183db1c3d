"""Records as Glance's JSON (contract sections 2.1.2 and 2.6).

Members that are not set are null, not absent.
"""

import datetime
import json
from typing import Any

import flask

from images import config, extras, location_tasks, models, policy, protections, records, stores
from images import locations as places

_BASE = [name for name in records.COLUMNS if not name.endswith("_at")]
#: Marks that tell other processes of a Glance where to ask, and nobody else.
_HIDDEN = ("os_glance_stage_host", "os_glance_hash_op_host", location_tasks.REFUSED)


def image(record: records.Record) -> dict[str, Any]:
    """One image as the caller may see it."""
    may, described = judge().allows, extras.known()
    shown: dict[str, Any] = {
        name: value if value is not None or name in described else ""
        for name, value in record.properties.items()
        if name not in _HIDDEN and may("read", name)
    }
    for name in _BASE:
        shown[name] = getattr(record, name)
    _add_places(shown, record)
    path = f"/v2/images/{record.id}"
    shown["tags"] = record.tags
    shown["created_at"], shown["updated_at"] = record.created_at, record.updated_at
    shown["self"], shown["file"] = path, f"{path}/file"
    shown["schema"] = "/v2/schemas/image"
    return shown


def changed(row: models.Image) -> dict[str, Any]:
    """An image that was just made or changed, with all its parts loaded."""
    return image(records.of(row))


def judge() -> protections.Judge:
    """What the caller of this request may do with custom properties."""
    if "judge" not in flask.g:
        flask.g.judge = protections.Judge(flask.g.context)
    made: protections.Judge = flask.g.judge
    return made


def _add_places(shown: dict[str, Any], record: records.Record) -> None:
    """The conditional members: where the bytes are, as far as this service shows that to the caller."""
    rows = places.ordered(record.locations)
    if stores.multi():
        named = [row.meta_data.get("store") for row in rows]
        if names := stores.in_order([name for name in named if name]) or _refused(record):
            shown["stores"] = ",".join(names)
    with_direct = config.CONF.show_image_direct_url and rows
    with_all = config.CONF.show_multiple_locations
    if (with_direct or with_all) and _may_see_places(record):
        if with_direct:
            shown["direct_url"] = rows[0].value
        if with_all:
            shown["locations"] = locations(record)


def locations(record: records.Record) -> list[dict[str, Any]]:
    """An image's locations, the heaviest store's first (contract section 2.11)."""
    rows = places.ordered(record.locations)
    return [{"url": row.value, "metadata": row.meta_data} for row in rows]


def _refused(record: records.Record) -> list[str]:
    """The store of a location whose data were not what was said; Glance shows it, and Tempest looks."""
    name = record.properties.get(location_tasks.REFUSED)
    return [name] if name else []


def _may_see_places(record: records.Record) -> bool:
    """Policy `get_image_location`, asked once for images that it does not tell from one another."""
    rule = "get_image_location"
    if "places_seen" not in flask.g:
        flask.g.places_seen = {}
        flask.g.places_are_custom = policy.is_custom(rule)
    known: dict[Any, bool] = flask.g.places_seen
    key = record.id if flask.g.places_are_custom else record.owner
    if key not in known:
        known[key] = policy.allowed(flask.g.context, rule, record)
    return known[key]


def member(record: models.ImageMember) -> dict[str, Any]:
    """One member of an image (contract section 2.8)."""
    return {
        "member_id": record.member,
        "image_id": record.image_id,
        "status": record.status,
        "created_at": date(record.created_at),
        "updated_at": date(record.updated_at or record.created_at),
        "schema": "/v2/schemas/member",
    }


def task(record: models.Task) -> dict[str, Any]:
    """One task of an image, and ours: how far it has come."""
    names = ("id", "type", "status", "owner", "deleted", "image_id", "request_id", "user_id")
    dates = ("expires_at", "created_at", "updated_at", "deleted_at")
    shown = {name: getattr(record, name) for name in names}
    shown |= {name: _raw_date(getattr(record, name)) for name in dates}
    shown |= {
        "input": record.info.input,
        "result": record.info.result,
        "message": record.info.message or "",
    }
    return shown | {"progress": _progress(record.run)}


def _progress(run: models.TaskRun | None) -> dict[str, Any] | None:
    """The running step and its bytes, or null before the first step."""
    if run is None or run.step is None:
        return None
    names = ("step", "bytes_done", "bytes_total", "rate", "retries", "attempt")
    return {name: getattr(run, name) for name in names}


def date(moment: datetime.datetime) -> str:
    """A date as every document but one has it: UTC, whole seconds."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _raw_date(moment: datetime.datetime | None) -> str | None:
    """A date as the one document has it: with microseconds and without a zone."""
    return moment.isoformat(timespec="microseconds") if moment else None


def empty(status: int = 204) -> flask.Response:
    """An answer without a body."""
    return flask.Response(status=status)


def answer(document: Any, status: int = 200) -> flask.Response:
    """A JSON answer."""
    return flask.Response(json.dumps(document), status, content_type="application/json")
