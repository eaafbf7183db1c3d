"""Who asks: the only place where a request gets its identity (contract section 5.1).

In the `noauth` mode, the only one so far, every caller is the one of the configuration group [noauth].
Identity headers that a client sends are never looked at.
"""

import dataclasses
import ipaddress
import re
import uuid

import flask
from werkzeug import exceptions

from images import config, context, errors, policy

#: The column of a task that keeps a request id.
_ID_LENGTH = 64
_PUBLIC = ("health.check",)


def register(app: flask.Flask) -> None:
    """Give every request of `app` its context, and every answer its request id."""
    app.before_request(_identify)
    app.after_request(_stamp)


def _identify() -> None:
    """Put the caller's context on `flask.g`.

    Raises:
        Forbidden: the caller is on another machine, and nobody would ask who it is.
    """
    flask.g.request_id = f"req-{uuid.uuid4()}"
    if flask.request.endpoint in _PUBLIC:
        return
    if asked := flask.request.headers.get("X-OpenStack-Request-ID"):
        flask.g.request_id = _request_id(asked)
    noauth = config.CONF.noauth
    if not (noauth.allow_remote or _is_local(flask.request)):
        raise errors.Forbidden(
            "This service does not ask who its callers are and therefore serves only its own machine; "
            "the option [noauth] allow_remote = true opens it to every caller that can reach it"
        )
    roles = tuple(map(str.lower, noauth.roles))
    asker = context.Context(
        user_id=noauth.user_id,
        project_id=noauth.project_id,
        owner=noauth.project_id if config.CONF.owner_is_tenant else noauth.user_id,
        roles=roles,
        is_admin=False,
        request_id=flask.g.request_id,
    )
    admin = policy.allowed(asker, "context_is_admin")
    flask.g.context = dataclasses.replace(asker, is_admin=admin)


def _is_local(request: flask.Request) -> bool:
    """Whether the caller, and whoever it says it forwards for, is on this machine."""
    forwarded = request.headers.get("X-Forwarded-For", "").split(",")
    said = {request.remote_addr or "", *map(str.strip, forwarded)}
    return all(map(_is_loopback, said - {"", "127.0.0.1"}))  # "": a socket of the file system


def _is_loopback(address: str) -> bool:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    return (getattr(ip, "ipv4_mapped", None) or ip).is_loopback


def _request_id(asked: str) -> str:
    """The id that the caller asks for, with its prefix (contract section 2.0)."""
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
