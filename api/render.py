"""Records as Glance's JSON (contract sections 2.1.2 and 2.6).

Members that are not set are null, not absent.
"""

import datetime
import json
from typing import Any

import flask

from images import config, models, stores

_BASE = (
    *("id", "name", "status", "visibility", "owner", "protected", "os_hidden"),
    *("disk_format", "container_format", "min_disk", "min_ram", "size", "virtual_size"),
    *("checksum", "os_hash_algo", "os_hash_value"),
)
#: Marks that tell other processes of a Glance where to ask, and nobody else.
_HIDDEN = ("os_glance_stage_host", "os_glance_hash_op_host")


def image(record: models.Image) -> dict[str, Any]:
    """One image with its properties, tags and locations loaded."""
    shown: dict[str, Any] = {n: v for n, v in record.properties.items() if n not in _HIDDEN}
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


def _places(record: models.Image) -> dict[str, Any]:
    """The conditional members: where the bytes are, as far as this service shows that."""
    shown: dict[str, Any] = {}
    rows = by_weight(record.location_rows)
    if rows and stores.multi():
        named = [(row.meta_data or {}).get("store") for row in rows]
        shown["stores"] = ",".join(name for name in named if name)
    if rows and config.CONF.show_image_direct_url:
        shown["direct_url"] = rows[0].value
    if config.CONF.show_multiple_locations:
        shown["locations"] = [{"url": r.value, "metadata": r.meta_data or {}} for r in rows]
    return shown


def by_weight(rows: list[models.ImageLocation]) -> list[models.ImageLocation]:
    """The heaviest store's location first, else in the order in which they were made."""
    if len(rows) < 2 or not stores.multi():  # noqa: PLR2004 - one needs no order
        return rows
    weights = {store.id: store.weight for store in stores.configured()}
    return sorted(rows, key=lambda row: -weights.get((row.meta_data or {}).get("store", ""), 0))


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
    return {name: getattr(run, name) for name in ("step", "bytes_done", "bytes_total", "attempt")}


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
