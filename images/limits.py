"""Keystone's unified limits: how much of what a project may have, asked over HTTP through oslo.limit.

The only door to oslo.limit, which is loaded where `use_keystone_limits` is set and nowhere else. Never ask
inside a transaction. Nothing is kept between two questions: a limit that was changed holds at once, as it
does in Glance.
"""

import functools
import importlib
import logging
import os
import sys
from typing import Any

from oslo_config import cfg

from images import errors

_LOG = logging.getLogger(__name__)

#: The resources that have limits; the sizes are in MiB (contract section 3.7).
SIZES = ("image_size_total", "image_stage_total")
COUNTS = ("image_count_total", "image_count_uploading")
NAMES = (*SIZES, *COUNTS)

_GROUP = "oslo_limit"
#: Seconds that Keystone may take unless [oslo_limit] timeout says otherwise: a caller waits for the answer.
_TIMEOUT = 10


def register_options(conf: cfg.ConfigOpts) -> None:
    """Register and judge [oslo_limit]; the configuration must have been read. Does not ask Keystone.

    Raises:
        Invalid: what is needed to ask Keystone is missing; the text names it.
    """
    from keystoneauth1 import exceptions as auth_errors
    from keystoneauth1 import loading

    importlib.import_module(
        "oslo_limit.limit"
    )  # registers its options by the auth_type that is set

    conf.set_default("timeout", _TIMEOUT, group=_GROUP)
    needed = f"use_keystone_limits needs a working [{_GROUP}]"
    try:
        login = loading.load_auth_from_conf_options(conf, _GROUP)
    except auth_errors.ClientException as error:
        raise errors.Invalid(f"{needed}: {error}") from error
    if login is None:
        raise errors.Invalid(f"{needed}: auth_type (say, password) and what belongs to it")
    group = conf[_GROUP]
    if not (group.endpoint_id or group.endpoint_service_type or group.endpoint_service_name):
        raise errors.Invalid(
            f"{needed}: endpoint_id, or endpoint_service_type and endpoint_region_name: they say which "
            "service's limits are ours"
        )
    reset()


def of(project_id: str) -> dict[str, int]:
    """A project's limits by name, in Keystone's units; -1: none. One that is not registered is 0.

    Raises:
        Unavailable: Keystone cannot be reached, or does not answer as it should.
    """
    try:
        enforcer = _enforcer()
        known = dict(enforcer.get_registered_limits(None))
        known |= dict(enforcer.get_project_limits(project_id, None))
    except Exception as error:
        # openstacksdk, keystoneauth, oslo.limit and requests have each an error tree of their own, and
        # ValueError and NotImplementedError say that Keystone has no such endpoint or another model.
        _LOG.error(
            "Keystone does not tell the limits of project %s (%s: %s)",
            project_id,
            type(error).__name__,
            error,
        )
        raise errors.Unavailable(
            "The project's limits cannot be read from the identity service right now"
        ) from error
    return {name: known.get(name, 0) for name in NAMES}


@functools.cache
def _enforcer() -> Any:
    """oslo.limit's client; making it asks Keystone for its model and for our endpoint, once a process."""
    from oslo_limit import limit

    return limit.Enforcer(lambda _project, names: dict.fromkeys(names, 0), cache=False)


def reset() -> None:
    """Forget the client: the next question makes a new one, from the configuration as it is then."""
    _enforcer.cache_clear()
    if library := sys.modules.get("oslo_limit.limit"):
        library._SDK_CONNECTION = None  # type: ignore[attr-defined]


os.register_at_fork(after_in_child=reset)  # sockets must not cross a fork
