"""POST /v2/images/{id}/import: the record is written and the bell rung (contract section 2.5)."""

import threading

import flask

from api import body
from images import import_requests, queue

#: Bytes of a request: it is kept with the task, and shown with all others of the image.
_LIMIT = 128 << 10

blueprint = flask.Blueprint("imports", __name__, url_prefix="/v2/images/<image_id>/import")

#: Of many imports that are begun in the same instant a process works on one at a time, which takes no longer:
#: else whoever asks for a list meanwhile shares the process with all of them.
_AT_ONCE = threading.Semaphore(1)


@blueprint.post("")
def start(image_id: str) -> flask.Response:
    """Begin an import; a worker does it."""
    document = body.read_json(flask.request.environ, _LIMIT)
    wanted = import_requests.parse(document, flask.request.headers.get("X-Image-Meta-Store"))
    task = import_requests.ask(flask.g.context, image_id, wanted, turn=_AT_ONCE)
    if task is not None and task.run and task.run.expires:  # else it waits for its project's turn
        queue.ring(task.id, task.run.queue)
    return flask.Response(status=202)
