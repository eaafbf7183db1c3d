"""Records as Glance's JSON (contract sections 2.1.2 and 2.6).

Members that are not set are null, not absent.
"""

import datetime
import json
from typing import Any

import flask

from images import config, extras, location_tasks, models, policy, protections, stores
from images import locations as places

_BASE = (
    *("id", "name", "status", "visibility", "owner", "protected", "os_hidden"),
    *("disk_format", "container_format", "min_disk", "min_ram", "size", "virtual_size"),
    *("checksum", "os_hash_algo", "os_hash_value"),
)
#: Marks that tell other processes of a Glance where to ask, and nobody else.
_HIDDEN = ("os_glance_stage_host", "os_glance_hash_op_host", location_tasks.REFUSED)


def image(record: models.Image) -> dict[str, Any]:
    """One image with its properties, tags and locations loaded, as the caller may see it."""
    may = judge().allows
    shown: dict[str, Any] = {
        name: value
        for name, value in record.properties.items()
        if name not in _HIDDEN and may("read", name)
    }
    for name in extras.known().keys() & shown.keys():
        shown[name] = record.property_rows[name].value  # which may be null
    shown |= {name: getattr(record, name) for name in _BASE}
    path = f"/v2/images/{record.id}"
    return (
        shown
        | _places(record)
        | {
            "tags": record.tags,
            "created_at": date(record.created_at),
            "updated_at": date(record.updated_at or record.created_at),
            "self": path,
            "file": f"{path}/file",
            "schema": "/v2/schemas/image",
        }
    )


def judge() -> protections.Judge:
    """What the caller of this request may do with custom properties."""
    if "judge" not in flask.g:
        flask.g.judge = protections.Judge(flask.g.context)
    made: protections.Judge = flask.g.judge
    return made


def _places(record: models.Image) -> dict[str, Any]:
    """The conditional members: where the bytes are, as far as this service shows that to the caller."""
    shown: dict[str, Any] = {}
    rows = places.ordered(record.location_rows)
    if stores.multi():
        named = [(row.meta_data or {}).get("store") for row in rows]
        if names := [name for name in named if name] or _refused(record):
            shown["stores"] = ",".join(names)
    with_direct, with_all = (
        config.CONF.show_image_direct_url and rows,
        config.CONF.show_multiple_locations,
    )
    if (with_direct or with_all) and _may_see_places(record):
        if with_direct:
            shown["direct_url"] = rows[0].value
        if with_all:
            shown["locations"] = locations(record)
    return shown


def locations(record: models.Image) -> list[dict[str, Any]]:
    """An image's locations, the heaviest store's first (contract section 2.11)."""
    rows = places.ordered(record.location_rows)
    return [{"url": row.value, "metadata": row.meta_data or {}} for row in rows]


def _refused(record: models.Image) -> list[str]:
    """The store of a location whose data were not what was said; Glance shows it, and Tempest looks."""
    row = record.property_rows.get(location_tasks.REFUSED)
    return [row.value] if row and row.value and not row.deleted else []


def _may_see_places(record: models.Image) -> bool:
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
