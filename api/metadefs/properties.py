"""/v2/metadefs/namespaces/{namespace}/properties."""

from typing import Any

import flask

from api import body, render
from api.metadefs import schemas, shapes
from images import db, errors
from images.metadefs import entries, models, namespaces, resource_types

blueprint = flask.Blueprint("properties", __name__, url_prefix="/namespaces/<space>/properties")

_KIND = models.Property


@blueprint.get("")
def index(space: str) -> flask.Response:
    """GET …/properties: a map by their names."""
    body.refuse(flask.request.environ)
    with db.reading() as session:
        found = namespaces.get(session, flask.g.context, space, "get_metadef_properties")
        rows = entries.every(session, _KIND, found)
    return render.answer({"properties": shapes.properties(rows)})


@blueprint.post("")
def create(space: str) -> flask.Response:
    """POST …/properties."""
    fields = schemas.read("property")
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "add_metadef_property")
        entries.add(session, _KIND, found, fields["name"], json_schema=_unnamed(fields))
    return render.answer(fields, 201)


@blueprint.delete("")
def clear(space: str) -> flask.Response:
    """DELETE …/properties: all of them."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "delete_metadef_namespace")
        entries.clear(session, _KIND, found)
    return render.empty()


@blueprint.get("/<name>")
def show(space: str, name: str) -> flask.Response:
    """GET …/properties/{property}, whose name is the one on things of `?resource_type=`."""
    body.refuse(flask.request.environ)
    if flask.request.args.keys() - {"resource_type"}:
        raise errors.Invalid("The only parameter that this resource has is resource_type")
    with db.reading() as session:
        found = namespaces.get(session, flask.g.context, space, "get_metadef_property")
        wanted = _stripped(found, name, flask.request.args.get("resource_type"))
        one = entries.get(session, _KIND, found, wanted)
    return render.answer(one.json_schema | {"name": one.name})


def _stripped(space: models.Namespace, name: str, resource_type: str | None) -> str:
    """The property's own name, without the prefix that it has on things of the resource type."""
    if resource_type is None:
        return name
    prefix = resource_types.prefix(space, resource_type)
    if not prefix or not name.startswith(prefix):
        raise errors.NotFound(
            f"Property {name} does not start with the expected resource type association "
            f"prefix of '{prefix}'."
        )
    return name.removeprefix(prefix)


@blueprint.put("/<name>")
def replace(space: str, name: str) -> flask.Response:
    """PUT …/properties/{property}: it may be renamed too."""
    fields = schemas.read("property")
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "modify_metadef_property")
        one = entries.get(session, _KIND, found, name)
        entries.change(session, one, fields["name"], json_schema=_unnamed(fields))
    return render.answer(fields)


@blueprint.delete("/<name>")
def delete(space: str, name: str) -> flask.Response:
    """DELETE …/properties/{property}."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "remove_metadef_property")
        entries.remove(session, found, entries.get(session, _KIND, found, name))
    return render.empty()


def _unnamed(fields: dict[str, Any]) -> dict[str, Any]:
    return {member: value for member, value in fields.items() if member != "name"}
