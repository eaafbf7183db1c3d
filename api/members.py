"""/v2/images/{id}/members: whom an image is shared with (contract section 2.8)."""

import flask

from api import body, render
from images import catalog, db, errors, policy, sharing

blueprint = flask.Blueprint("members", __name__, url_prefix="/v2/images/<image_id>/members")


@blueprint.post("")
def add(image_id: str) -> flask.Response:
    """POST /v2/images/{id}/members: 200, not 201."""
    fields = body.read_object(flask.request.environ)
    member_id = sharing.check_id(fields.get("member"))
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=(), lock=True)
        policy.enforce(flask.g.context, "add_member", image)
        row = sharing.add(session, image, member_id)
    return render.answer(render.member(row))


@blueprint.get("")
def index(image_id: str) -> flask.Response:
    """GET /v2/images/{id}/members."""
    body.refuse(flask.request.environ)
    asker = flask.g.context
    with db.reading() as session:
        image = catalog.get(session, asker, image_id, parts=())
        policy.enforce(asker, "get_image", image)
        policy.enforce(asker, "get_members", image)
        rows = sharing.of(session, asker, image)
    shown = rows if policy.allowed(asker, "get_member", image) else []
    members = [render.member(row) for row in shown]
    return render.answer({"members": members, "schema": "/v2/schemas/members"})


@blueprint.get("/<member_id>")
def show(image_id: str, member_id: str) -> flask.Response:
    """GET /v2/images/{id}/members/{member}: what is forbidden is not found."""
    body.refuse(flask.request.environ)
    asker = flask.g.context
    try:
        with db.reading() as session:
            image = catalog.get(session, asker, image_id, parts=())
            policy.enforce(asker, "get_member", image)
            row = sharing.get(session, asker, image, member_id)
    except errors.Forbidden as error:
        raise errors.NotFound(str(error)) from error
    return render.answer(render.member(row))


@blueprint.put("/<member_id>")
def update(image_id: str, member_id: str) -> flask.Response:
    """PUT /v2/images/{id}/members/{member}: what the member itself thinks of it."""
    fields = body.read_object(flask.request.environ)
    if "status" not in fields:
        raise errors.Invalid("Status not specified")
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=(), lock=True)
        row = sharing.get(session, flask.g.context, image, member_id)
        policy.enforce(flask.g.context, "modify_member", image)
        sharing.answer(session, flask.g.context, image, row, fields["status"])
    return render.answer(render.member(row))


@blueprint.delete("/<member_id>")
def remove(image_id: str, member_id: str) -> flask.Response:
    """DELETE /v2/images/{id}/members/{member}."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=(), lock=True)
        row = sharing.get(session, flask.g.context, image, member_id)
        policy.enforce(flask.g.context, "delete_member", image)
        sharing.remove(session, row)
    return render.empty()
