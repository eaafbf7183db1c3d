"""/v2/metadefs/resource_types, and what a namespace is meant for."""

import flask

from api import body, render
from api.metadefs import schemas, shapes
from images import db
from images.metadefs import namespaces, resource_types

blueprint = flask.Blueprint("resource_types", __name__)

_OF_ONE = "/namespaces/<space>/resource_types"


@blueprint.get("/resource_types")
def index() -> flask.Response:
    """GET /v2/metadefs/resource_types."""
    body.refuse(flask.request.environ)
    namespaces.check_listing(flask.g.context, "list_metadef_resource_types")
    with db.reading() as session:
        shown = [shapes.resource_type(one) for one in resource_types.every(session)]
    return render.answer({"resource_types": shown})


@blueprint.get(_OF_ONE)
def of_namespace(space: str) -> flask.Response:
    """GET /v2/metadefs/namespaces/{namespace}/resource_types."""
    body.refuse(flask.request.environ)
    asker = flask.g.context
    with db.reading() as session:
        found = namespaces.get(session, asker, space, "list_metadef_resource_types")
    readable = namespaces.allowed(asker, "get_metadef_resource_type", found)
    shown = [shapes.association(one) for one in found.associations] if readable else []
    return render.answer({"resource_type_associations": shown})


@blueprint.post(_OF_ONE)
def associate(space: str) -> flask.Response:
    """POST /v2/metadefs/namespaces/{namespace}/resource_types."""
    fields = schemas.read("resource_type")
    rule = "add_metadef_resource_type_association"
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, rule)
        made = resource_types.associate(session, found, fields)
    return render.answer(shapes.association(made), 201)


@blueprint.delete(f"{_OF_ONE}/<name>")
def dissociate(space: str, name: str) -> flask.Response:
    """DELETE /v2/metadefs/namespaces/{namespace}/resource_types/{resource type}."""
    body.refuse(flask.request.environ)
    rule = "remove_metadef_resource_type_association"
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, rule)
        resource_types.dissociate(session, found, name)
    return render.empty()
