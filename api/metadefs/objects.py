"""/v2/metadefs/namespaces/{namespace}/objects."""

import flask

from api import body, paging, render
from api.metadefs import schemas, shapes
from images import db, errors
from images.metadefs import entries, models, namespaces

blueprint = flask.Blueprint("objects", __name__, url_prefix="/namespaces/<space>/objects")

_KIND = models.Object


@blueprint.get("")
def index(space: str) -> flask.Response:
    """GET …/objects: all of them, whatever page is asked for."""
    body.refuse(flask.request.environ)
    limit = flask.request.args.get("limit")
    if limit is not None and not paging.limit(limit):
        raise errors.Invalid("limit param must be positive")
    with db.reading() as session:
        found = namespaces.get(session, flask.g.context, space, "get_metadef_objects")
        rows = entries.every(session, _KIND, found)
    shown = [shapes.group(found, one) for one in rows]
    return render.answer({"objects": shown, "schema": "v2/schemas/metadefs/objects"})


@blueprint.post("")
def create(space: str) -> flask.Response:
    """POST …/objects."""
    fields = schemas.read("object")
    columns = namespaces.object_columns(fields)
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "add_metadef_object")
        made = entries.add(session, _KIND, found, fields["name"], **columns)
    return render.answer(shapes.group(found, made), 201)


@blueprint.delete("")
def clear(space: str) -> flask.Response:
    """DELETE …/objects: all of them."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "delete_metadef_namespace")
        entries.clear(session, _KIND, found)
    return render.empty()


@blueprint.get("/<name>")
def show(space: str, name: str) -> flask.Response:
    """GET …/objects/{object}."""
    body.refuse(flask.request.environ)
    with db.reading() as session:
        found = namespaces.get(session, flask.g.context, space, "get_metadef_object")
        one = entries.get(session, _KIND, found, name)
    return render.answer(shapes.group(found, one))


@blueprint.put("/<name>")
def replace(space: str, name: str) -> flask.Response:
    """PUT …/objects/{object}: it may be renamed too."""
    fields = schemas.read("object")
    columns = namespaces.object_columns(fields)
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "modify_metadef_object")
        one = entries.get(session, _KIND, found, name)
        entries.change(session, one, fields["name"], **columns)
    return render.answer(shapes.group(found, one))


@blueprint.delete("/<name>")
def delete(space: str, name: str) -> flask.Response:
    """DELETE …/objects/{object}."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "delete_metadef_object")
        entries.remove(session, found, entries.get(session, _KIND, found, name))
    return render.empty()
