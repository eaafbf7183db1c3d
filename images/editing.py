"""Making and changing an image's record on its owner's behalf (contract sections 2.1.1 and 2.2).

Names are judged here (`check_names`), values by the JSON schema that the API serves; whoever calls
`create` or `apply` has done both.
"""

import dataclasses
import json
import re
import uuid
from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import exc, orm

from images import (
    config,
    context,
    db,
    errors,
    models,
    notifications,
    policy,
    properties,
    protections,
    statuses,
)

#: Columns that a caller may set.
_EDITABLE = (
    *("name", "visibility", "owner", "protected", "os_hidden"),
    *("disk_format", "container_format", "min_disk", "min_ram"),
)
_READ_ONLY = (
    *("status", "size", "virtual_size", "checksum", "os_hash_algo", "os_hash_value"),
    *("created_at", "updated_at", "direct_url", "self", "file", "schema", "stores"),
)
_RESERVED = ("location", "locations", "deleted", "deleted_at")
#: Members of Glance's own objects, which its PATCH lets through by accident.
_INTERNAL = ("member", "context", "extra_properties", "image_id")
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_NAME_LENGTH = 255


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """One operation of a PATCH, on one member of the record."""

    operation: Literal["add", "replace", "remove"]
    name: str
    value: Any = None
    #: Whether adding what is there already is refused (the older patch format).
    must_be_new: bool = False
    #: Which part of the member: `-` or a number, for `locations` only.
    position: str | None = None


def check_names(names: Iterable[str], *, creating: bool) -> None:
    """Refuse names that no caller may set.

    Raises:
        Forbidden: the name is read-only, or reserved for the service.
        Invalid: it is too long for a property.
    """
    for name in names:
        if name in _READ_ONLY or (name == "id" and not creating):
            raise errors.Forbidden(f"Attribute '{name}' is read-only.")
        if (
            name in _RESERVED
            or name.startswith(properties.PREFIX)
            or (name in _INTERNAL and not creating)
        ):
            raise errors.Forbidden(f"Attribute '{name}' is reserved.")
        if not 0 < len(name) <= _NAME_LENGTH:
            raise errors.Invalid(f"A property's name has 1 to {_NAME_LENGTH} characters")


def create(session: orm.Session, asker: context.Context, fields: dict[str, Any]) -> models.Image:
    """A new image, `queued`, of the asker's project unless an administrator names another owner.

    Raises:
        Forbidden: the asker may not, or not with this owner, visibility or property.
        Duplicate: the id is taken, perhaps by an image that was deleted.
        LimitExceeded: it has too many tags or properties.
    """
    owner = fields.get("owner", asker.owner)
    _check_owner(asker, owner)
    policy.enforce(asker, "add_image", owner=owner)
    image = models.Image(id=_new_id(fields.get("id")), owner=owner, status="queued")
    image.visibility = fields.get("visibility", "shared")
    _set_columns(image, {"protected": False, "os_hidden": False, "min_disk": 0, "min_ram": 0})
    _set_columns(image, {name: fields[name] for name in _EDITABLE if name in fields})
    _check_visibility(asker, image, image.visibility)
    image.created_at = image.updated_at = db.now()
    image.location_rows, image.tag_rows, image.property_rows = [], [], {}
    _set_tags(image, fields.get("tags", []))
    judge = protections.Judge(asker)
    names = fields.keys() - {"id", "tags", *_EDITABLE}
    properties.check_quota(names)  # first: a row is a hundred times as dear as a name in a body
    for name in names:
        judge.require("create", name)
        image.set_property(name, _text(fields[name]))
    session.add(image)
    _flush(session, f"Image ID {image.id} already exists!")
    if notifications.enabled:
        notifications.image(session, "image.create", image.id)
    return image


def _new_id(asked: str | None) -> str:
    if asked is None:
        return str(uuid.uuid4())
    if not _ID.fullmatch(asked):
        raise errors.Invalid(f"The id {asked!r} is no UUID")
    return asked


def _flush(session: orm.Session, taken: str) -> None:
    try:
        session.flush()
    except exc.IntegrityError as error:
        raise errors.Duplicate(taken) from error


def apply(
    session: orm.Session, asker: context.Context, image: models.Image, changes: list[Change]
) -> None:
    """Change an image's record by a PATCH, in whose order the changes are made; all of them or none.

    The image was locked by `catalog.get` and has its properties and tags loaded.

    Raises:
        Forbidden: a change is one that the asker may not make, or that nobody may in this status.
        Conflict: a property is replaced or removed that is not there, or added that must be new.
        LimitExceeded: it would have too many tags or properties.
    """
    judge, before = protections.Judge(asker), set(image.properties)
    for change in changes:
        if change.name == "tags" or change.name in _EDITABLE:
            _change_column(asker, image, change)
        else:
            _change_property(judge, image, change)
    if image.properties.keys() - before:
        properties.check_quota(image.properties)
    if changes:
        image.updated_at = db.now()
    # MySQL takes names that differ in a space at the end for the same.
    _flush(session, "A property's name differs from another one's in a space at its end only")
    if notifications.enabled:
        notifications.image(session, "image.update", image.id)


def _change_column(asker: context.Context, image: models.Image, change: Change) -> None:
    if change.operation == "remove":
        raise errors.Forbidden(f"Property {change.name} may not be removed.")
    if change.must_be_new:
        raise errors.Conflict(f"Property {change.name} already present.")
    if change.name == "tags":
        _set_tags(image, change.value)
        return
    if change.name.endswith("_format") and image.status not in ("queued", "importing"):
        raise errors.Forbidden(f"Attribute {change.name} can be only replaced for a queued image.")
    if change.name == "owner" and not asker.is_admin:
        raise errors.Forbidden("You are not permitted to modify 'owner' on this image.")
    if change.name == "visibility":
        _check_visibility(asker, image, change.value)
    _set_columns(image, {change.name: change.value})


def _change_property(judge: protections.Judge, image: models.Image, change: Change) -> None:
    """What the asker may not read is, to the asker, not there: Glance's way, an `add` overwrites it."""
    there = change.name in image.properties and judge.allows("read", change.name)
    if change.operation == "add":
        if there and change.must_be_new:
            raise errors.Conflict(f"Property {change.name} already present.")
        judge.require("update" if there else "create", change.name)
    elif not there:
        raise errors.Conflict(f"Property {change.name} does not exist.")
    if change.operation == "remove":
        judge.require("delete", change.name)
        row = image.property_rows[change.name]
        row.deleted, row.deleted_at = True, db.now()
        return
    if change.operation == "replace":
        judge.require("update", change.name)
    image.set_property(change.name, _text(change.value))


def _text(value: Any) -> str | None:
    """A property's value as it is kept; what is no text has a type of the operator's own schema."""
    return value if value is None or isinstance(value, str) else json.dumps(value)


def _set_columns(image: models.Image, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(image, name, value)


def _set_tags(image: models.Image, values: list[str]) -> None:
    wanted = set(values)
    quota = config.CONF.image_tag_quota
    if 0 <= quota < len(wanted) and len(wanted) > len(image.tag_rows):
        raise errors.LimitExceeded(
            f"The limit has been exceeded on the number of image tags: {quota}"
        )
    kept = [row for row in image.tag_rows if row.value in wanted]
    added = wanted - {row.value for row in kept}
    image.tag_rows = kept + [models.ImageTag(value=value) for value in sorted(added)]


def add_tag(session: orm.Session, image: models.Image, tag: str) -> None:
    """Give an image one more tag; one that it has already changes nothing.

    Raises:
        LimitExceeded: it would have too many.
    """
    _set_tags(image, [*image.tags, tag])
    image.updated_at = db.now()
    session.flush()
    if notifications.enabled:
        notifications.image(session, "image.update", image.id)


def remove_tag(session: orm.Session, image: models.Image, tag: str) -> None:
    """Take a tag from an image.

    Raises:
        NotFound: it has no such tag.
    """
    if tag not in image.tags:
        raise errors.NotFound(f"Image {image.id} has no tag {tag}")
    _set_tags(image, [value for value in image.tags if value != tag])
    image.updated_at = db.now()
    session.flush()
    if notifications.enabled:
        notifications.image(session, "image.update", image.id)


def switch(session: orm.Session, image: models.Image, was: str, to: str) -> None:
    """Deactivate or reactivate an image; one that is so already stays so.

    Raises:
        Forbidden: it is in any other status.
    """
    if image.status == to:
        return
    if image.status != was:
        raise errors.Forbidden(f"Image {image.id} is {image.status}; only an {was} one can be {to}")
    statuses.move_image(session, image.id, image.status, to)


def _check_owner(asker: context.Context, owner: str | None) -> None:
    if owner != asker.owner and not asker.is_admin:
        raise errors.Forbidden(f"You are not permitted to create images owned by '{owner}'.")


def _check_visibility(asker: context.Context, image: models.Image, visibility: str) -> None:
    rule = {"public": "publicize_image", "community": "communitize_image"}.get(visibility)
    if rule:
        policy.enforce(asker, rule, image)
