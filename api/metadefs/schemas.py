"""The JSON schemas of metadata definitions: served, and what bodies are judged by (contract section 2.15)."""

import functools
from typing import Any

import flask
import jsonschema

from api import body, render, schemas
from images import errors

blueprint = flask.Blueprint("metadef_schemas", __name__, url_prefix="/v2/schemas/metadefs")

_TEXT: dict[str, Any] = {"type": "string"}
_NAME = {"type": "string", "maxLength": 80}
_FLAG = {"type": "boolean"}
_NUMBER = {"type": "number"}
_STRINGS = {"$ref": "#/definitions/stringArray"}
_SIZE = {"$ref": "#/definitions/positiveInteger"}
_SIZE_OR_0 = {"$ref": "#/definitions/positiveIntegerDefault0"}
_TYPES = {
    "type": "string",
    "enum": ["array", "boolean", "integer", "number", "object", "string", None],
}
_FIXED = {"readOnly": True, "type": "string"}
_NUMBERS = {
    "positiveInteger": {"type": "integer", "minimum": 0},
    "positiveIntegerDefault0": {
        "allOf": [{"$ref": "#/definitions/positiveInteger"}, {"default": 0}]
    },
    "stringArray": {"type": "array", "items": _TEXT, "uniqueItems": True},
}
#: What may be said of a property: JSON schema's words, and two of Glance's.
_PROPERTY = {
    "name": _NAME,
    "title": _TEXT,
    "description": _TEXT,
    "operators": {"type": "array", "items": _TEXT},
    "type": _TYPES,
    "required": _STRINGS,
    "minimum": _NUMBER,
    "maximum": _NUMBER,
    "maxLength": _SIZE,
    "minLength": _SIZE_OR_0,
    "pattern": {"type": "string", "format": "regex"},
    "enum": {"type": "array"},
    "readonly": _FLAG,
    "default": {},
    "items": {"type": "object", "properties": {"type": _TYPES, "enum": {"type": "array"}}},
    "maxItems": _SIZE,
    "minItems": _SIZE_OR_0,
    "uniqueItems": {"type": "boolean", "default": False},
    "additionalItems": _FLAG,
}
_DEFINITIONS = _NUMBERS | {
    "property": {
        "type": "object",
        "additionalProperties": {
            "type": "object",
            "required": ["title", "type"],
            "properties": _PROPERTY,
        },
    }
}
_PROPERTIES = {"$ref": "#/definitions/property"}


def _dates(what: str) -> dict[str, Any]:
    said = {
        "created_at": f"Date and time of {what}",
        "updated_at": f"Date and time of the last {what.replace(' creation', '')} modification",
    }
    return {
        name: {"type": "string", "readOnly": True, "description": text, "format": "date-time"}
        for name, text in said.items()
    }


def _said(about: dict[str, Any], description: str) -> dict[str, Any]:
    return about | {"description": description}


_ASSOCIATION = {
    "name": _said(
        _NAME,
        "Resource type names should be aligned with Heat resource types whenever possible: "
        "https://docs.openstack.org/heat/latest/template_guide/openstack.html",
    ),
    "prefix": _said(
        _NAME,
        "What the names of the namespace's properties begin with when they are applied to this resource "
        "type, a separator such as a colon included.",
    ),
    "properties_target": _said(
        _NAME,
        "Which of a resource's several kinds of properties is meant: user or image properties of a volume.",
    ),
    **_dates("resource type association"),
}
_OBJECT = {
    "name": _NAME,
    "description": _TEXT,
    "required": _STRINGS,
    "properties": _PROPERTIES,
    "schema": _FIXED,
    "self": _FIXED,
    **_dates("object creation"),
}
_TAG = {"name": _NAME, **_dates("tag creation")}
_NAMESPACE = {
    "namespace": _said(_NAME, "The unique namespace text."),
    "display_name": _said(
        _NAME, "The user friendly name for the namespace. Used by UI if available."
    ),
    "description": {
        "type": "string",
        "description": "Provides a user friendly description of the namespace.",
        "maxLength": 500,
    },
    "visibility": {
        "type": "string",
        "description": "Scope of namespace accessibility.",
        "enum": ["public", "private"],
    },
    "protected": _said(_FLAG, "If true, namespace will not be deletable."),
    "owner": {"type": "string", "description": "Owner of the namespace.", "maxLength": 255},
    **_dates("namespace creation"),
    "schema": _FIXED,
    "self": _FIXED,
    "resource_type_associations": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"name": _TEXT, "prefix": _TEXT, "properties_target": _TEXT},
        },
    },
    "properties": _PROPERTIES,
    "objects": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "name": _TEXT,
                "description": _TEXT,
                "required": _STRINGS,
                "properties": _PROPERTIES,
            },
        },
    },
    "tags": {"type": "array", "items": {"type": "object", "properties": {"name": _TEXT}}},
}


def _schema(name: str, properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    fixed = {"additionalProperties": False, "required": list(required)}
    return {"name": name, "properties": properties} | fixed | more


_ITEMS = {
    "namespace": _schema("namespace", _NAMESPACE, "namespace", definitions=_DEFINITIONS),
    "resource_type": _schema("resource_type_association", _ASSOCIATION, "name"),
    "property": _schema("property", _PROPERTY, "type", "title", "name", definitions=_NUMBERS),
    "object": _schema("object", _OBJECT, "name", definitions=_DEFINITIONS),
    "tag": _schema("tag", _TAG, "name"),
}
#: Each list: the member that holds it, and whose items these are.
_LISTS = {
    "namespaces": ("namespaces", "namespace"),
    "resource_types": ("resource_type_associations", "resource_type"),
    "properties": ("properties", "property"),
    "objects": ("objects", "object"),
    "tags": ("tags", "tag"),
}
_SEVERAL_TAGS = {
    "type": "object",
    "properties": {
        "tags": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"name": _NAME},
                "required": ["name"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["tags"],
    "additionalProperties": False,
}


def document(name: str) -> dict[str, Any]:
    """The schema of this name, as it is served."""
    if name in _ITEMS:
        return _ITEMS[name]
    member, item = _LISTS[name]
    shown = dict(_ITEMS[item])
    definitions = {"definitions": shown.pop("definitions")} if "definitions" in shown else {}
    held: dict[str, Any] = {"type": "array", "items": shown}
    if name == "properties":  # a map, by the properties' names
        required = [one for one in shown["required"] if one != "name"]
        held = {"type": "object", "additionalProperties": shown | {"required": required}}
    return {
        "name": member,
        "properties": {member: held, "first": _TEXT, "next": _TEXT, "schema": _TEXT},
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
        **definitions,
    }


@functools.cache
def _judge(name: str) -> jsonschema.Draft4Validator:
    """What judges a body; it wants names in the nested parts too, where Glance would meet a KeyError."""
    schema = _SEVERAL_TAGS if name == "several_tags" else dict(_ITEMS[name])
    if name == "namespace":
        parts = dict(_NAMESPACE)
        for part, about in (
            ("resource_type_associations", _ASSOCIATION),
            ("objects", _OBJECT),
            ("tags", _TAG),
        ):
            strict = {"type": "object", "properties": about, "required": ["name"]}
            parts[part] = {"type": "array", "items": strict | {"additionalProperties": False}}
        schema["properties"] = parts
    return schemas.judge(schema)


def read(name: str) -> dict[str, Any]:
    """The request's body, an object as the schema `name` wants it.

    Raises:
        Forbidden: it sets what only the service sets.
        Invalid: it is not what the schema says; the text says where and why.
    """
    fields = body.read_object(flask.request.environ)
    fixed = ("self", "schema", "created_at", "updated_at")
    for member in fixed[2:] if name in ("property", "resource_type") else fixed:
        if member in fields:
            raise errors.Forbidden(f"Attribute '{member}' is read-only.")
    error = schemas.fault(_judge(name), fields)
    if error is not None:
        where = "/".join(map(str, error.path))
        raise errors.Invalid(
            f"Provided object does not match schema '{name}': {where}: {error.message[:500]}"
        )
    return fields


@blueprint.get(f"/<any({', '.join((*_ITEMS, *_LISTS))}):name>")
def show(name: str) -> flask.Response:
    """GET /v2/schemas/metadefs/{name}."""
    body.refuse(flask.request.environ)
    return render.answer(document(name))
