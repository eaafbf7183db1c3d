"""The JSON schemas: served, and what bodies are judged by (contract section 2.14).

Clients build their models from these; a field that is missing here is dropped by them.
"""

import functools
from typing import Any

import flask
import jsonschema
from jsonschema import exceptions

from api import body, render
from images import config, editing, errors

blueprint = flask.Blueprint("schemas", __name__, url_prefix="/v2/schemas")

_UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_STATUSES = (
    *("queued", "saving", "active", "killed", "deleted"),
    *("uploading", "importing", "pending_delete", "deactivated"),
)
#: The largest value of the two INTEGER columns.
_INTEGER = (1 << 31) - 1


def image() -> dict[str, Any]:
    """The schema of an image, with the formats that are configured."""
    return {
        "name": "image",
        "properties": _properties(),
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def images() -> dict[str, Any]:
    """The schema of a list of images."""
    return {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image()},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def check(fields: dict[str, Any]) -> None:
    """Judge the members of an image.

    Raises:
        Invalid: one does not match the schema; the text says which and why.
    """
    formats = config.CONF.image_format
    judge = _validator(tuple(formats.container_formats), tuple(formats.disk_formats))
    error = exceptions.best_match(judge.iter_errors(fields))
    if error is not None:
        name = f"{error.path[0]}: " if error.path else ""
        raise errors.Invalid(
            f"Provided object does not match schema 'image': {name}{error.message[:500]}"
        )


def check_changes(changes: list[editing.Change]) -> None:
    """Judge the new values of a PATCH; raises what `check` raises."""
    for change in changes:
        if change.operation != "remove":
            check({change.name: change.value})


@functools.lru_cache(maxsize=4)
def _validator(*_formats: tuple[str, ...]) -> jsonschema.Draft4Validator:
    """Compiled once for each set of formats."""
    return jsonschema.Draft4Validator(image())


def _text(description: str, length: int | None = None, **more: Any) -> dict[str, Any]:
    if length:
        more = {"type": ["null", "string"], "maxLength": length} | more
    return {"type": "string", **more, "description": description}


def _number(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "integer", **more, "description": description}


def _format(description: str, values: list[str]) -> dict[str, Any]:
    return _text(description, type=["null", "string"], enum=[None, *values])


def _properties() -> dict[str, Any]:
    formats, fixed = config.CONF.image_format, {"readOnly": True}
    size = {"type": ["null", "integer"], **fixed}
    amount = {"minimum": 0, "maximum": _INTEGER}
    return {
        "id": _text("An identifier for the image", pattern=_UUID),
        "name": _text("Descriptive name for the image", 255),
        "status": _text("Status of the image", enum=list(_STATUSES), **fixed),
        "visibility": _text(
            "Scope of image accessibility", enum=["community", "public", "private", "shared"]
        ),
        "protected": {"type": "boolean", "description": "If true, image will not be deletable."},
        "os_hidden": {
            "type": "boolean",
            "description": "If true, image will not appear in default image list response.",
        },
        "checksum": _text("md5 hash of image contents.", 32, **fixed),
        "os_hash_algo": _text("Algorithm to calculate the os_hash_value", 64, **fixed),
        "os_hash_value": _text(
            "Hexdigest of the image contents using the algorithm specified by the os_hash_algo",
            128,
            **fixed,
        ),
        "owner": _text("Owner of the image", 255),
        "size": {**size, "description": "Size of image file in bytes"},
        "virtual_size": {**size, "description": "Virtual size of image in bytes"},
        "container_format": _format("Format of the container", formats.container_formats),
        "disk_format": _format("Format of the disk", formats.disk_formats),
        "created_at": _text("Date and time of image registration", **fixed),
        "updated_at": _text("Date and time of the last image modification", **fixed),
        "tags": {
            "type": "array",
            "description": "List of strings related to the image",
            "items": {"type": "string", "maxLength": 255},
        },
        "direct_url": _text("URL to access the image file kept in external store", **fixed),
        "min_ram": _number("Amount of ram (in MB) required to boot image.", **amount),
        "min_disk": _number("Amount of disk space (in GB) required to boot image.", **amount),
        "self": _text("An image self url", **fixed),
        "file": _text("An image file url", **fixed),
        "schema": _text("An image schema url", **fixed),
        "stores": _text(
            "Store in which image data resides. Only present when the operator has enabled multiple "
            "stores. May be a comma-separated list of store identifiers.",
            **fixed,
        ),
        "locations": _locations(),
    }


def _locations() -> dict[str, Any]:
    hashes = {
        "checksum": {"type": "string", "minLength": 32, "maxLength": 32},
        "os_hash_algo": {"type": "string", "maxLength": 64},
        "os_hash_value": {"type": "string", "maxLength": 128},
    }
    properties = {
        "url": {"type": "string", "maxLength": 255},
        "metadata": {"type": "object"},
        "validation_data": {
            "description": "Values to be used to populate the corresponding image properties.",
            "type": "object",
            "writeOnly": True,
            "additionalProperties": False,
            "properties": hashes,
            "required": ["os_hash_algo", "os_hash_value"],
        },
    }
    return {
        "type": "array",
        "description": "A set of URLs to access the image file kept in external store",
        "items": {"type": "object", "properties": properties, "required": ["url", "metadata"]},
    }


@blueprint.get("/image")
def show_image() -> flask.Response:
    """GET /v2/schemas/image."""
    body.refuse(flask.request.environ)
    return render.answer(image())


@blueprint.get("/images")
def show_images() -> flask.Response:
    """GET /v2/schemas/images."""
    body.refuse(flask.request.environ)
    return render.answer(images())
