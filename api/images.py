"""/v2/images and /v2/images/{id}: the records (contract sections 2.1 and 2.2)."""

import flask

from api import body, jsonpatch, locations, paging, render, schemas, versions, viewer
from images import catalog, config, db, editing, models, policy, quota, records, removal, stores

blueprint = flask.Blueprint("images", __name__, url_prefix="/v2/images")


@blueprint.post("")
def create() -> flask.Response:
    """POST /v2/images."""
    fields = body.read_object(flask.request.environ)
    editing.check_names(fields, creating=True)
    schemas.check(fields, whole=True)
    owner = fields.get("owner", flask.g.context.owner)
    allowed = quota.ceilings(owner) if quota.enabled else None
    with db.transaction() as session:
        image = editing.create(session, flask.g.context, fields)
        if allowed:
            quota.admit_image(session, allowed)
    answer = _changed(image, 201)
    answer.headers["Location"] = f"{versions.base_url(flask.request.environ)}/v2/images/{image.id}"
    if methods := config.CONF.enabled_import_methods:
        answer.headers["OpenStack-image-import-methods"] = ",".join(methods)
    if stores.multi():
        names = [store.id for store in stores.configured()]
        answer.headers["OpenStack-image-store-ids"] = ",".join(names)
    return answer


@blueprint.get("")
def index() -> flask.Response:
    """GET /v2/images."""
    query = paging.query(flask.request)
    asker = flask.g.context
    policy.enforce(asker, "get_images")
    found = catalog.page(asker, query)
    shown = policy.sift(asker, found)
    more = shown and len(found) == query.limit
    links = paging.links(flask.request, found[-1].id if more else None)
    images = list(map(viewer.of_request().show, shown))
    return render.answer({"images": images, **links, "schema": "/v2/schemas/images"})


@blueprint.get("/<image_id>")
def show(image_id: str) -> flask.Response:
    """GET /v2/images/{id}."""
    body.refuse(flask.request.environ)
    record = catalog.show(flask.g.context, image_id)
    policy.enforce(flask.g.context, "get_image", record)
    return render.answer(viewer.of_request().show(record))


@blueprint.patch("/<image_id>")
def update(image_id: str) -> flask.Response:
    """PATCH /v2/images/{id}."""
    changes = jsonpatch.read(flask.request)
    moves = [change for change in changes if change.name == "locations"]
    changes = [change for change in changes if change.name != "locations"]
    editing.check_names((change.name for change in changes), creating=False)
    schemas.check_changes(changes)
    if moves:
        return _changed(locations.patch(image_id, changes, moves))
    with db.transaction() as session:
        image = catalog.get(session, flask.g.context, image_id, lock=True)
        policy.enforce(flask.g.context, "modify_image", image)
        editing.apply(session, flask.g.context, image, changes)
    return _changed(image)


@blueprint.delete("/<image_id>")
def delete(image_id: str) -> flask.Response:
    """DELETE /v2/images/{id}."""
    body.refuse(flask.request.environ)
    removal.delete(flask.g.context, image_id)
    return render.empty()


def _changed(image: models.Image, status: int = 200) -> flask.Response:
    """An image that was just made or changed, with all its parts loaded."""
    return render.answer(viewer.of_request().show(records.of(image)), status)
