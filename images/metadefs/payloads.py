"""What notifications of metadata definitions hold, and when they are sent (contract section 8)."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import notifications, payloads
from images.metadefs import models

_OF_NAMESPACES = ("namespace", "display_name", "protected", "visibility", "owner", "description")
_KINDS: dict[type[models.Entry], str] = {
    models.Object: "object",
    models.Property: "property",
    models.Tag: "tag",
}
#: The plural in the events that say that a namespace was emptied of a kind.
_PLURALS: dict[type[models.Entry], str] = {
    models.Object: "objects",
    models.Property: "properties",
    models.Tag: "tags",
}
#: What a property may say of itself.
_WORDS = (
    *("type", "title", "description", "default", "minimum", "maximum", "enum", "pattern"),
    *("minLength", "maxLength", "confidential", "items", "uniqueItems", "minItems", "maxItems"),
    "additionalItems",
)


def tell_of_namespace(
    session: orm.Session, what: str, space: models.Namespace, old: str | None = None
) -> None:
    """Tell what happened to a namespace: create, update (it was `old`), delete, or delete_objects."""
    event = f"metadef_namespace.{what}"
    if notifications.wanted(event):
        payload = {name: getattr(space, name) for name in _OF_NAMESPACES}
        payload |= {"namespace_old": old or space.namespace} | _stamps(space, what == "delete")
        notifications.definition(session, event, payload)


def tell_of_cleared(
    session: orm.Session, kind: type[models.Entry], space: models.Namespace
) -> None:
    """Tell that a namespace was emptied of its objects, properties or tags."""
    tell_of_namespace(session, f"delete_{_PLURALS[kind]}", space)


def tell_of_entry(
    session: orm.Session, what: str, entry: models.Entry, old: str | None = None
) -> None:
    """Tell what happened to an object, a property or a tag: create, update (its name was `old`), delete."""
    event = f"metadef_{_KINDS[type(entry)]}.{what}"
    if not notifications.wanted(event):
        return
    spaces = models.Namespace
    query = sa.select(spaces.namespace).where(spaces.id == entry.namespace_id)
    payload: dict[str, Any] = {"namespace": session.scalars(query).one(), "name": entry.name}
    payload |= {"name_old": old or entry.name} | _stamps(entry, what == "delete")
    if isinstance(entry, models.Object):
        described: dict[str, Any] = entry.json_schema or {}
        payload["description"] = entry.description
        payload["required"] = [name for name in (entry.required or "").split(",") if name]
        payload["properties"] = [{"name": n} | _words(one) for n, one in described.items()]
    elif isinstance(entry, models.Property):
        payload |= _words(entry.json_schema or {})
    notifications.definition(session, event, payload)


def tell_of_association(
    session: orm.Session, what: str, space: models.Namespace, one: models.Association
) -> None:
    """Tell that a namespace is meant for a resource type, or (delete) no longer is."""
    event = f"metadef_resource_type.{what}"
    if notifications.wanted(event):
        payload: dict[str, Any] = {"namespace": space.namespace, "name": one.name}
        payload["name_old"] = one.name
        payload |= {"prefix": one.prefix, "properties_target": one.properties_target}
        notifications.definition(session, event, payload | _stamps(one, what == "delete"))


def _words(about: dict[str, Any]) -> dict[str, Any]:
    return {name: about.get(name) for name in _WORDS}


def _stamps(row: models.Dated, is_deleted: bool) -> dict[str, Any]:
    dates = {name: payloads.date(getattr(row, name)) for name in ("created_at", "updated_at")}
    return dates | {"deleted": is_deleted, "deleted_at": payloads.now() if is_deleted else None}
