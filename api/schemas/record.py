"""The members that every image has, as JSON schemas with the configured formats (contract section 2.14)."""

from typing import Any

from images import config

_UUID = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
_STATUSES = (
    *("queued", "saving", "active", "killed", "deleted"),
    *("uploading", "importing", "pending_delete", "deactivated"),
)
#: The largest value of the two INTEGER columns.
INTEGER = (1 << 31) - 1


def _text(description: str, length: int | None = None, **more: Any) -> dict[str, Any]:
    if length:
        more = {"type": ["null", "string"], "maxLength": length} | more
    return {"type": "string", **more, "description": description}


def _number(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "integer", **more, "description": description}


def _format(description: str, values: list[str]) -> dict[str, Any]:
    return _text(description, type=["null", "string"], enum=[None, *values])


def properties() -> dict[str, Any]:
    """JSON schemas by the names of the members."""
    formats, fixed = config.CONF.image_format, {"readOnly": True}
    size = {"type": ["null", "integer"], **fixed}
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
        "min_ram": _number("Amount of ram (in MB) required to boot image."),
        "min_disk": _number("Amount of disk space (in GB) required to boot image."),
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
