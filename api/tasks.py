"""GET /v2/images/{id}/tasks: what imports an image has had, and how far they are (contract section 2.6)."""

import flask

from api import body, render
from images import catalog, db, policy, tasks

blueprint = flask.Blueprint("tasks", __name__, url_prefix="/v2/images/<image_id>/tasks")


@blueprint.get("")
def index(image_id: str) -> flask.Response:
    """The tasks of an image."""
    body.refuse(flask.request.environ)
    with db.reading() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=())
        found = tasks.of_image(session, flask.g.context, image_id)
    policy.enforce(flask.g.context, "get_image", image)
    return render.answer({"tasks": [render.task(task) for task in found]})
