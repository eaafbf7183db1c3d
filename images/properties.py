"""Custom properties that do not come from a request: those of another region's image, and the operator's."""

from collections.abc import Iterable, Sequence
from typing import Any

from oslo_config import cfg

from images import config, errors, filters, models

#: Beginning of the names that are the service's own.
PREFIX = "os_glance"
_NAME_LENGTH = 255
#: Members of a record that are no properties, beside its columns.
_MEMBERS = ("tags", "self", "file", "schema", "stores", "direct_url", "location", "locations")


def fits(name: str, value: Any) -> bool:
    """Whether this can be a custom property: it hides no member of the record, and the database takes it."""
    if not isinstance(value, str) or name.startswith(PREFIX):
        return False
    if name in _MEMBERS or name in models.Image.__table__.columns:
        return False
    return 0 < len(name) <= _NAME_LENGTH and not filters.UNSTORABLE.search(name + value)


def check_quota(names: Iterable[str]) -> None:
    """Refuse too many custom properties of one image (`image_property_quota`).

    Raises:
        LimitExceeded: so it is.
    """
    count = sum(not name.startswith(PREFIX) for name in names)
    quota = config.CONF.image_property_quota
    if 0 <= quota < count:
        raise errors.LimitExceeded(
            f"The limit has been exceeded on the number of image properties: {quota}"
        )


def configure(conf: cfg.ConfigOpts) -> None:
    """Judge what is to be injected; the service's own names are left out, as Glance does.

    Raises:
        Invalid: something of it can be no property.
    """
    for name, value in conf.inject_metadata_properties.inject.items():
        if not name.startswith(PREFIX) and not fits(name, value):
            raise errors.Invalid(
                f"inject = {name[:40]}:…: no custom property can have this name, or this value; a name has 1 "
                "to 255 characters and is no member that every image has"
            )


def injected(roles: Sequence[str]) -> dict[str, str]:
    """What an import of somebody with these roles gives to the image (`[inject_metadata_properties]`)."""
    options = config.CONF.inject_metadata_properties
    if set(roles) & set(options.ignore_user_roles):
        return {}
    return {name: value for name, value in options.inject.items() if fits(name, value)}
