"""Images as they are read to be shown: one row each, in one statement for all of them.

`models.Image` is what is changed. A record costs a tenth of it, and that is most of what GET costs.
"""

import dataclasses
import json
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy import orm

from images import db, models, packing

_I = models.Image
#: Their order in a row, and in a `Record`.
COLUMNS = (
    *("id", "name", "status", "visibility", "owner", "protected", "os_hidden"),
    *("disk_format", "container_format", "min_disk", "min_ram", "size", "virtual_size"),
    *("checksum", "os_hash_algo", "os_hash_value", "created_at", "updated_at"),
)
_ID = COLUMNS.index("id")
_FLAGS = slice(COLUMNS.index("protected"), COLUMNS.index("os_hidden") + 1)


class Location(NamedTuple):
    """Where an image's bytes are; named as the table's columns are."""

    value: str
    meta_data: dict[str, Any]


@dataclasses.dataclass(slots=True)
class Record:
    """An image with its parts; columns are named and mean what they do in `models.Image`."""

    id: str
    name: str | None
    status: str
    visibility: str
    owner: str | None
    protected: bool
    os_hidden: bool
    disk_format: str | None
    container_format: str | None
    min_disk: int
    min_ram: int
    size: int | None
    virtual_size: int | None
    checksum: str | None
    os_hash_algo: str | None
    os_hash_value: str | None
    #: In UTC and whole seconds, as documents have dates: `2026-01-31T23:59:59Z`.
    created_at: str
    updated_at: str
    #: Custom properties; None where the database has NULL, as the v1 era left it.
    properties: dict[str, str | None]
    tags: list[str]
    locations: list[Location]

    def facts(self) -> dict[str, Any]:
        """What a policy rule may ask of it: its properties, and its columns."""
        return self.properties | {name: getattr(self, name) for name in COLUMNS}


def of(image: models.Image) -> Record:
    """An image that has been read to be changed, all its parts loaded, as it is now."""
    dates = [image.created_at, image.updated_at or image.created_at]
    values = [
        *(getattr(image, name) for name in COLUMNS[: -len(dates)]),
        *(date(str(moment)) for moment in dates),
        {name: row.value for name, row in image.property_rows.items() if not row.deleted},
        image.tags,
        [Location(row.value, row.meta_data or {}) for row in image.location_rows],
    ]
    return Record(*values)


def query() -> sa.Select[tuple[str]]:
    """A statement for whole images; what it is about is still to be said. `read` runs it."""
    rows, tags, places = models.ImageProperty, models.ImageTag, models.ImageLocation
    return sa.select(
        packing.whole(
            packing.packed(*(getattr(_I, name) for name in COLUMNS)),
            _part(rows, rows.name, rows.value),
            _part(tags, tags.value),
            _part(
                places, places.id, places.value, places.meta_data, only=places.status == "active"
            ),
        ),
    )


def _part(rows: Any, *columns: Any, only: Any = None) -> sa.ScalarSelect[Any]:
    found = sa.select(packing.gathered(*columns)).where(rows.image_id == _I.id)
    found = found.where(rows.deleted != sa.true()).correlate(_I)
    return (found if only is None else found.where(only)).scalar_subquery()


def read(statement: sa.Select[Any], values: dict[str, Any]) -> list[Record]:
    """The records that a statement made of `query`, and kept, finds, in its order.

    Raises:
        Unavailable, Abandoned: as `db.transaction` does.
    """
    found: list[Record | None] = []
    cut: dict[str, int] = {}
    for (text,) in db.fetch_kept(statement, values):
        try:
            found.append(_record(*packing.unpacked(text)))
        except packing.Cut as one:
            cut[one.row[_ID]] = len(found)
            found.append(None)
    if cut:
        for record in _read_slowly(list(cut)):
            found[cut[record.id]] = record
    return [record for record in found if record]


def _record(
    columns: list[Any], properties: list[Any], tags: list[Any], places: list[Any]
) -> Record:
    columns[_FLAGS] = map(bool, columns[_FLAGS])
    columns[-1] = date(columns[-1] or columns[-2])
    columns[-2] = date(columns[-2])
    columns += [
        dict(properties),
        sorted({tag for (tag,) in tags}),
        [Location(url, json.loads(data or "{}") or {}) for _, url, data in sorted(places)],
    ]
    return Record(*columns)


def date(text: str) -> str:
    """A date as documents have it, from what any database makes of one."""
    return f"{text[:10]}T{text[11:19]}Z"


def _read_slowly(ids: list[str]) -> list[Record]:
    """The records of images whose properties are too long for one row, but of those that are gone by now."""
    statement = sa.select(_I).where(_I.id.in_(ids))
    for part in (_I.property_rows, _I.tag_rows, _I.location_rows):
        statement = statement.options(orm.selectinload(part))
    with db.reading() as session:
        return [of(image) for image in session.scalars(statement)]
