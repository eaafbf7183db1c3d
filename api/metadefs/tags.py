"""/v2/metadefs/namespaces/{namespace}/tags."""

import flask
from oslo_utils import strutils

from api import body, paging, render
from api.metadefs import schemas, shapes
from images import db, errors
from images.metadefs import entries, models, namespaces

blueprint = flask.Blueprint("metadef_tags", __name__, url_prefix="/namespaces/<space>/tags")

_KIND = models.Tag
_LONGEST = 80


@blueprint.get("")
def index(space: str) -> flask.Response:
    """GET …/tags."""
    body.refuse(flask.request.environ)
    args = flask.request.args
    body.check_text(dict(args))
    sort = paging.sort(args, ("name", "created_at", "updated_at"))
    limit = paging.limit(args["limit"]) if args.get("limit") else None
    with db.reading() as session:
        found = namespaces.get(session, flask.g.context, space, "get_metadef_tags")
        rows = entries.every(
            session, _KIND, found, limit=limit, marker=args.get("marker") or None, sort=sort
        )
    return render.answer({"tags": [{"name": one.name} for one in rows]})


@blueprint.post("")
def create_all(space: str) -> flask.Response:
    """POST …/tags: these in place of those that were there, or (`X-Openstack-Append`) beside them."""
    names = [one["name"] for one in schemas.read("several_tags")["tags"]]
    if len(set(names)) < len(names):
        raise errors.Duplicate("A tag is named twice")
    append = strutils.bool_from_string(flask.request.headers.get("X-Openstack-Append"))
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "add_metadef_tags")
        if not append:
            entries.clear(session, _KIND, found)
        for name in names:
            entries.add(session, _KIND, found, name)
    return render.answer({"tags": [{"name": name} for name in names]}, 201)


@blueprint.delete("")
def clear(space: str) -> flask.Response:
    """DELETE …/tags: all of them."""
    body.refuse(flask.request.environ)
    asker = flask.g.context
    with db.transaction() as session:
        namespaces.get(session, asker, space, "delete_metadef_namespace")
        found = namespaces.get(session, asker, space, "delete_metadef_tags")
        entries.clear(session, _KIND, found)
    return render.empty()


@blueprint.post("/<name>")
def create(space: str, name: str) -> flask.Response:
    """POST …/tags/{tag}."""
    body.refuse(flask.request.environ)
    body.check_text(name)
    if len(name) > _LONGEST:
        raise errors.Invalid(f"A tag has at most {_LONGEST} characters")
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "add_metadef_tag")
        made = entries.add(session, _KIND, found, name)
    return render.answer(shapes.tag(made), 201)


@blueprint.get("/<name>")
def show(space: str, name: str) -> flask.Response:
    """GET …/tags/{tag}."""
    body.refuse(flask.request.environ)
    with db.reading() as session:
        found = namespaces.get(session, flask.g.context, space, "get_metadef_tag")
        one = entries.get(session, _KIND, found, name)
    return render.answer(shapes.tag(one))


@blueprint.put("/<name>")
def rename(space: str, name: str) -> flask.Response:
    """PUT …/tags/{tag}."""
    fields = schemas.read("tag")
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "modify_metadef_tag")
        one = entries.get(session, _KIND, found, name)
        entries.change(session, one, fields["name"])
    return render.answer(shapes.tag(one))


@blueprint.delete("/<name>")
def delete(space: str, name: str) -> flask.Response:
    """DELETE …/tags/{tag}."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        found = namespaces.get(session, flask.g.context, space, "delete_metadef_tag")
        entries.remove(session, found, entries.get(session, _KIND, found, name))
    return render.empty()
