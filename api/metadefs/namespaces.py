"""/v2/metadefs/namespaces and /v2/metadefs/namespaces/{namespace}."""

import urllib.parse
from typing import Any

import flask

from api import body, paging, render, versions
from api.metadefs import schemas, shapes
from images import db, errors
from images.metadefs import entries, models, namespaces, resource_types

blueprint = flask.Blueprint("namespaces", __name__, url_prefix="/namespaces")

_OWN = ("limit", "marker", "sort_key", "sort_dir", "visibility", "resource_types")


@blueprint.get("")
def index() -> flask.Response:
    """GET /v2/metadefs/namespaces."""
    body.refuse(flask.request.environ)
    namespaces.check_listing(flask.g.context)
    query = _query(flask.request)
    with db.reading() as session:
        found = namespaces.page(session, flask.g.context, query) if query.limit else []
    more = found and len(found) == query.limit
    links = paging.links(flask.request, found[-1].namespace if more else None)
    shown = [shapes.namespace(space) for space in found]
    document = {"namespaces": shown, **links, "schema": "/v2/schemas/metadefs/namespaces"}
    return render.answer(document)


def _query(request: flask.Request) -> namespaces.Query:
    args = request.args
    body.check_text(dict(args))
    visibility = args.get("visibility") or None
    if visibility not in (None, "public", "private"):
        raise errors.Invalid(f"Invalid visibility value: {visibility}; it is public or private")
    types = args.get("resource_types", "")
    return namespaces.Query(
        limit=paging.limit(args.get("limit")),
        marker=args.get("marker"),
        sort=paging.sort(args, namespaces.SORT_KEYS),
        visibility=visibility,
        resource_types=[name for name in types.split(",") if name],
    )


@blueprint.post("")
def create() -> flask.Response:
    """POST /v2/metadefs/namespaces."""
    fields = schemas.read("namespace")
    with db.transaction() as session:
        space = namespaces.create(session, flask.g.context, fields)
        document = _whole(session, space, None)
    answer = render.answer(document, 201)
    # A name may hold whatever a text may, line ends too.
    place = urllib.parse.quote(document["self"], safe="/:")
    answer.headers["Location"] = f"{versions.base_url(flask.request.environ)}{place}"
    return answer


@blueprint.get("/<name>")
def show(name: str) -> flask.Response:
    """GET /v2/metadefs/namespaces/{namespace}."""
    body.refuse(flask.request.environ)
    with db.reading() as session:
        space = namespaces.get(session, flask.g.context, name, "get_metadef_namespace")
        document = _whole(session, space, flask.request.args.get("resource_type"))
    return render.answer(document)


def _whole(session: Any, space: models.Namespace, resource_type: str | None) -> dict[str, Any]:
    """A namespace and all that it holds; with the resource type's prefix, where one is asked for."""
    prefix = (resource_types.prefix(space, resource_type) or "") if resource_type else ""
    held = {
        "properties": shapes.properties(entries.every(session, models.Property, space), prefix),
        "objects": [
            shapes.group(space, one, prefix) for one in entries.every(session, models.Object, space)
        ],
        "tags": [{"name": one.name} for one in entries.every(session, models.Tag, space)],
    }
    return shapes.namespace(space) | {name: part for name, part in held.items() if part}


@blueprint.put("/<name>")
def replace(name: str) -> flask.Response:
    """PUT /v2/metadefs/namespaces/{namespace}."""
    fields = schemas.read("namespace")
    with db.transaction() as session:
        space = namespaces.get(session, flask.g.context, name, "modify_metadef_namespace")
        namespaces.replace(session, flask.g.context, space, fields)
    return render.answer(shapes.namespace(space))


@blueprint.delete("/<name>")
def delete(name: str) -> flask.Response:
    """DELETE /v2/metadefs/namespaces/{namespace}, with all that it holds."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        space = namespaces.get(session, flask.g.context, name, "delete_metadef_namespace")
        namespaces.remove(session, space)
    return render.empty()
