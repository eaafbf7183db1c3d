"""What notifications of images, members and tasks hold (contract section 8); no location, no hidden mark."""

import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import db, hosts, models

#: Events that say besides which stores are still to come, and which have failed.
_OF_IMPORTS = ("image.prepare", "image.upload")
_LISTS = ("os_glance_importing_to_stores", "os_glance_failed_import")
_HIDDEN = (hosts.MARK, "os_glance_hash_op_host", "os_glance_refused_store")
_COLUMNS = (
    *("id", "name", "status", "min_disk", "min_ram", "protected", "checksum", "owner"),
    *("disk_format", "container_format", "size", "virtual_size", "visibility"),
)
_DATES = ("created_at", "updated_at", "deleted_at")


def image(
    session: orm.Session, event: str, image_id: str, more: dict[str, Any]
) -> dict[str, Any] | None:
    """An image as the transaction sees it, not as its objects do; None where its row is gone."""
    table: Any = models.Image.__table__
    row = session.execute(sa.select(table).where(table.c.id == image_id)).mappings().first()
    if row is None:
        return None
    properties = _values(session, models.ImageProperty, ("name", "value"), row)
    payload = {name: row[name] for name in _COLUMNS} | _stamps(row)
    payload["is_public"] = row["visibility"] == "public"
    payload["properties"] = {n: v or "" for n, v in properties if n not in _HIDDEN}
    payload["tags"] = sorted(
        value for (value,) in _values(session, models.ImageTag, ("value",), row)
    )
    if event in _OF_IMPORTS:
        for name in _LISTS:
            payload[name] = list(filter(None, (payload["properties"].get(name) or "").split(",")))
    return payload | more


def _values(session: orm.Session, kind: Any, columns: tuple[str, ...], row: Any) -> list[Any]:
    """What belongs to an image; to one that was deleted, what went with it."""
    lives: sa.ColumnElement[bool] = kind.deleted.is_(False)
    if row["deleted"]:
        lives = sa.or_(lives, kind.deleted_at >= row["deleted_at"])
    query = sa.select(*[getattr(kind, name) for name in columns])
    return list(session.execute(query.where(kind.image_id == row["id"], lives)))


def member(row: models.ImageMember) -> dict[str, Any]:
    """A member of an image."""
    found = {name: getattr(row, name) for name in ("deleted", *_DATES)}
    return {"image_id": row.image_id, "member_id": row.member, "status": row.status} | _stamps(
        found
    )


def task(session: orm.Session, task_id: str) -> dict[str, Any] | None:
    """A task; what it is told and what has come of it are nobody's business here."""
    table: Any = models.Task.__table__
    row = session.execute(sa.select(table).where(table.c.id == task_id)).mappings().first()
    if row is None:
        return None
    names = ("id", "type", "status", "owner")
    shown = {name: row[name] for name in names} | _stamps(row)
    return shown | {"expires_at": date(row["expires_at"]), "result": None, "message": None}


def _stamps(row: Any) -> dict[str, Any]:
    return {name: date(row[name]) for name in _DATES} | {"deleted": bool(row["deleted"])}


def now() -> str | None:
    """The present, as a date."""
    return date(db.now())


def date(moment: datetime.datetime | None) -> str | None:
    """As all dates of the API are written."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ") if moment else None
