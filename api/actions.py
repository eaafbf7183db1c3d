"""POST /v2/images/{id}/actions/deactivate and reactivate (contract section 2.10)."""

import flask

from api import body, render
from images import catalog, db, editing, policy

blueprint = flask.Blueprint("actions", __name__, url_prefix="/v2/images/<image_id>/actions")


@blueprint.post("/deactivate")
def deactivate(image_id: str) -> flask.Response:
    """Close an active image: nobody but an administrator can download it."""
    return _switch(image_id, "deactivate", "active", "deactivated")


@blueprint.post("/reactivate")
def reactivate(image_id: str) -> flask.Response:
    """Open it again."""
    return _switch(image_id, "reactivate", "deactivated", "active")


def _switch(image_id: str, rule: str, was: str, to: str) -> flask.Response:
    body.refuse(flask.request.environ)
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=(), lock=True)
        policy.enforce(flask.g.context, rule, image)
        editing.switch(session, image, was, to)
    return render.empty()
