"""Resource types, and which namespaces are meant for them."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc, orm

from images import errors
from images.metadefs import entries, models, payloads


def every(session: orm.Session) -> list[models.ResourceType]:
    """All resource types that some namespace was ever meant for."""
    return list(session.scalars(sa.select(models.ResourceType).order_by(models.ResourceType.id)))


def associate(
    session: orm.Session, space: models.Namespace, fields: dict[str, Any]
) -> models.Association:
    """Say that a namespace is meant for a resource type, which is made where nobody has named it yet.

    Raises:
        Duplicate: it has been said already.
    """
    name = fields["name"]
    kind = _named(session, name)
    if any(one.resource_type_id == kind.id for one in space.associations):
        raise errors.Duplicate(f"Namespace {space.namespace} is meant for {name} already")
    made = models.Association(
        namespace_id=space.id,
        resource_type_id=kind.id,
        prefix=fields.get("prefix"),
        properties_target=fields.get("properties_target"),
    )
    made.resource_type = kind
    session.add(made)
    entries.flush(session, f"Namespace {space.namespace} is meant for {name} already")
    payloads.tell_of_association(session, "create", space, made)
    return made


def _named(session: orm.Session, name: str) -> models.ResourceType:
    """A resource type, made if there is none; somebody else may be making it for another namespace."""
    query = sa.select(models.ResourceType).filter_by(name=name)
    found = session.scalars(query).one_or_none()
    if found is None:
        found = models.ResourceType(name=name, protected=False)
        try:
            with session.begin_nested():
                session.add(found)
        except exc.IntegrityError:
            # By a lock, for else MariaDB shows what was there when this transaction began.
            return session.scalars(query.with_for_update(read=True)).one()
    return found


def dissociate(session: orm.Session, space: models.Namespace, name: str) -> None:
    """Say that a namespace is no longer meant for a resource type.

    Raises:
        NotFound: it is not.
        Forbidden: the namespace is protected.
    """
    entries.check_unprotected(space)
    found = [one for one in space.associations if one.name == name]
    if not found:
        raise errors.NotFound(f"Namespace {space.namespace} is not meant for {name}")
    payloads.tell_of_association(session, "delete", space, found[0])
    session.delete(found[0])


def prefix(space: models.Namespace, name: str) -> str | None:
    """What names of a namespace's properties begin with on things of this type."""
    return next((one.prefix for one in space.associations if one.name == name), None)
