"""Metadata definitions as Glance's JSON (contract section 2.15): members that are not set are absent."""

from typing import Any

from api import render
from images.metadefs import models

_BASE = "/v2/metadefs/namespaces"
_SCHEMAS = "/v2/schemas/metadefs"


def namespace(space: models.Namespace) -> dict[str, Any]:
    """One namespace and what it is meant for, without what it holds."""
    shown: dict[str, Any] = {
        "namespace": space.namespace,
        "display_name": space.display_name,
        "description": space.description,
        "visibility": space.visibility,
        "protected": bool(space.protected),
        "owner": space.owner,
        "self": f"{_BASE}/{space.namespace}",
        "schema": f"{_SCHEMAS}/namespace",
    }
    types = [association(one) for one in space.associations]
    return _set(shown) | _dates(space) | ({"resource_type_associations": types} if types else {})


def association(one: models.Association) -> dict[str, Any]:
    """What a namespace is meant for."""
    shown = {"name": one.name, "prefix": one.prefix, "properties_target": one.properties_target}
    return _set(shown) | _dates(one)


def group(space: models.Namespace, one: models.Object, prefix: str = "") -> dict[str, Any]:
    """One object; the names of its properties begin with `prefix`."""
    required = [f"{prefix}{name}" for name in (one.required or "").split(",") if name]
    properties = {f"{prefix}{name}": about for name, about in (one.json_schema or {}).items()}
    shown: dict[str, Any] = {
        "name": one.name,
        "description": one.description,
        "required": required or None,
        "properties": properties or None,
        "self": f"{_BASE}/{space.namespace}/objects/{one.name}",
        "schema": f"{_SCHEMAS}/object",
    }
    return _set(shown) | _dates(one)


def tag(one: models.Tag) -> dict[str, Any]:
    """One tag."""
    return {"name": one.name} | _dates(one)


def resource_type(one: models.ResourceType) -> dict[str, Any]:
    """One resource type."""
    return {"name": one.name} | _dates(one)


def properties(rows: list[models.Property], prefix: str = "") -> dict[str, Any]:
    """What each of the properties may hold, by their names, which begin with `prefix`."""
    return {f"{prefix}{row.name}": row.json_schema for row in rows}


def _set(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value is not None}


def _dates(row: models.Dated) -> dict[str, str]:
    changed = row.updated_at or row.created_at
    return {"created_at": render.date(row.created_at), "updated_at": render.date(changed)}
