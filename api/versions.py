"""Which version a request means: the versions documents, and the prefixes `/v2` to `/v2.N`.

This is decided before anything else, so that the documents and the health check need no token (contract
section 1). There are no microversions: the minor number changes nothing.
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import flask
from werkzeug import wsgi

from api import errors as answers
from api import health
from images import config, errors

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: In the order that the document has (contract section 1.3).
_ALWAYS = ("2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0")
_SEVERAL_STORES = ("2.13", "2.12", "2.11", "2.10", "2.9", "2.8")
_CACHE = ("2.18", "2.17", "2.16", "2.15", "2.14")
_ACCEPT = "application/vnd.openstack.images-v"


def offered() -> tuple[str, ...]:
    """The versions that this configuration has, in the document's order."""
    stores = _SEVERAL_STORES if config.CONF.enabled_backends else ("2.9",)
    if config.CONF.image_cache_dir:
        return (*_CACHE, *stores, *_ALWAYS)
    return ("2.15", *stores, "2.17", *_ALWAYS)


def current() -> str:
    """The one of them that is CURRENT: the newest."""
    return "2.18" if config.CONF.image_cache_dir else "2.17"


def base_url(environ: "WSGIEnvironment") -> str:
    """What absolute links begin with, without a slash at the end."""
    return (config.CONF.public_endpoint or wsgi.get_current_url(environ, root_only=True)).rstrip(
        "/"
    )


class Middleware:
    """Answers with the versions documents, and gives everything else to the application as `/v2/…`."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        text = path + environ.get("QUERY_STRING", "")
        if not text.isascii() and not _is_utf8(text):
            error = errors.Invalid("The URL is not UTF-8")
            return answers.answer(error, environ)(environ, start_response)
        parts = list(filter(None, path.split("/")))
        first = parts[0] if parts else ""
        if first == "v2" or (first[:1] == "v" and first[1:] in offered()):
            if len(parts) == 1 and not path.endswith("/"):
                return _redirect(environ)(environ, start_response)
            parts[0] = "v2"
        elif _accepted(environ.get("HTTP_ACCEPT", "")):
            parts.insert(0, "v2")
        elif path == "/healthcheck":
            return health.answer(environ)(environ, start_response)
        else:
            status = 200 if first == "versions" else 300
            return flask.Response(_document(environ), status, content_type="application/json")(
                environ, start_response
            )
        # What ends in a slash names an image without an id, or the like: nothing of that kind is found.
        tail = "/" if path.endswith("/") and len(parts) > 1 else ""
        environ["PATH_INFO"] = "/" + "/".join(parts) + tail
        return self._app(environ, start_response)


def _is_utf8(text: str) -> bool:
    """Whether the bytes are, which WSGI has as latin-1; Werkzeug would take another text for a path's."""
    try:
        text.encode("latin-1").decode()
    except UnicodeError:
        return False
    return True


def _accepted(accept: str) -> bool:
    """Whether the Accept header names a version that is offered."""
    return accept.startswith(_ACCEPT) and accept[len(_ACCEPT) :] in ("2", *offered())


def _redirect(environ: "WSGIEnvironment") -> flask.Response:
    url = f"{base_url(environ)}{environ['PATH_INFO']}/"
    return flask.Response(status=302, headers={"Location": url})


def _document(environ: "WSGIEnvironment") -> str:
    links = [{"rel": "self", "href": f"{base_url(environ)}/v2/"}]
    versions: list[dict[str, Any]] = [
        {
            "id": f"v{number}",
            "status": "CURRENT" if number == current() else "SUPPORTED",
            "links": links,
        }
        for number in offered()
    ]
    return json.dumps({"versions": versions})
