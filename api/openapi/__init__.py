"""GET /v2/schemas/openapi: what this service understands and answers, as an OpenAPI 3.1 document.

The table of its requests is `operations`; the bodies are the schemas that are served and judged by anyway.
A test holds the table and the application's routes against each other.
"""

from typing import Any

import flask

from api import body, render, versions
from api.openapi import components, operations

blueprint = flask.Blueprint("openapi", __name__, url_prefix="/v2/schemas/openapi")


@blueprint.get("")
def show() -> flask.Response:
    """GET /v2/schemas/openapi."""
    body.refuse(flask.request.environ)
    return render.answer(document())


def document() -> dict[str, Any]:
    """The whole document, with the formats that are configured."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations.ALL:
        paths.setdefault(operation.path, {})[operation.method.lower()] = operation.describe()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Images API v2",
            "version": versions.current(),
            "description": "What OpenStack's Images API v2 is, and how Gantry answers it. Every path under "
            "/v2 may begin with /v2.N for a version of the versions document.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": components.all_of_them(),
    }
