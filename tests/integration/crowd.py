"""A database with 100,000 images of several projects, made in seconds: what lists are measured on."""

import datetime
import hashlib
import itertools
import uuid
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from images import models

IMAGES = 100_000
#: Owns one image of 500, and sees others'.
FEW = "few"
#: Owns one image of three.
MANY = "many"
_OTHERS = 40
#: How many images there are of each: one in so many.
_PUBLIC, _COMMUNITY, _SHARED = 20, 25, 100
_ROWS = 5_000
_START = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 - as the tables keep it
_FORMATS = ("raw", "qcow2", "vmdk", "iso", None)


def fill(engine: sa.Engine, count: int = IMAGES) -> None:
    """Fill an empty database: images with four properties, two tags and a location; some with members."""
    with engine.begin() as connection:
        if engine.dialect.name == "mysql":
            connection.exec_driver_sql("SET unique_checks=0, foreign_key_checks=0")
        rows_of_all = images(count)
        while rows := list(itertools.islice(rows_of_all, _ROWS)):
            connection.execute(sa.insert(models.Image), rows)
        for table, columns, query in _parts():
            connection.execute(sa.insert(table).from_select(columns, query))
    if engine.dialect.name != "sqlite":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in _ANALYSE[engine.dialect.name]:
                connection.exec_driver_sql(statement)


def image_id(number: int) -> str:
    """The id of the `number`th image; ids say nothing of their order."""
    return str(uuid.UUID(bytes=hashlib.md5(str(number).encode()).digest()))  # noqa: S324


def moment(number: int) -> datetime.datetime:
    """When it was made: five in the same second."""
    return _START + datetime.timedelta(seconds=number // 5)


def checksum(number: int) -> str:
    """The one of an image; four others have it too."""
    return hashlib.md5(moment(number).isoformat().encode()).hexdigest()  # noqa: S324


def images(count: int = IMAGES) -> Iterator[dict[str, Any]]:
    """The rows of the images, the oldest first."""
    for number in range(count):
        made = moment(number)
        gone = number % 97 == 3
        yield {
            "id": image_id(number),
            "name": None if number % 11 == 0 else f"image-{number % (count // 4)}",
            "owner": _owner(number),
            "visibility": _visibility(number),
            "status": "deleted" if gone else ("queued" if number % 10 == 7 else "active"),
            "deleted": gone,
            "deleted_at": made if gone else None,
            "os_hidden": number % 50 == 9,
            "disk_format": _FORMATS[number % 5],
            "container_format": "bare" if number % 3 else None,
            "size": None if number % 10 == 7 else number * 1_000_003 % (1 << 34),
            "checksum": checksum(number),
            "created_at": made,
            "updated_at": made + datetime.timedelta(seconds=number * 7919 % 100_000),
            "min_ram": number % 1000,
            "min_disk": 0,
            "protected": False,
        }


def _owner(number: int) -> str:
    if number % 500 == 1:
        return FEW
    return MANY if number % 3 == 0 else f"project-{number % _OTHERS}"


def _visibility(number: int) -> str:
    if number % _PUBLIC == 2:
        return "public"
    if number % _COMMUNITY == 4:
        return "community"
    return "shared" if number % 2 else "private"


def _parts() -> Iterator[tuple[type[models.Base], list[str], Any]]:
    """What belongs to images, each made by the database itself out of its images."""
    image, stamps = models.Image, ["image_id", "created_at", "deleted"]
    base = [image.id, image.created_at, image.deleted]
    properties = {
        "architecture": sa.literal("x86_64"),
        "os_distro": sa.func.substr(image.id, 1, 1),
        "instance_uuid": image.id,
        "hw_disk_bus": sa.literal("virtio"),
    }
    for name, value in properties.items():
        query = sa.select(*base, sa.literal(name), value)
        yield models.ImageProperty, [*stamps, "name", "value"], query
    for value in (sa.literal("cloud"), sa.func.substr(image.id, 1, 3)):
        yield models.ImageTag, [*stamps, "value"], sa.select(*base, value)
    place = sa.literal("file:///var/lib/gantry/images/") + image.id
    query = sa.select(*base, place, sa.literal("active"), sa.literal('{"store": "fast"}'))
    columns = [*stamps, "value", "status", "meta_data"]
    yield models.ImageLocation, columns, query.where(image.status == "active")
    columns = [*stamps, "member", "can_share", "status"]
    for member, status, first in (
        (FEW, "accepted", 1),
        (FEW, "pending", 3),
        (MANY, "accepted", 5),
    ):
        query = sa.select(*base, sa.literal(member), sa.false(), sa.literal(status))
        shared = image.min_ram.in_(range(first, 1000, _SHARED))
        yield models.ImageMember, columns, query.where(shared)


_ANALYSE = {
    "postgresql": ("ANALYZE",),
    "mysql": (
        "ANALYZE TABLE images, image_properties, image_tags, image_locations, image_members",
    ),
}
