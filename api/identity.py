"""Who a confirmed token belongs to: the context, from the headers that keystonemiddleware has written.

That they are its headers, and not the client's, is the work of `api.auth` (contract section 5.1).
"""

import dataclasses
import functools
import json
from typing import TYPE_CHECKING, Any

from werkzeug import exceptions

from images import config, context, errors, policy

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: Headers whose meaning is kept: those of a caller are the same with every request. A catalog may be long.
_KNOWN = 32


def read(environ: "WSGIEnvironment", request_id: str) -> context.Context:
    """The caller whose token Keystone has confirmed, or nobody in particular where that is allowed.

    Raises:
        Unauthorized: there is no valid token, and `allow_anonymous_access` is off; or the service token that
            came with it is not valid.
        Invalid: the service catalog is no JSON.
    """
    if environ.get("HTTP_X_IDENTITY_STATUS") != "Confirmed":
        return _nobody(request_id)
    if environ.get("HTTP_X_SERVICE_IDENTITY_STATUS", "Confirmed") != "Confirmed":
        raise exceptions.Unauthorized("The service token is not valid")
    user_id = environ.get("HTTP_X_USER_ID")
    project_id = environ.get("HTTP_X_PROJECT_ID") or environ.get("HTTP_X_TENANT_ID")
    asker = context.Context(
        user_id=user_id,
        project_id=project_id,
        owner=project_id if config.CONF.owner_is_tenant else user_id,
        roles=_roles(environ.get("HTTP_X_ROLES")),
        is_admin=False,
        request_id=request_id,
        service_roles=_roles(environ.get("HTTP_X_SERVICE_ROLES")),
        domain_id=environ.get("HTTP_X_DOMAIN_ID"),
        system_scope=environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE"),
        user_domain_id=environ.get("HTTP_X_USER_DOMAIN_ID"),
        project_domain_id=environ.get("HTTP_X_PROJECT_DOMAIN_ID"),
        auth_token=environ.get("HTTP_X_AUTH_TOKEN"),
        service_catalog=_catalog(environ.get("HTTP_X_SERVICE_CATALOG")),
    )
    return dataclasses.replace(asker, is_admin=policy.allowed(asker, "context_is_admin"))


def _nobody(request_id: str) -> context.Context:
    if not config.CONF.allow_anonymous_access:
        raise exceptions.Unauthorized("The request you have made requires authentication.")
    return context.Context(
        user_id=None,
        project_id=None,
        owner=None,
        roles=(),
        is_admin=False,
        request_id=request_id,
        read_only=True,
    )


@functools.lru_cache(_KNOWN)
def _roles(header: str | None) -> tuple[str, ...]:
    return tuple(role.strip().lower() for role in (header or "").split(",") if role.strip())


@functools.lru_cache(_KNOWN)
def _catalog(header: str | None) -> tuple[dict[str, Any], ...] | None:
    if header is None:
        return None
    try:
        services = json.loads(header)
    except ValueError as error:
        raise errors.Invalid("The service catalog is no JSON") from error
    if not isinstance(services, list) or not all(isinstance(one, dict) for one in services):
        raise errors.Invalid("The service catalog is no list of services")
    return tuple(services)
