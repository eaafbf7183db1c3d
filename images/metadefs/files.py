"""Metadata definitions as files: one JSON document a namespace, in the shape that POST /namespaces takes.

They are Glance's files (contract section 6.1). Each is loaded in one transaction: whole, or not at all.
"""

import enum
import json
import logging
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import sqlalchemy as sa
from sqlalchemy import exc, orm

from images import config, db, errors
from images.metadefs import models, namespaces

LOG = logging.getLogger(__name__)

#: What this service's own features, and Nova's, are described by.
OURS = pathlib.Path(__file__).with_name("definitions")
#: Whose a namespace is that names no owner.
_OWNER = "admin"
_ABOUT = ("display_name", "description", "visibility", "protected", "owner")
#: Characters of a fault that are shown; it may quote the whole document.
_SHORT = 200
#: What a document must be to be loaded, as the tables have it; Glance asks no more of its files either.
_NAME = {"type": "string", "minLength": 1, "maxLength": 80}
_NAME_OR_NONE = {"type": ["string", "null"], "maxLength": 80}
_TEXT_OR_NONE = {"type": ["string", "null"]}
_ASSOCIATION = {"prefix": _NAME_OR_NONE, "properties_target": _NAME_OR_NONE}
_OBJECT = {
    "description": _TEXT_OR_NONE,
    "required": {"type": ["array", "null"], "items": {"type": "string"}},
    "properties": {"type": ["object", "null"]},
}


def _list(members: dict[str, Any]) -> dict[str, Any]:
    """A list of things that have a name, and what else `members` say."""
    one = {"type": "object", "properties": {"name": _NAME, **members}, "required": ["name"]}
    return {"type": "array", "items": one}


_SCHEMA = jsonschema.Draft202012Validator(
    {
        "type": "object",
        "required": ["namespace"],
        "properties": {
            "namespace": _NAME,
            "display_name": _NAME_OR_NONE,
            "description": _TEXT_OR_NONE,
            "visibility": {"enum": ["public", "private", None]},
            "protected": {"type": ["boolean", "null"]},
            "owner": {"type": ["string", "null"], "maxLength": 255},
            "properties": {"type": "object", "propertyNames": _NAME},
            "resource_type_associations": _list(_ASSOCIATION),
            "objects": _list(_OBJECT),
            "tags": _list({}),
        },
    }
)


class Mode(enum.Enum):
    """What becomes of a namespace that is there already."""

    SKIP = "it stays as it is"
    MERGE = "what it lacks is added"
    PREFER_NEW = "what it lacks is added, and what it has is replaced"
    OVERWRITE = "it is made anew, and nothing of the old one stays"


def load(place: pathlib.Path | None, mode: Mode) -> Iterator[str]:
    """Load a file, or every *.json of a directory in the order of names; says what became of each.

    Without a `place` that is `metadata_source_path`, or where that is missing, our own definitions.
    A file that cannot be loaded is told of, and holds up no other.

    Raises:
        NotFound: there is no such file, or no definitions in such a directory.
    """
    for file in _files(place):
        try:
            document = _read(file)
            with db.transaction() as session:
                done = _load(session, document, mode)
        except errors.Unavailable:
            raise
        except (errors.GantryError, exc.SQLAlchemyError) as error:
            why = error if isinstance(error, errors.GantryError) else type(error).__name__
            LOG.error("Failed to load %s: %s", file.name, why)  # noqa: TRY400 - a trace helps nobody here
        else:
            yield f"{file.name}: namespace {document['namespace']} {done}"


def _files(place: pathlib.Path | None) -> list[pathlib.Path]:
    usual = pathlib.Path(config.CONF.metadata_source_path)
    where = place or (usual if usual.is_dir() else OURS)
    found = [where] if where.is_file() else sorted(where.glob("*.json"))
    if not found:
        raise errors.NotFound(f"Json schema files not found in {where.name or where}. Aborting.")
    return found


def _read(file: pathlib.Path) -> dict[str, Any]:
    """A file's document, in a shape that can be loaded.

    Raises:
        Invalid: it has another one.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise errors.Invalid(f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise errors.Invalid(f"it is no JSON: {error}") from error
    fault = next(_SCHEMA.iter_errors(document), None)
    if fault:
        where = ".".join(str(one) for one in fault.absolute_path)
        raise errors.Invalid(f"{where or 'the document'}: {fault.message[:_SHORT]}")
    loadable: dict[str, Any] = document
    return loadable


def _load(session: orm.Session, document: dict[str, Any], mode: Mode) -> str:
    """Load one document; what was done."""
    rows = models.Namespace
    query = sa.select(rows).where(rows.namespace == document["namespace"])
    space = session.scalars(query).one_or_none()
    done = "merged"
    if space and mode is Mode.SKIP:
        return "skipped. It already exists in the database."
    if space and mode is Mode.OVERWRITE:
        namespaces.wipe(session, space)
        session.expunge(space)
        space, done = None, "overwritten"
    if space is None:
        space = models.Namespace(namespace=document["namespace"], **_about(document))
        session.add(space)
        session.flush()
        done = "loaded" if done == "merged" else done
    elif mode is Mode.PREFER_NEW:
        for column, value in _about(document).items():
            setattr(space, column, value)
    _fill(session, space, document, replace=mode is Mode.PREFER_NEW)
    return done


def _about(document: dict[str, Any]) -> dict[str, Any]:
    """What a namespace says of itself."""
    defaults = {"visibility": "private", "protected": False, "owner": _OWNER}
    said = {name: document[name] for name in _ABOUT if document.get(name) is not None}
    return {"display_name": None, "description": None, **defaults, **said}


def _fill(
    session: orm.Session, space: models.Namespace, document: dict[str, Any], *, replace: bool
) -> None:
    """Add what the document has and the namespace lacks; `replace` what both have."""
    properties = document.get("properties", {})
    entries: list[tuple[type[models.Entry], dict[str, dict[str, Any]]]] = [
        (models.Property, {name: {"json_schema": about} for name, about in properties.items()}),
        (
            models.Object,
            {one["name"]: namespaces.object_columns(one) for one in document.get("objects", [])},
        ),
        (models.Tag, {one["name"]: {} for one in document.get("tags", [])}),
    ]
    for kind, wanted in entries:
        query = sa.select(kind).where(kind.namespace_id == space.id)
        there = {row.name: row for row in session.scalars(query)}
        for name, columns in wanted.items():
            if name not in there:
                session.add(kind(**columns | {"namespace_id": space.id, "name": name}))
            elif replace:
                for column, value in columns.items():
                    setattr(there[name], column, value)
    for one in document.get("resource_type_associations", []):
        _associate(session, space, one, replace=replace)


def _associate(
    session: orm.Session, space: models.Namespace, one: dict[str, Any], *, replace: bool
) -> None:
    query = sa.select(models.ResourceType).filter_by(name=one["name"])
    kind = session.scalars(query).one_or_none()
    if kind is None:
        kind = models.ResourceType(name=one["name"], protected=True)  # as Glance's loader does
        session.add(kind)
        session.flush()
    said = {name: one.get(name) for name in ("prefix", "properties_target")}
    there = session.get(models.Association, (kind.id, space.id))
    if there is None:
        keys = {"namespace_id": space.id, "resource_type_id": kind.id}
        session.add(models.Association(**keys, **said))
        session.flush()
    elif replace:
        for column, value in said.items():
            setattr(there, column, value)


def unload() -> int:
    """Delete all metadata definitions; how many namespaces there were."""
    kinds = (models.Property, models.Object, models.Tag, models.Association)
    with db.transaction() as session:
        count = session.scalars(sa.select(sa.func.count()).select_from(models.Namespace)).one()
        for kind in (*kinds, models.Namespace, models.ResourceType):
            session.execute(sa.delete(kind))
    return count


def export(place: pathlib.Path | None) -> Iterator[str]:
    """Write each namespace into a file of its own, named by it; says which.

    Without a `place` they go into `metadata_source_path`. A file that is there is replaced.

    Raises:
        Unavailable: the directory cannot be written to.
    """
    where = place or pathlib.Path(config.CONF.metadata_source_path)
    taken: set[str] = set()
    with db.reading() as session:
        for space in session.scalars(sa.select(models.Namespace).order_by(models.Namespace.id)):
            name = _file_name(space.namespace, taken)
            text = json.dumps(_document(session, space), indent=4, ensure_ascii=False)
            try:
                where.mkdir(parents=True, exist_ok=True)
                (where / name).write_text(f"{text}\n", encoding="utf-8")
            except OSError as error:
                raise errors.Unavailable(f"{name} cannot be written: {error.strerror}") from error
            yield f"Namespace {space.namespace} saved in {name}"


def _file_name(namespace: str, taken: set[str]) -> str:
    """A name for the file of a namespace; those of two that differ in signs only are told apart."""
    stem = re.sub(r"[^\w.-]+", "-", namespace, flags=re.ASCII).strip(".-") or "namespace"
    name, number = stem, 1
    while name.lower() in taken:
        number += 1
        name = f"{stem}-{number}"
    taken.add(name.lower())
    return f"{name}.json"


def _document(session: orm.Session, space: models.Namespace) -> dict[str, Any]:
    """All of a namespace, as `load` reads it."""

    def every(kind: type[models.Entry]) -> list[Any]:
        query = sa.select(kind).where(kind.namespace_id == space.id).order_by(kind.id)
        return list(session.scalars(query))

    about = {name: getattr(space, name) for name in _ABOUT}
    types = [
        _set({"name": one.name, "prefix": one.prefix, "properties_target": one.properties_target})
        for one in space.associations
    ]
    groups = [
        _set({"name": one.name, "description": one.description})
        | ({"required": one.required.split(",")} if one.required else {})
        | {"properties": one.json_schema or {}}
        for one in every(models.Object)
    ]
    return {
        "namespace": space.namespace,
        **_set(about),
        "resource_type_associations": types,
        "properties": {one.name: one.json_schema for one in every(models.Property)},
        "objects": groups,
        "tags": [{"name": one.name} for one in every(models.Tag)],
    }


def _set(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value is not None}
