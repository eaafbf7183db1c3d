"""GET /healthcheck: whether this process is to be sent requests (contract section 1.1)."""

import pathlib

import flask

blueprint = flask.Blueprint("health", __name__)

#: An operator who takes this machine out of service creates it.
_DISABLED = pathlib.Path("/etc/glance/healthcheck_disable")


@blueprint.get("/healthcheck")
def check() -> flask.Response:
    """Answer `OK`, or 503 while the file that disables this process exists."""
    if _DISABLED.exists():
        return flask.Response("DISABLED BY FILE", 503, content_type="text/plain; charset=UTF-8")
    return flask.Response("OK", content_type="text/plain; charset=UTF-8")
