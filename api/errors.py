"""The only place where an error becomes an answer: the table of statuses and the three bodies.

Clients show the text, so it holds the cause; an unexpected error holds nothing but an apology, and its trace
goes to the log (contract section 2.0).
"""

import html
import json
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING

import flask
from werkzeug import datastructures, exceptions, http

from images import errors

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_LOG = logging.getLogger(__name__)

#: The nearest class in an error's ancestry counts.
STATUSES: dict[type[errors.GantryError], int] = {
    errors.GantryError: 500,
    errors.Invalid: 400,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Gone: 410,
    errors.LimitExceeded: 413,
    errors.StorageFull: 413,
    errors.UnsupportedMediaType: 415,
    errors.RangeNotSatisfiable: 416,
    errors.Unavailable: 503,
}
_APOLOGY = "The server has either erred or is incapable of performing the requested operation."
#: The methods that some resource has; anything else is not implemented rather than not found.
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_HTML = """<html>
 <head>
  <title>{line}</title>
 </head>
 <body>
  <h1>{line}</h1>
  {text}<br /><br />



 </body>
</html>"""


def register(app: flask.Flask) -> None:
    """Answer every error of `app` here."""
    app.register_error_handler(Exception, lambda error: answer(error, flask.request.environ))


def answer(error: Exception, environ: "WSGIEnvironment") -> flask.Response:
    """The answer to a request that met `error`, in the form that its Accept header prefers."""
    status, text, headers = _describe(error, environ)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.error("%s %s failed", environ["REQUEST_METHOD"], environ["PATH_INFO"], exc_info=error)
        text = _APOLOGY
    line = f"{status} {status.phrase}"
    content_type, body = _write(line, status.phrase, text, environ)
    return flask.Response(body, line, headers, content_type=content_type)


def _describe(
    error: Exception, environ: "WSGIEnvironment"
) -> tuple[HTTPStatus, str, list[tuple[str, str]]]:
    if isinstance(error, errors.GantryError):
        return (
            HTTPStatus(next(STATUSES[c] for c in type(error).__mro__ if c in STATUSES)),
            str(error),
            [],
        )
    if not isinstance(error, exceptions.HTTPException) or error.code is None:
        return HTTPStatus.INTERNAL_SERVER_ERROR, _APOLOGY, []
    if isinstance(error, exceptions.NotFound) and environ["REQUEST_METHOD"] not in _METHODS:
        error = exceptions.NotImplemented()
    headers = [(n, v) for n, v in error.get_headers(environ) if n.lower() != "content-type"]
    if isinstance(error, exceptions.MethodNotAllowed):
        headers = [("Allow", ", ".join(m for m in _METHODS if m in (error.valid_methods or ())))]
    return HTTPStatus(error.code or 500), error.description or "", headers


def _write(line: str, title: str, text: str, environ: "WSGIEnvironment") -> tuple[str, str]:
    """The content type and the body."""
    accept = http.parse_accept_header(environ.get("HTTP_ACCEPT"), datastructures.MIMEAccept)
    kind = accept.best_match(["text/html", "application/json"]) if accept else "text/html"
    if kind == "application/json":
        message = {"message": f"{text}<br /><br />\n\n\n", "code": line, "title": title}
        return kind, json.dumps(message)
    if kind == "text/html":
        return f"{kind}; charset=UTF-8", _HTML.format(
            line=line, text=html.escape(text, quote=False)
        )
    return "text/plain; charset=UTF-8", f"{line}\n\n{text}\n\n"
