"""keystonemiddleware in front of the application: it asks Keystone whose token a request carries.

Only the flavor `keystone` imports this module: the library is large. Its options stand in
[keystone_authtoken] of the usual files (docs/keystone.md).
"""

import contextlib
import datetime
import logging
import time
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import webob.exc
from keystoneauth1 import exceptions as keystone_errors
from keystonemiddleware import auth_token
from oslo_config import cfg
from werkzeug import exceptions

from api import auth
from api import errors as answers
from images import config, errors

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_LOG = logging.getLogger(__name__)

_GROUP = "keystone_authtoken"
_REQUEST_ID = "x-openstack-request-id"
_WHO = ("USER", "PROJECT", "TENANT", "SERVICE_USER", "SERVICE_PROJECT", "SERVICE_TENANT")
#: What the library writes, as WSGI names it: `X-Roles`, `x-roles` and `X_Roles` are one there. It removes
#: most of them itself, but not a system scope; and what one release forgets no client shall get through.
_IDENTITY = (
    *(f"HTTP_X_{who}{part}" for who in _WHO for part in ("", "_ID", "_NAME")),
    *(f"HTTP_X_{who}_DOMAIN_{part}" for who in _WHO for part in ("ID", "NAME")),
    *(f"HTTP_X_{of}DOMAIN_{part}" for of in ("", "SERVICE_") for part in ("ID", "NAME")),
    *("HTTP_X_ROLE", "HTTP_X_ROLES", "HTTP_X_SERVICE_ROLES", "HTTP_OPENSTACK_SYSTEM_SCOPE"),
    *("HTTP_X_IDENTITY_STATUS", "HTTP_X_SERVICE_IDENTITY_STATUS"),
    *("HTTP_X_IS_ADMIN_PROJECT", "HTTP_X_SERVICE_CATALOG"),
)
#: Seconds for one request to Keystone where the operator says nothing: the library would wait for ever.
_PATIENCE = 10
#: Seconds for which what keystonemiddleware has written about a request is written about others with the same
#: tokens without asking it: it takes its answer out of memcached and apart, which costs more than the request
#: itself. Its own cache keeps tokens for minutes.
_KEPT = 5.0
#: Pairs of tokens that are known at a time.
_MOST = 10_000
_Tokens = tuple[str | None, str | None]
_NOTHING: tuple[float, dict[str, str]] = (0.0, {})
_UNREACHABLE = (
    keystone_errors.ConnectFailure,
    keystone_errors.DiscoveryFailure,
    keystone_errors.RequestTimeout,
    auth_token.ServiceError,
)


class TokenCheck:
    """Lets requests with a valid token through, and tells the application in headers whose it is.

    Without one a request is answered 401, or comes through unconfirmed where `allow_anonymous_access` is on.
    While Keystone cannot be asked, every request that needs it is answered 503.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        """Read the options.

        Raises:
            SystemExit: with them, no token could ever be checked.
        """
        logging.getLogger(auth_token.__name__).addFilter(_is_news)
        self._app = app
        #: What was written about whom, and until when on the monotonic clock that may be written again.
        self._known: dict[_Tokens, tuple[float, dict[str, str]]] = {}
        try:
            options = _options()
            self._kept = min(_KEPT, options["oslo_config_config"][_GROUP].token_cache_time)
            self._check = _Protocol(self._remember, options)
        except (
            cfg.Error,
            keystone_errors.ClientException,
            auth_token.ConfigurationError,
        ) as error:
            raise SystemExit(
                f"gantry: the configuration cannot be used: [{_GROUP}]: {error}"
            ) from error

    def __call__(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve one request (PEP 3333)."""
        for name in _IDENTITY:
            environ.pop(name, None)
        until, written = self._known.get(_tokens(environ), _NOTHING)
        if until > time.monotonic():
            environ.update(written)
            return self._app(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            if not any(name.lower() == _REQUEST_ID for name, _ in headers):
                headers = [*headers, (_REQUEST_ID, _request_id(environ))]
            return start_response(status, headers, *rest)

        try:
            return self._check(environ, start)  # type: ignore[no-any-return]
        except keystone_errors.ClientException as error:
            _LOG.error("Keystone could not be asked about a token: %s", error)
            apology = errors.Unavailable("The Keystone service is temporarily unavailable.")
            return answers.answer(apology, environ)(environ, start)

    def _remember(
        self, environ: "WSGIEnvironment", start_response: "StartResponse"
    ) -> Iterable[bytes]:
        """Serve a request that has been checked, and keep what was found out about its tokens."""
        seconds = min(self._kept, _seconds_left(environ))
        if seconds > 0:
            if len(self._known) >= _MOST:
                self._known.clear()
            written = {name: environ[name] for name in _IDENTITY if environ.get(name) is not None}
            self._known[_tokens(environ)] = (time.monotonic() + seconds, written)
        return self._app(environ, start_response)


def _tokens(environ: "WSGIEnvironment") -> _Tokens:
    return environ.get("HTTP_X_AUTH_TOKEN"), environ.get("HTTP_X_SERVICE_TOKEN")


def _seconds_left(environ: "WSGIEnvironment") -> float:
    """For how long other requests with these tokens will be judged as this one was."""
    auth, (user, service) = environ.get("keystone.token_auth"), _tokens(environ)
    confirmed = (
        environ.get("HTTP_X_IDENTITY_STATUS"),
        environ.get("HTTP_X_SERVICE_IDENTITY_STATUS", "Confirmed"),
    )
    if not user or auth is None or confirmed != ("Confirmed", "Confirmed"):
        return 0
    if "application_credential" in environ["keystone.token_info"]["token"]:
        return 0  # its access rules may be about the path
    checked = [auth.user, *([auth.service] if service else [])]
    now = datetime.datetime.now(datetime.UTC)
    # A token that has expired may still be good together with a service's, but not for long.
    return float(min((one.expires - now).total_seconds() for one in checked))


def _request_id(environ: "WSGIEnvironment") -> str:
    """The id of an answer that is given here, before the application has been asked."""
    with contextlib.suppress(errors.Invalid, exceptions.HTTPException):
        if asked := environ.get("HTTP_X_OPENSTACK_REQUEST_ID"):
            return auth.request_id(asked)
    return f"req-{uuid.uuid4()}"


class _Protocol(auth_token.AuthProtocol):  # type: ignore[misc]
    def fetch_token(self, token: str, **options: Any) -> dict[str, Any]:
        """What Keystone says about a token, or the cache.

        Raises:
            InvalidToken: it is not valid.
            HTTPServiceUnavailable: Keystone cannot be asked. The library would let the request through as
                nobody's where anonymous access is on, and a project's own images would seem to be gone.
        """
        try:
            return super().fetch_token(token, **options)  # type: ignore[no-any-return]
        except auth_token.InvalidToken as error:
            if isinstance(error.__context__, _UNREACHABLE):
                raise webob.exc.HTTPServiceUnavailable(
                    "The Keystone service is temporarily unavailable."
                ) from error
            raise


def _options() -> dict[str, Any]:
    """What the middleware is to know: the same files, in a configuration object of its own.

    It registers the options of the authentication plugin, required ones among them; ours could not be read
    again with other files afterwards.
    """
    own = cfg.ConfigOpts()
    own([], project="glance", prog="gantry", default_config_files=config.CONF.default_config_files)
    for group, known in auth_token.list_opts():
        own.register_opts(known, group=group)
    given = own[_GROUP]
    if not (given.auth_type or given.auth_section):
        raise cfg.RequiredOptError("auth_type", cfg.OptGroup(_GROUP))
    options: dict[str, Any] = {"oslo_config_config": own}
    if given.http_connect_timeout is None:
        options["http_connect_timeout"] = _PATIENCE
    if config.CONF.allow_anonymous_access:
        options["delay_auth_decision"] = True
    return options


def _is_news(record: logging.LogRecord) -> bool:
    """All that the library logs but its old warning of the cache that it has without memcached."""
    return "in-process token cache is deprecated" not in str(record.msg)
