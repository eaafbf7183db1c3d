"""Images as the caller of a request may see them (contract section 2.1.2).

Members that are not set are null, not absent.
"""

import operator
from typing import Any

import flask

from images import config, context, extras, location_tasks, policy, protections, records, stores
from images import locations as places

_BASE = tuple(name for name in records.COLUMNS if not name.endswith("_at"))
_base = operator.attrgetter(*_BASE)
#: Marks that tell other processes of a Glance where to ask, and nobody else.
_HIDDEN = ("os_glance_stage_host", "os_glance_hash_op_host", location_tasks.REFUSED)
#: The rule of seeing where the bytes are.
_PLACES = "get_image_location"


class Viewer:
    """What holds for all images that a request shows is found out once, and not for each of a page."""

    def __init__(self, asker: context.Context) -> None:
        self._asker = asker
        #: What the caller may do with custom properties.
        self.may = protections.Judge(asker).allows
        self._described = extras.known()
        self._is_multi = stores.multi()
        self._with_direct = config.CONF.show_image_direct_url
        self._with_all = config.CONF.show_multiple_locations
        self._shows_places = self._with_direct or self._with_all
        # Glance's own rule does not tell the images of an owner from one another; an operator's may.
        self._are_custom = self._shows_places and policy.is_custom(_PLACES)
        self._seen: dict[str | None, bool] = {}

    def show(self, record: records.Record) -> dict[str, Any]:
        """One image, as JSON has it."""
        may, described = self.may, self._described
        shown: dict[str, Any] = {
            name: value if value is not None or name in described else ""
            for name, value in record.properties.items()
            if name not in _HIDDEN and may("read", name)
        }
        shown.update(zip(_BASE, _base(record), strict=True))
        if self._is_multi or self._shows_places:
            self._add_places(shown, record)
        path = f"/v2/images/{record.id}"
        shown["tags"] = record.tags
        shown["created_at"], shown["updated_at"] = record.created_at, record.updated_at
        shown["self"], shown["file"] = path, f"{path}/file"
        shown["schema"] = "/v2/schemas/image"
        return shown

    def _add_places(self, shown: dict[str, Any], record: records.Record) -> None:
        """The conditional members: where the bytes are, as far as this service shows that to the caller."""
        rows = places.ordered(record.locations)
        if self._is_multi:
            named = [stores.named(row.value, row.meta_data) for row in rows]
            if names := stores.in_order([name for name in named if name]) or _refused(record):
                shown["stores"] = ",".join(names)
        if not self._shows_places or not self._may_see_places(record):
            return
        if self._with_direct and rows:
            shown["direct_url"] = rows[0].value
        if self._with_all:
            shown["locations"] = locations(record)

    def _may_see_places(self, record: records.Record) -> bool:
        key = record.id if self._are_custom else record.owner
        if key not in self._seen:
            self._seen[key] = policy.allowed(self._asker, _PLACES, record)
        return self._seen[key]


def of_request() -> Viewer:
    """That of the caller of this request."""
    if "viewer" not in flask.g:
        flask.g.viewer = Viewer(flask.g.context)
    made: Viewer = flask.g.viewer
    return made


def locations(record: records.Record) -> list[dict[str, Any]]:
    """An image's locations, the heaviest store's first (contract section 2.11)."""
    rows = places.ordered(record.locations)
    return [{"url": row.value, "metadata": row.meta_data} for row in rows]


def _refused(record: records.Record) -> list[str]:
    """The store of a location whose data were not what was said; Glance shows it, and Tempest looks."""
    name = record.properties.get(location_tasks.REFUSED)
    return [name] if name else []
