"""Where an image's bytes are: POST and GET /locations, /locations in a PATCH, DELETE /v2/stores/{store}/{id}.

Contract sections 2.11 and 2.12.
"""

import flask

from api import body, render, schemas, viewer
from images import (
    catalog,
    db,
    editing,
    location_tasks,
    locations,
    models,
    policy,
    queue,
    quota,
)

blueprint = flask.Blueprint("locations", __name__, url_prefix="/v2")

_PATH = "/images/<image_id>/locations"


@blueprint.post(_PATH)
def add(image_id: str) -> flask.Response:
    """POST /v2/images/{id}/locations; a worker does it."""
    wanted = location_tasks.parse(body.read_json(flask.request.environ))
    asker = flask.g.context
    with db.transaction() as session:
        image = catalog.get(session, asker, image_id, parts=("properties",), lock=True)
        task = location_tasks.start(session, asker, image, wanted)
    if task.run and task.run.expires:
        queue.ring(task.id, task.run.queue)
    return render.empty(202)


@blueprint.get(_PATH)
def index(image_id: str) -> flask.Response:
    """GET /v2/images/{id}/locations."""
    body.refuse(flask.request.environ)
    record = catalog.show(flask.g.context, image_id)
    policy.enforce(flask.g.context, "fetch_image_location", record)
    return render.answer(viewer.locations(record))


@blueprint.delete("/stores/<store_id>/<image_id>")
def leave(store_id: str, image_id: str) -> flask.Response:
    """DELETE /v2/stores/{store}/{id}."""
    body.refuse(flask.request.environ)
    locations.leave_store(flask.g.context, store_id, image_id)
    return render.empty()


def patch(
    image_id: str, changes: list[editing.Change], moves: list[editing.Change]
) -> models.Image:
    """The part of a PATCH that changes locations, `moves`, together with the rest: all or none.

    The stores are asked before the transaction in which it is decided.
    """
    asker = flask.g.context
    with db.reading() as session:
        image = catalog.get(session, asker, image_id)
    locations.check_enabled()
    for move in moves:
        if move.operation != "remove":
            named = [move.value] if move.operation == "add" else move.value
            schemas.check({"locations": named})
    sizes = locations.examine(locations.draft(asker, image, moves))
    allowed = quota.for_asker(asker, image_id)
    with db.transaction() as session:
        image = catalog.get(session, asker, image_id, lock=True)
        if changes:
            policy.enforce(asker, "modify_image", image)
            editing.apply(session, asker, image, changes)
        draft = locations.draft(asker, image, moves)
        locations.check_strangers(session, asker, image_id, draft)
        doomed = locations.write(session, image, draft, sizes, allowed)
    locations.remove_data(doomed)
    return image
