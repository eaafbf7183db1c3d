"""GET /healthcheck: whether this process is to be sent requests (contract section 1.1).

Nobody is asked for a token here, and neither the database nor Keystone is touched.
"""

import pathlib
from typing import TYPE_CHECKING

import flask

from images import config

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_KIND = "text/plain; charset=UTF-8"


def answer(environ: "WSGIEnvironment") -> flask.Response:
    """`OK`, or 503 while the file that takes this machine out of service exists."""
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return flask.Response("", 405, {"Allow": "GET, HEAD"}, content_type=_KIND)
    if pathlib.Path(config.CONF.healthcheck.disable_by_file_path).exists():
        return flask.Response("DISABLED BY FILE", 503, content_type=_KIND)
    return flask.Response("OK", content_type=_KIND)
