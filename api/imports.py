"""POST /v2/images/{id}/import: the record is written and the bell rung (contract section 2.5)."""

import flask

from api import body
from images import catalog, db, import_requests, policy, queue, quota

blueprint = flask.Blueprint("imports", __name__, url_prefix="/v2/images/<image_id>/import")


@blueprint.post("")
def start(image_id: str) -> flask.Response:
    """Begin an import; a worker does it."""
    document = body.read_json(flask.request.environ)
    wanted = import_requests.parse(document, flask.request.headers.get("X-Image-Meta-Store"))
    asker = flask.g.context
    allowed = quota.for_asker(asker, image_id) if quota.enabled else None
    with db.transaction() as session:
        image = catalog.get(session, asker, image_id, parts=("properties",))
        if allowed:
            quota.check_stored(session, allowed)
        # The contract puts the state before the permission: whoever sees the image sees its status too.
        import_requests.check_image(image, wanted)
        policy.enforce(asker, wanted.method.rule, image)
        task = import_requests.start(session, asker, image, wanted, allowed)
    if task is not None and task.run and task.run.expires:  # else it waits for its project's turn
        queue.ring(task.id, task.run.queue)
    return flask.Response(status=202)
