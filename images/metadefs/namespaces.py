"""Namespaces: finding, listing, making, replacing and deleting them."""

import dataclasses
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import context, errors, filters, policy
from images.metadefs import entries, models, payloads, resource_types

SORT_KEYS = (
    *("namespace", "display_name", "visibility", "protected", "owner"),
    *("created_at", "updated_at", "id"),
)
_S = models.Namespace
_PARTS = (models.Object, models.Property, models.Tag)


@dataclasses.dataclass(frozen=True, slots=True)
class Query:
    """One page of a list."""

    limit: int
    #: The last namespace of the page before.
    marker: str | None
    sort: tuple[str, str]
    #: public or private, or None for both.
    visibility: str | None
    #: Only namespaces that are meant for one of these resource types; none: all.
    resource_types: list[str]


def get(session: orm.Session, asker: context.Context, name: str, rule: str) -> models.Namespace:
    """A namespace that the asker may see, to do with it what `rule` names.

    Unless that is reading, its row is locked: whoever would fill one that is being deleted finds it gone.

    Raises:
        NotFound: there is none, or the asker may not see it; or not read it, where `rule` is one of reading.
        Forbidden: the asker may see it, and not do that.
    """
    query = sa.select(_S).where(_S.namespace == name)
    if not asker.is_admin:
        query = query.where(_visible(asker))
    if not (is_reading := rule.startswith(("get_", "list_"))):
        query = query.with_for_update(of=_S)
    missing = errors.NotFound(f"Namespace {name} could not be found")
    found = None if filters.UNSTORABLE.search(name) else session.scalars(query).one_or_none()
    if found is None:
        raise missing
    if is_reading and not allowed(asker, rule, found):
        raise missing
    policy.enforce(asker, rule, **_target(found))
    return found


def allowed(asker: context.Context, rule: str, space: models.Namespace) -> bool:
    """Whether `rule` lets the asker have this namespace."""
    return policy.allowed(asker, rule, **_target(space))


def check_listing(asker: context.Context, rule: str = "get_metadef_namespaces") -> None:
    """Judge whether the asker may list namespaces, or resource types, at all.

    Raises:
        NotFound: it may not.
    """
    if not policy.allowed(asker, rule):
        raise errors.NotFound("You may not list metadata definitions")


def _target(space: models.Namespace) -> dict[str, Any]:
    return {
        "project_id": space.owner,
        "owner": space.owner,
        "visibility": space.visibility,
        "namespace": space.namespace,
    }


def _visible(asker: context.Context) -> sa.ColumnElement[bool]:
    own = _S.owner == asker.owner if asker.owner else sa.false()
    return sa.or_(own, _S.visibility == "public")


def page(session: orm.Session, asker: context.Context, query: Query) -> list[models.Namespace]:
    """A page of the namespaces that the asker may see, with what they are meant for.

    Raises:
        NotFound: there is no such marker.
    """
    key, direction = query.sort
    columns = [getattr(_S, key), _S.id]
    statement = sa.select(_S).where(*_conditions(asker, query))
    if query.marker is not None:
        last = get(session, asker, query.marker, "get_metadef_namespace")
        behind = _behind(columns, [getattr(last, key), last.id], direction)
        statement = statement.where(behind)
    statement = statement.order_by(*_order(columns, direction)).limit(query.limit)
    found = session.scalars(statement)
    return [one for one in found if allowed(asker, "get_metadef_namespace", one)]


def _conditions(asker: context.Context, query: Query) -> list[sa.ColumnElement[bool]]:
    found = [] if asker.is_admin else [_visible(asker)]
    if query.visibility:
        found.append(_S.visibility == query.visibility)
    if query.resource_types:
        meant = sa.select(models.Association.namespace_id).join(models.ResourceType)
        wanted = models.ResourceType.name.in_(query.resource_types)
        found.append(_S.id.in_(meant.where(wanted)))
    return found


def _order(columns: list[Any], direction: str) -> list[Any]:
    """NULL is less than anything, on every database."""
    key, number = columns
    return [
        one.asc() if direction == "asc" else one.desc() for one in (key.is_not(None), key, number)
    ]


def _behind(columns: list[Any], last: list[Any], direction: str) -> sa.ColumnElement[bool]:
    (key, number), (value, last_id) = columns, last
    beyond = number > last_id if direction == "asc" else number < last_id
    if value is None:
        same = sa.and_(key.is_(None), beyond)
        return sa.or_(same, key.is_not(None)) if direction == "asc" else same
    further = key > value if direction == "asc" else sa.or_(key < value, key.is_(None))
    return sa.or_(further, sa.and_(key == value, beyond))


def create(
    session: orm.Session, asker: context.Context, fields: dict[str, Any]
) -> models.Namespace:
    """A new namespace, with all that `fields` say it holds, made at once.

    Raises:
        Forbidden: the asker may not.
        Duplicate: its name, or a name within it, is taken.
    """
    owner = fields.get("owner", asker.owner)
    for part, rule in _RULES.items():
        if part is None or fields.get(part):
            policy.enforce(asker, rule, project_id=owner, owner=owner)
    space = models.Namespace(namespace=fields["namespace"])
    _set(space, asker, fields)
    session.add(space)
    entries.flush(session, f"Namespace {space.namespace} exists already")
    for one in fields.get("resource_type_associations", []):
        resource_types.associate(session, space, one)
    _fill(session, space, fields)
    session.flush()
    session.refresh(space, ["associations"])
    payloads.tell_of_namespace(session, "create", space)
    return space


#: What may be made along with a namespace, and the rule for each.
_RULES = {
    None: "add_metadef_namespace",
    "resource_type_associations": "add_metadef_resource_type_association",
    "objects": "add_metadef_object",
    "properties": "add_metadef_property",
    "tags": "add_metadef_tag",
}


def _fill(session: orm.Session, space: models.Namespace, fields: dict[str, Any]) -> None:
    for one in fields.get("objects", []):
        entries.add(session, models.Object, space, one["name"], **object_columns(one))
    for name, about in fields.get("properties", {}).items():
        entries.add(session, models.Property, space, name, json_schema=about)
    for one in fields.get("tags", []):
        entries.add(session, models.Tag, space, one["name"])


def object_columns(fields: dict[str, Any]) -> dict[str, Any]:
    """The columns of an object, its name apart."""
    required = fields.get("required")
    return {
        "description": fields.get("description"),
        "required": ",".join(required) if required else None,
        "json_schema": fields.get("properties") or {},
    }


def replace(
    session: orm.Session, asker: context.Context, space: models.Namespace, fields: dict[str, Any]
) -> None:
    """Replace what a namespace says of itself; what is not said takes its default again.

    Raises:
        Duplicate: the new name is taken.
    """
    old, space.namespace = space.namespace, fields["namespace"]
    _set(space, asker, fields)
    entries.flush(session, f"Namespace {space.namespace} exists already")
    session.refresh(space)
    payloads.tell_of_namespace(session, "update", space, old)


def _set(space: models.Namespace, asker: context.Context, fields: dict[str, Any]) -> None:
    space.display_name = fields.get("display_name")
    space.description = fields.get("description")
    space.visibility = fields.get("visibility", "private")
    space.protected = fields.get("protected", False)
    space.owner = fields.get("owner") or asker.owner or ""


def remove(session: orm.Session, space: models.Namespace) -> None:
    """Delete a namespace and all that it holds.

    Raises:
        Forbidden: it is protected.
    """
    entries.check_unprotected(space)
    payloads.tell_of_namespace(session, "delete", space)
    wipe(session, space)


def wipe(session: orm.Session, space: models.Namespace) -> None:
    """Delete a namespace and all that it holds, be it protected or not: for whoever brings it anew."""
    for kind in (*_PARTS, models.Association):
        session.execute(sa.delete(kind).where(kind.namespace_id == space.id))
    session.execute(sa.delete(_S).where(_S.id == space.id))
