"""/v2/info: what this service can do (contract section 2.12)."""

from typing import Any

import flask

from api import body, render
from images import config, errors, policy, stores

blueprint = flask.Blueprint("discovery", __name__, url_prefix="/v2/info")


@blueprint.get("/import")
def import_methods() -> flask.Response:
    """GET /v2/info/import."""
    body.refuse(flask.request.environ)
    methods = {
        "description": "Import methods available.",
        "type": "array",
        "value": list(config.CONF.enabled_import_methods),
    }
    return render.answer({"import-methods": methods})


@blueprint.get("/stores")
def store_list() -> flask.Response:
    """GET /v2/info/stores."""
    body.refuse(flask.request.environ)
    _need_several()
    return render.answer({"stores": [_store(info) for info in stores.configured()]})


@blueprint.get("/stores/detail")
def store_details() -> flask.Response:
    """GET /v2/info/stores/detail."""
    body.refuse(flask.request.environ)
    _need_several()
    policy.enforce(flask.g.context, "stores_info_detail")
    found = [
        _store(info)
        | {"type": info.type, "weight": info.weight, "properties": stores.properties(info.id)}
        for info in stores.configured()
    ]
    return render.answer({"stores": found})


def _need_several() -> None:
    if not stores.multi():
        raise errors.NotFound("Multi backend is not supported at this site.")


def _store(info: stores.StoreInfo) -> dict[str, Any]:
    """What is not so is absent, what is so is the text "true"."""
    shown = {"id": info.id}
    if info.description:
        shown["description"] = info.description
    if info.is_default:
        shown["default"] = "true"
    if info.is_read_only:
        shown["read-only"] = "true"
    return shown
