"""What a namespace holds: objects, properties and tags, each under a name of its own."""

from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc, orm

from images import errors, filters
from images.metadefs import models, payloads

E = TypeVar("E", bound=models.Entry)

_ORDER = ("name", "created_at", "updated_at", "id")


def every(
    session: orm.Session,
    kind: type[E],
    space: models.Namespace,
    *,
    limit: int | None = None,
    marker: str | None = None,
    sort: tuple[str, str] = ("created_at", "desc"),
) -> list[E]:
    """A namespace's entries of one kind: `limit` of them behind the one named `marker`.

    Raises:
        NotFound: there is no such marker.
        Invalid: they cannot be sorted by that.
    """
    key, direction = sort
    if key not in _ORDER:
        raise errors.Invalid(f"Invalid sort key: {key}; it is one of {_ORDER}")
    columns = [getattr(kind, key), kind.id]
    query = sa.select(kind).where(kind.namespace_id == space.id)
    if marker is not None:
        last = get(session, kind, space, marker)
        place, behind = sa.tuple_(*columns), sa.tuple_(getattr(last, key), last.id)
        query = query.where(place > behind if direction == "asc" else place < behind)
    ordered = [one.asc() if direction == "asc" else one.desc() for one in columns]
    return list(session.scalars(query.order_by(*ordered).limit(limit)))


def get(session: orm.Session, kind: type[E], space: models.Namespace, name: str) -> E:
    """One entry.

    Raises:
        NotFound: the namespace has none of that name.
    """
    query = sa.select(kind).where(kind.namespace_id == space.id, kind.name == name)
    found = None if filters.UNSTORABLE.search(name) else session.scalars(query).one_or_none()
    if found is None:
        raise errors.NotFound(f"Namespace {space.namespace} has no {_word(kind)} {name}")
    return found


def add(
    session: orm.Session, kind: type[E], space: models.Namespace, name: str, **columns: Any
) -> E:
    """A new entry.

    Raises:
        Duplicate: the name is taken.
    """
    made = kind(**columns | {"namespace_id": space.id, "name": name})
    session.add(made)
    flush(session, f"Namespace {space.namespace} has the {_word(kind)} {name} already")
    payloads.tell_of_entry(session, "create", made)
    return made


def change(session: orm.Session, entry: models.Entry, name: str, **columns: Any) -> None:
    """Replace what an entry says, its name included.

    Raises:
        Duplicate: the new name is taken.
    """
    old, entry.name = entry.name, name
    for column, value in columns.items():
        setattr(entry, column, value)
    flush(session, f"The namespace has the {_word(type(entry))} {name} already")
    session.refresh(entry)
    payloads.tell_of_entry(session, "update", entry, old)


def remove(session: orm.Session, space: models.Namespace, entry: models.Entry) -> None:
    """Delete one entry.

    Raises:
        Forbidden: the namespace is protected.
    """
    check_unprotected(space)
    payloads.tell_of_entry(session, "delete", entry)
    session.delete(entry)


def clear(session: orm.Session, kind: type[models.Entry], space: models.Namespace) -> None:
    """Delete a namespace's entries of one kind.

    Raises:
        Forbidden: the namespace is protected.
    """
    check_unprotected(space)
    session.execute(sa.delete(kind).where(kind.namespace_id == space.id))
    payloads.tell_of_cleared(session, kind, space)


def check_unprotected(space: models.Namespace) -> None:
    """Refuse to take anything from a protected namespace.

    Raises:
        Forbidden: it is one.
    """
    if space.protected:
        raise errors.Forbidden(f"Namespace {space.namespace} is protected and cannot be deleted.")


def flush(session: orm.Session, taken: str) -> None:
    """Send what has changed to the database.

    Raises:
        Duplicate: a name is taken; `taken` says which.
    """
    try:
        session.flush()
    except exc.IntegrityError as error:
        raise errors.Duplicate(taken) from error


def _word(kind: type[models.Entry]) -> str:
    return kind.__name__.lower()
