"""POST /v2/images/{id}/import: the record is written and the bell rung (contract section 2.5)."""

import flask

from api import body
from images import catalog, db, imports, policy, queue

blueprint = flask.Blueprint("imports", __name__, url_prefix="/v2/images/<image_id>/import")


@blueprint.post("")
def start(image_id: str) -> flask.Response:
    """Begin an import; a worker does it."""
    document = body.read_json(flask.request.environ)
    wanted = imports.parse(document, flask.request.headers.get("X-Image-Meta-Store"))
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, parts=("properties",))
        policy.enforce(flask.g.context, "modify_image", image)
        task = imports.start(session, flask.g.context, image, wanted)
    queue.ring(task.id, wanted.method.queue)
    return flask.Response(status=202)
