"""Tokens of this service's own, which go beside the caller's to the image service of another region.

The caller's token was kept when the import was asked for, and may have expired when a worker uses it. Beside
a service token, keystonemiddleware and Keystone take one that has not been expired for longer than
`[token] allow_expired_window`. The section [service_user] is nova's and cinder's, read by keystoneauth in a
configuration object of its own: once registered, a plugin's options would be required of ours for ever.
"""

import functools
import http
import logging
import os
from typing import TYPE_CHECKING

from oslo_config import cfg

from images import answers, config, errors

if TYPE_CHECKING:
    from keystoneauth1.plugin import BaseAuthPlugin
    from keystoneauth1.session import Session

_LOG = logging.getLogger(__name__)

_GROUP = "service_user"
#: Seconds that Keystone may take for an answer unless [service_user] timeout says otherwise.
_TIMEOUT = 10


class NoToken(errors.ImportFailed):
    """Keystone gives this service no token, so the import failed."""


class ServiceToken:
    """The header of one transfer that holds the service's token; an `answers.FreshHeaders`."""

    def __init__(self) -> None:
        self._is_renewed = False

    def headers(self) -> dict[str, str]:
        """The header; none where [service_user] is not to be used. Keystone is asked if need be.

        Raises:
            Fault: Keystone cannot be asked right now.
            NoToken: it refuses.
        """
        return {"X-Service-Token": _token()} if is_used() else {}

    def renew(self) -> bool:
        """Have Keystone asked for another one, once: the one that was kept may have been revoked."""
        if self._is_renewed or not is_used():
            return False
        self._is_renewed = True
        return _login()[0].invalidate()


def is_used() -> bool:
    """Whether the operator wants service tokens to be sent."""
    return bool(config.CONF.service_user.send_service_user_token)


def check() -> None:
    """Judge [service_user], if it is used; Keystone is not asked.

    Raises:
        Invalid: something that is needed for a login is missing or malformed.
    """
    reset()
    if is_used():
        _login()


def reset() -> None:
    """Forget the token: the next one is asked for with the configuration as it is then."""
    _login.cache_clear()


os.register_at_fork(after_in_child=reset)  # sockets must not cross a fork


def _token() -> str:
    """The token that is at hand, or a new one two minutes before it expires."""
    auth, session = _login()
    try:
        token = auth.get_token(session)
    except Exception as error:
        # Besides keystoneauth's own errors, requests' and those of the plugins and of TLS's files.
        _LOG.error("[%s] gets no token (%s: %s)", _GROUP, type(error).__name__, error)
        raise _judged(error) from error
    if not token:
        raise NoToken(f"The auth_type of [{_GROUP}] gives no token; its operator must correct it")
    return token


@functools.cache
def _login() -> "tuple[BaseAuthPlugin, Session]":
    """The plugin of keystoneauth, which keeps the token, and its connection to Keystone; once a process."""
    from keystoneauth1 import exceptions, loading

    own = cfg.ConfigOpts()
    own([], project="glance", prog="gantry", default_config_files=config.CONF.default_config_files)
    loading.register_auth_conf_options(own, _GROUP)
    loading.register_session_conf_options(own, _GROUP)
    own.set_default("timeout", _TIMEOUT, group=_GROUP)
    needed = f"[{_GROUP}] send_service_user_token needs a working login there"
    try:
        auth = loading.load_auth_from_conf_options(own, _GROUP)
        session = loading.load_session_from_conf_options(own, _GROUP)
    except (exceptions.ClientException, cfg.Error, ValueError, TypeError) as error:
        raise errors.Invalid(f"{needed}: {error}") from error
    if auth is None:
        raise errors.Invalid(f"{needed}: auth_type (say, password) and what belongs to it")
    return auth, session


def _judged(error: Exception) -> Exception:
    """What happened, without an address or a name: the text goes to whoever asked for the import."""
    from keystoneauth1 import exceptions

    status = error.http_status if isinstance(error, exceptions.HttpError) else 0
    if (
        isinstance(error, exceptions.ConnectionError | exceptions.DiscoveryFailure)
        or status in (http.HTTPStatus.REQUEST_TIMEOUT, http.HTTPStatus.TOO_MANY_REQUESTS)
        or status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return answers.Fault(
            "the identity service cannot be asked right now", "No service token could be had"
        )
    said = f" ({status})" if status else ""
    return NoToken(
        f"The identity service does not let this service log in{said}; its operator must correct "
        f"[{_GROUP}], and finds the reason in the worker's log"
    )
