"""Who asks: the only place where a request gets its identity (contract section 5.1).

With the flavor `keystone` that is whoever Keystone says the token belongs to (`api.keystone` asks it,
`api.identity` reads its answer); without it every caller is the one of the group [noauth]. What a client says
about itself in headers is never looked at.
"""

import dataclasses
import ipaddress
import re
import uuid
from typing import TYPE_CHECKING

import flask
from werkzeug import exceptions

from api import identity
from images import config, context, errors, policy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

#: The column of a task that keeps a request id.
_ID_LENGTH = 64
_PEER = "gantry.peer"
_READING = ("GET", "HEAD", "OPTIONS")


def asks_keystone() -> bool:
    """Whether the flavor has every request's token checked."""
    return (config.CONF.paste_deploy.flavor or "").startswith("keystone")


def register(app: flask.Flask, *, asks_keystone: bool) -> None:
    """Give every request of `app` its context, and every answer its request id."""
    app.before_request(_by_token if asks_keystone else _by_configuration)
    app.after_request(_stamp)


def wrap(app: "WSGIApplication") -> "WSGIApplication":
    """`app` behind the check of tokens, where the flavor asks for it.

    Raises:
        SystemExit: with these options, no token could ever be checked.
    """
    if not asks_keystone():
        return app
    from api import keystone

    return keystone.TokenCheck(app)


def _by_configuration() -> None:
    """Put the context of the one caller whom the configuration names on `flask.g`.

    Raises:
        Forbidden: the caller is on another machine, and nobody would ask who it is.
    """
    environ, noauth = flask.request.environ, config.CONF.noauth
    flask.g.request_id = f"req-{uuid.uuid4()}"
    if asked := environ.get("HTTP_X_OPENSTACK_REQUEST_ID"):
        flask.g.request_id = request_id(asked)
    # Whoever is at the other end, and whoever it says it forwards for; "" is a socket of the file system.
    said = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    said.append(environ.get(_PEER, environ.get("REMOTE_ADDR", "")))
    elsewhere = set(map(str.strip, said)) - {"", "127.0.0.1"}
    if not (noauth.allow_remote or all(map(_is_loopback, elsewhere))):
        raise errors.Forbidden(
            "This service does not ask who its callers are and therefore serves only its own machine; "
            "the option [noauth] allow_remote = true opens it to every caller that can reach it"
        )
    asker = context.Context(
        user_id=noauth.user_id,
        project_id=noauth.project_id,
        owner=noauth.project_id if config.CONF.owner_is_tenant else noauth.user_id,
        roles=tuple(map(str.lower, noauth.roles)),
        is_admin=False,
        request_id=flask.g.request_id,
    )
    admin = policy.allowed(asker, "context_is_admin")
    flask.g.context = dataclasses.replace(asker, is_admin=admin)


def _by_token() -> None:
    """Put the context of the caller whom Keystone has confirmed on `flask.g`.

    Raises:
        Unauthorized: there is none.
        Forbidden: nobody in particular wants to change something.
    """
    environ = flask.request.environ
    flask.g.request_id = f"req-{uuid.uuid4()}"
    if asked := environ.get("HTTP_X_OPENSTACK_REQUEST_ID"):
        flask.g.request_id = request_id(asked)
    flask.g.context = identity.read(environ, flask.g.request_id)
    if flask.g.context.read_only and flask.request.method not in _READING:
        raise errors.Forbidden("Without a token nothing can be changed")


def remember_peer(environ: "WSGIEnvironment") -> None:
    """Keep the address at the other end of the connection, before a proxy's headers replace it."""
    environ[_PEER] = environ.get("REMOTE_ADDR", "")


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def request_id(asked: str) -> str:
    """The id that the caller asks for, with its prefix (contract section 2.0).

    Raises:
        RequestHeaderFieldsTooLarge, Invalid: it cannot be had.
    """
    wanted = asked if asked.startswith("req-") else f"req-{asked}"
    if len(wanted) > min(config.CONF.max_request_id_length, _ID_LENGTH):
        raise exceptions.RequestHeaderFieldsTooLarge(
            "The X-OpenStack-Request-ID header is too long"
        )
    if not re.fullmatch("[!-~]+", wanted):
        raise errors.Invalid("The X-OpenStack-Request-ID header holds characters that are no id's")
    return wanted


def _stamp(response: flask.Response) -> flask.Response:
    response.headers["x-openstack-request-id"] = flask.g.request_id
    return response
