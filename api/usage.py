"""GET /v2/info/usage: what the caller's project has of what it may have (contract section 2.12)."""

import flask

from api import body, render
from images import errors, quota

blueprint = flask.Blueprint("usage", __name__, url_prefix="/v2/info/usage")


@blueprint.get("")
def show() -> flask.Response:
    """The four unified limits, sizes in MiB; nothing without them."""
    body.refuse(flask.request.environ)
    return render.answer({"usage": quota.report(flask.g.context.owner)})


@blueprint.route("", methods=["POST", "PUT", "PATCH", "DELETE"])
def nothing_else() -> flask.Response:
    """Alone among the resources this one is not found by another method, as in Glance."""
    raise errors.NotFound
