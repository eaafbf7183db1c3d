"""The configuration of this process, read from Glance's files and checked (the options: `images.options`).

`load()` is called once by each process: by the API's factory, the workers' app and the commands.
glance_store reads oslo.config's global object, so that is the one we use too (`config.CONF`).
"""

import hashlib
import logging
import os
import pathlib
import urllib.parse
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from images import errors, options

LOG = logging.getLogger(__name__)

CONF = cfg.CONF

#: Hex characters of the column os_hash_value.
_MAX_DIGEST = 128
#: glance_store's own names for the stores that only the service itself may use, and their types. Where
#: several stores are configured, the first one's directory is the staging area.
STAGING_STORE = "os_glance_staging_store"
RESERVED_STORES = {STAGING_STORE: "file", "os_glance_tasks_store": "file"}
#: Values of [paste_deploy] flavor that can be served; downloads are cached where image_cache_dir is set.
_FLAVORS = (
    "",
    "keystone",
    "caching",
    "cachemanagement",
    "keystone+caching",
    "keystone+cachemanagement",
)


def load(files: Sequence[str] | None = None) -> cfg.ConfigOpts:
    """Read the configuration files and check the values.

    Unless named here, the files are those of `OS_GLANCE_CONFIG_FILES` (Glance's own name; `;` separates),
    else `/etc/glance/glance-api.conf` and `/etc/glance/glance-image-import.conf` where they exist. Any
    option may also stand in the environment as `OS_<GROUP>__<OPTION>`.

    Raises:
        SystemExit: a value is impossible; the text names the option and the cure.
    """
    if "debug" not in CONF:  # its options are for the command line too, which is read only once
        log.register_options(CONF)
    for group, known in options.GROUPS.items():
        CONF.register_opts(known, group=group)
    try:
        CONF(
            [],
            project="glance",
            prog="gantry",
            default_config_files=_files() if files is None else list(files),
        )
        _check()
    except (cfg.Error, ValueError, errors.Invalid) as error:
        raise SystemExit(f"gantry: the configuration cannot be used: {error}") from error
    return CONF


def _files() -> list[str]:
    named = os.environ.get("OS_GLANCE_CONFIG_FILES", "")
    if named:
        return [name.strip() for name in named.split(";") if name.strip()]
    usual = ("/etc/glance/glance-api.conf", "/etc/glance/glance-image-import.conf")
    return [name for name in usual if pathlib.Path(name).exists()]


def _check() -> None:
    for group, known in options.GROUPS.items():
        for option in known:  # oslo.config reads a value, and judges it, only when asked
            (CONF[group] if group else CONF)[option.dest]
    digest_length(CONF.hashing_algorithm)
    if urllib.parse.urlsplit(CONF.node_staging_uri).scheme != "file":
        raise errors.Invalid("node_staging_uri must be a file:// URI")
    if (CONF.paste_deploy.flavor or "") not in _FLAVORS:
        raise errors.Invalid(
            f"[paste_deploy] flavor = {CONF.paste_deploy.flavor} cannot be served; keystone asks who its "
            "callers are, the empty one does not (see [noauth])"
        )


def reload() -> None:
    """Read the files again, for the options that may change while the service runs (`images.reloading`).

    These are those that are declared mutable: `hashing_algorithm`, and oslo.log's. Where a file cannot be
    read, or a value is impossible, all stays as it was, and the log says why.
    """
    try:
        _judge_new_values()
        CONF.mutate_config_files()
    except (cfg.Error, errors.Invalid, OSError, ValueError) as error:
        LOG.error("The configuration stays as it was: %s", error)  # noqa: TRY400 - no fault of ours
        return
    LOG.info("The configuration was read again; hashing_algorithm is %s", CONF.hashing_algorithm)


def _judge_new_values() -> None:
    """What the files say now, before anybody goes by it."""
    new = cfg.ConfigOpts()
    new.register_opts([one for one in options.GROUPS[None] if one.mutable])
    new([], project="glance", prog="gantry", default_config_files=CONF.config_file or [])
    digest_length(new.hashing_algorithm)


def public_stores(conf: cfg.ConfigOpts) -> dict[str, str]:
    """The stores that a user may see: their types by their ids; empty where there is only one, without an id.

    glance_store writes the others into `enabled_backends` when it makes its drivers.
    """
    return {k: v for k, v in (conf.enabled_backends or {}).items() if k not in RESERVED_STORES}


def digest_length(algorithm: str) -> int:
    """Hex characters of a digest by `algorithm` (contract section 4.8).

    Raises:
        Invalid: hashlib does not know it, or its digest does not fit the column.
    """
    try:
        length = hashlib.new(algorithm).digest_size * 2
    except ValueError as error:
        raise errors.Invalid(
            f"hashing_algorithm = {algorithm}: hashlib does not know it; sha512 and sha256 do well"
        ) from error
    if not 0 < length <= _MAX_DIGEST:
        raise errors.Invalid(
            f"hashing_algorithm = {algorithm}: its digest must have 1 to 128 hex characters"
        )
    return length
