"""Records as Glance's JSON (contract sections 2.6 and 2.8), and answers; images are `api.viewer`'s."""

import datetime
import json
from typing import Any

import flask

from images import models


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
