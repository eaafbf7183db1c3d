"""POST /v2/images/{id}/import: the record is written and the bell rung (contract section 2.5)."""

import contextlib
import dataclasses
import threading

import flask

from api import body
from images import catalog, db, import_requests, policy, queue, quota, signatures

blueprint = flask.Blueprint("imports", __name__, url_prefix="/v2/images/<image_id>/import")

#: Of many imports that are begun in the same instant a process works on one at a time, which takes no longer:
#: else whoever asks for a list meanwhile shares the process with all of them.
_AT_ONCE = threading.Semaphore(1)
#: Seconds after which one does not wait any more for those before it: they may be waiting for a lock.
_COURTESY = 0.5


@blueprint.post("")
def start(image_id: str) -> flask.Response:
    """Begin an import; a worker does it."""
    document = body.read_json(flask.request.environ)
    wanted = import_requests.parse(document, flask.request.headers.get("X-Image-Meta-Store"))
    asker = flask.g.context
    allowed = quota.for_asker(asker, image_id) if quota.enabled else None
    task = None
    while True:
        try:
            with contextlib.ExitStack() as until_written:
                if _AT_ONCE.acquire(timeout=_COURTESY):
                    until_written.callback(_AT_ONCE.release)
                session = until_written.enter_context(db.transaction())
                image = catalog.get(session, asker, image_id, parts=("properties",))
                if allowed:
                    quota.check_stored(session, allowed)
                # The contract puts the state before the permission: who sees the image sees its status too.
                import_requests.check_image(image, wanted)
                policy.enforce(asker, wanted.method.rule, image)
                task = import_requests.start(session, asker, image, wanted, allowed)
            break
        except signatures.Unread as unread:  # the key manager is asked while no transaction is open
            wanted = dataclasses.replace(wanted, signature=signatures.read(asker, unread.claim))
    if task is not None and task.run and task.run.expires:  # else it waits for its project's turn
        queue.ring(task.id, task.run.queue)
    return flask.Response(status=202)
