"""/v2/images/{id}/tags/{tag} (contract section 2.9)."""

import flask

from api import body, render, schemas
from images import catalog, db, editing, policy

blueprint = flask.Blueprint("tags", __name__, url_prefix="/v2/images/<image_id>/tags")


@blueprint.put("/<tag>")
def add(image_id: str, tag: str) -> flask.Response:
    """PUT /v2/images/{id}/tags/{tag}."""
    body.refuse(flask.request.environ)
    body.check_text(tag)
    schemas.check({"tags": [tag]})
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=("tags",), lock=True)
        policy.enforce(flask.g.context, "modify_image", image)
        editing.add_tag(session, image, tag)
    return render.empty()


@blueprint.delete("/<tag>")
def remove(image_id: str, tag: str) -> flask.Response:
    """DELETE /v2/images/{id}/tags/{tag}."""
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=("tags",), lock=True)
        policy.enforce(flask.g.context, "modify_image", image)
        editing.remove_tag(session, image, tag)
    return render.empty()
