"""Tasks of type `import`, from before images had an import of their own: a URL becomes a new image.

Contract section 2.7. The URL passes the same filter as that of a web-download, when the task is asked for and
at each hop of the download: there is no second way to reach a host.
"""

from typing import Any

from images import (
    checksums,
    config,
    db,
    editing,
    errors,
    imports,
    leases,
    models,
    signatures,
    statuses,
    stores,
    urls,
)

#: The queue of these tasks' jobs (`images.queue`).
QUEUE = "fetch"

#: What the input must have, and what values the record's own columns may have.
_MEMBERS = ("import_from", "import_from_format", "image_properties")
_TEXTS = ("name", "owner")
_FLAGS = ("protected", "os_hidden")
_NUMBERS = ("min_disk", "min_ram")
_VISIBILITIES = ("public", "private", "shared", "community")
_TEXT_LENGTH, _BIGGEST = 255, (1 << 31) - 1


def check(document: Any) -> dict[str, Any]:
    """Judge the input of a task that is asked for; the rest is found out when it runs.

    Raises:
        Invalid: it has no URL, or one that is refused; or the image is signed, or its expected
            checksum is none.
    """
    url = document.get("import_from") if isinstance(document, dict) else None
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        raise errors.Invalid("input must have a member import_from, an http or https URL")
    urls.check(url)
    properties = document.get("image_properties")
    checksums.of_property(properties)
    if isinstance(properties, dict) and signatures.claim_of(properties):
        raise errors.Invalid(
            "A task of type import does not verify signatures: create the image with its img_signature "
            "properties, and import it with POST /v2/images/{id}/import"
        )
    checked: dict[str, Any] = document
    return checked


def create(plan: imports.Plan) -> dict[str, str | None]:
    """Make the task's image, locked by the task and `importing`; its two formats.

    An image that an earlier attempt has made is taken as it is.

    Raises:
        Invalid, Forbidden, LimitExceeded: no such image can be made for who asked.
        Abandoned: another worker has the task.
    """
    if plan.disk_format and plan.container_format:
        return {"disk_format": plan.disk_format, "container_format": plan.container_format}
    fields = _fields(plan.fields)
    asker = imports.asker_of(plan)
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        image = editing.create(session, asker, fields | {"id": plan.image_id})
        for column in ("container_format", "disk_format"):
            if getattr(image, column) is None:
                raise errors.Invalid(f"'{column}' needs to be set before import")
        statuses.move_image(session, image.id, "queued", "importing")
        marks = {
            imports.LOCK: plan.lease.task_id,
            imports.IMPORTING_TO: stores.listed(plan.stores),
            imports.FAILED: "",
        }
        for name, value in marks.items():
            session.add(models.ImageProperty(image_id=image.id, name=name, value=value))
        return {"disk_format": image.disk_format, "container_format": image.container_format}


def _fields(document: dict[str, Any]) -> dict[str, Any]:
    """The image's members, judged as POST /v2/images judges them."""
    for name in _MEMBERS:
        if name not in document:
            raise errors.Invalid(f"Input does not contain '{name}' field")
    fields = document["image_properties"]
    if not isinstance(fields, dict):
        raise errors.Invalid("image_properties must be an object")
    # What Glance takes where nothing at all is said.
    fields = fields or {"disk_format": "qcow2", "container_format": "bare"}
    editing.check_names(fields, creating=False)
    for name, value in fields.items():
        if not _is_right(name, value):
            raise errors.Invalid(f"image_properties: '{name}' cannot have this value")
    return fields


def _is_right(name: str, value: Any) -> bool:
    if name in _FLAGS:
        return isinstance(value, bool)
    if name in _NUMBERS:
        return type(value) is int and 0 <= value <= _BIGGEST
    if name == "tags":
        return isinstance(value, list) and all(_is_text(tag) for tag in value)
    choices = {
        "visibility": _VISIBILITIES,
        "disk_format": config.CONF.image_format.disk_formats,
        "container_format": config.CONF.image_format.container_formats,
    }
    if name in choices:
        return value in choices[name]
    return _is_text(value) if name in _TEXTS else isinstance(value, str)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT_LENGTH
