"""Many images, written into the tables that both services have, in the way that databases load fastest."""

import dataclasses
import datetime
import hashlib
import pathlib
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

#: Images that are written in one transaction.
_BATCH = 20_000
#: Projects that own them; the first is the one of an ordinary user who is measured.
_PROJECTS = 40
_START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
_NULL = "\\N"

#: Half of them private, a fifth public; what is `community` is not in an administrator's list.
_VISIBILITIES = ("private",) * 25 + ("public",) * 10 + ("shared",) * 13 + ("community",) * 2

#: What filters ask for.
FILTERS = {
    "name": "name=catalog-500",
    "tag": "tag=tenth-3",
    "hidden": "os_hidden=true",
    "property": "os_distro=distro-3",
    "status": "status=queued",
}

Line = tuple[str, ...]


class _Entry(NamedTuple):
    """What all lines of one image have in common."""

    number: int
    id: str
    #: When it was made.
    moment: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Table:
    """A table, its columns, and its lines for one image."""

    name: str
    columns: str
    lines: Callable[[_Entry], Iterator[Line]]


def image_id(number: int) -> str:
    """The id of the `number`th image; ids say nothing of their order."""
    digest = hashlib.md5(str(number).encode(), usedforsecurity=False).digest()
    return str(uuid.UUID(bytes=digest, version=4))


def grow(engine: sa.Engine, count: int, project: str) -> None:
    """Add images until there are `count`, and let the database look at them; says how far it is.

    `project` is the id of the project that owns one of forty.
    """
    have = _count(engine)
    if have >= count:
        return
    for begin in range(have, count, _BATCH):
        batch = [_entry(number) for number in range(begin, min(begin + _BATCH, count))]
        with engine.begin() as connection:
            if engine.dialect.name == "mysql":
                connection.exec_driver_sql("SET unique_checks=0, foreign_key_checks=0")
            for table in _tables(project):
                _load(connection, table, batch)
        print(
            f"  catalog of {sa.make_url(engine.url).database}: {begin + len(batch):,} images",
            flush=True,
        )
    _analyse(engine)


def forget(engine: sa.Engine, name: str) -> None:
    """Remove all images of a name from the tables, so that the next run finds what this one found."""
    ids = "SELECT id FROM images WHERE name = :name"
    parts = ("image_properties", "image_tags", "image_locations", "image_members")
    with engine.begin() as connection:
        for table in parts:
            statement = f"DELETE FROM {table} WHERE image_id IN ({ids})"  # noqa: S608 - our own names
            connection.execute(sa.text(statement), {"name": name})
        connection.execute(sa.text("DELETE FROM images WHERE name = :name"), {"name": name})


def _count(engine: sa.Engine) -> int:
    statement = sa.text("SELECT count(*) FROM images WHERE name LIKE 'catalog-%'")
    with engine.connect() as connection:
        return int(connection.execute(statement).scalar_one())


def _analyse(engine: sa.Engine) -> None:
    statement = "VACUUM ANALYZE"
    if engine.dialect.name == "mysql":
        statement = "ANALYZE TABLE images, image_properties, image_tags, image_locations"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(statement)


# Lines


def _entry(number: int) -> _Entry:
    moment = _START + datetime.timedelta(seconds=29 * number)
    return _Entry(number, image_id(number), moment.strftime("%Y-%m-%d %H:%M:%S"))


def _tables(project: str) -> tuple[_Table, ...]:
    def images(entry: _Entry) -> Iterator[Line]:
        yield _image(entry, project)

    stamps = "created_at, updated_at, deleted"
    return (
        _Table(
            "images",
            "id, name, disk_format, container_format, size, checksum, os_hash_algo, os_hash_value, status,"
            f" visibility, owner, os_hidden, protected, min_disk, min_ram, {stamps}",
            images,
        ),
        _Table("image_properties", f"image_id, name, value, {stamps}", _properties),
        _Table("image_tags", f"image_id, value, {stamps}", _tags),
        _Table("image_locations", f"image_id, value, meta_data, status, {stamps}", _locations),
    )


# What `number // _PROJECTS` is added for: no trait of an image goes with its owner.


def _is_queued(number: int) -> bool:
    return (number + number // _PROJECTS) % 50 == 7


def _image(entry: _Entry, project: str) -> Line:
    number, image, moment = entry
    owner = number % _PROJECTS
    size, md5, sha512 = str(number * 1_000_003 % (1 << 34)), "5" * 32, "a" * 128
    bytes_of = (_NULL,) * 4 if _is_queued(number) else (size, md5, "sha512", sha512)
    return (
        *(image, f"catalog-{number}", "raw", "bare"),
        *bytes_of,
        "queued" if _is_queued(number) else "active",
        _VISIBILITIES[(number * 7 + number // _PROJECTS) % len(_VISIBILITIES)],
        project if owner == 0 else f"{owner:032x}",
        "1" if (number * 3 + number // _PROJECTS) % 100 == 9 else "0",
        *("0", "1", "512", moment, moment, "0"),
    )


def _properties(entry: _Entry) -> Iterator[Line]:
    number, image, moment = entry
    values = {
        "architecture": "x86_64",
        "hw_disk_bus": "virtio",
        "os_distro": f"distro-{number // 7 % 10}",
        "build": f"build-{number}",
    }
    for name, value in values.items():
        yield image, name, value, moment, moment, "0"


def _tags(entry: _Entry) -> Iterator[Line]:
    number, image, moment = entry
    for value in ("catalog", f"tenth-{number // 11 % 10}"):
        yield image, value, moment, moment, "0"


def _locations(entry: _Entry) -> Iterator[Line]:
    number, image, moment = entry
    if not _is_queued(number):
        place = f"file:///srv/images/{image}"
        yield image, place, '{"store": "fast"}', "active", moment, moment, "0"


# Loading


def _load(connection: sa.Connection, table: _Table, batch: Sequence[_Entry]) -> None:
    text = "".join(_text(table, batch))
    if connection.engine.dialect.name == "mysql":
        _load_mariadb(connection, table, text)
    else:
        driver: Any = connection.connection.dbapi_connection
        with driver.cursor().copy(f"COPY {table.name} ({table.columns}) FROM STDIN") as copy:
            copy.write(text)


def _text(table: _Table, batch: Sequence[_Entry]) -> Iterator[str]:
    """Lines as both COPY and LOAD DATA read them."""
    for entry in batch:
        for line in table.lines(entry):
            yield "\t".join(line) + "\n"


def _load_mariadb(connection: sa.Connection, table: _Table, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as file:
        pathlib.Path(file.name).write_text(text)
        connection.exec_driver_sql(
            f"LOAD DATA LOCAL INFILE '{file.name}' INTO TABLE {table.name} ({table.columns})"
        )
