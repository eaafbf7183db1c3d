"""Every option, by Glance's names, groups and defaults; ours stand in groups of their own.

`load()` is called once by each process: by the API's factory, the workers' app and the commands.
glance_store reads oslo.config's global object, so that is the one we use too (`config.CONF`).
"""

import hashlib
import os
import pathlib
import urllib.parse
from collections.abc import Sequence

from oslo_config import cfg
from oslo_config import types as option_types
from oslo_log import log

from images import errors

CONF = cfg.CONF

#: Hex characters of the column os_hash_value.
_MAX_DIGEST = 128

_IMPORT = [
    cfg.ListOpt(
        "enabled_import_methods",
        bounds=True,
        default=["glance-direct", "web-download"],
        help="Import methods that POST /v2/images/{id}/import takes, in brackets: "
        "[glance-direct,web-download].",
    ),
    cfg.StrOpt(
        "node_staging_uri",
        default="file:///tmp/staging/",
        help="Directory, as a file:// URI, where bytes wait for their import (single-store mode). "
        "API and workers must both see it. On the store's own file system an image is stored "
        "without being copied.",
    ),
    cfg.StrOpt(
        "hashing_algorithm",
        default="sha512",
        help="Algorithm of os_hash_value for new images; any that hashlib knows whose digest has "
        "at most 128 hex characters.",
    ),
    cfg.DictOpt(
        "enabled_backends",
        help="Several stores, id:type,id:type; each has a section of its own, named by its id.",
    ),
    cfg.StrOpt("public_endpoint", help="Base of absolute links, where a proxy hides the real one."),
]

_LIMITS = [
    cfg.IntOpt("limit_param_default", default=25, min=1, help="Images on a page of a list."),
    cfg.IntOpt("api_limit_max", default=1000, min=1, help="Most images on a page of a list."),
    cfg.IntOpt("image_property_quota", default=128, help="Custom properties; negative: no limit."),
    cfg.IntOpt("image_tag_quota", default=128, help="Tags of an image; negative: no limit."),
    cfg.IntOpt(
        "image_size_cap",
        default=1 << 40,
        min=1,
        max=(1 << 63) - 1,
        help="Most bytes that one upload, staging or download may bring.",
    ),
    cfg.IntOpt("max_request_id_length", default=64, help="Longest X-Openstack-Request-ID taken."),
    cfg.BoolOpt("show_image_direct_url", default=False, help="Show direct_url in image records."),
    cfg.BoolOpt("show_multiple_locations", default=False, help="Show locations in image records."),
]

_IMAGE_FORMAT = [
    cfg.ListOpt(
        "container_formats",
        default=["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"],
        help="Values that container_format may have.",
    ),
    cfg.ListOpt(
        "disk_formats",
        default=[
            *("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
        ],
        help="Values that disk_format may have.",
    ),
    cfg.ListOpt(
        "vmdk_allowed_types",
        default=["streamOptimized", "monolithicSparse"],
        help="VMDK create types that are safe to open; an empty list refuses every VMDK.",
    ),
    cfg.BoolOpt(
        "require_image_format_match",
        default=True,
        help="Refuse data that are not of the image's disk_format.",
    ),
    cfg.ListOpt(
        "gpt_safety_checks_nonfatal",
        default=[],
        item_type=option_types.String(choices=["mbr", "gptmbr"]),
        help="Failed checks of a partition table that are only logged: mbr, gptmbr.",
    ),
]

_IMAGE_IMPORT = [
    cfg.ListOpt(
        "image_import_plugins",
        bounds=True,
        default=[],
        help="Steps between inspecting and storing, in this order, in brackets: [image_conversion].",
    ),
]

_CONVERSION = [
    cfg.StrOpt(
        "output_format",
        default="raw",
        choices=["raw", "qcow2", "vmdk"],
        help="Disk format that the plugin image_conversion converts to.",
    ),
]

_FILTERING = [
    cfg.ListOpt(
        "allowed_schemes", bounds=True, default=["http", "https"], help="Schemes of web-download."
    ),
    cfg.ListOpt("disallowed_schemes", bounds=True, default=[], help="Refused schemes."),
    cfg.ListOpt("allowed_hosts", bounds=True, default=[], help="Hosts of web-download; []: any."),
    cfg.ListOpt("disallowed_hosts", bounds=True, default=[], help="Refused hosts."),
    cfg.ListOpt(
        "allowed_ports",
        bounds=True,
        default=[80, 443],
        item_type=option_types.Integer(min=1, max=65535),
        help="Ports that a URL may name; []: any.",
    ),
    cfg.ListOpt(
        "disallowed_ports",
        bounds=True,
        default=[],
        item_type=option_types.Integer(min=1, max=65535),
        help="Refused ports.",
    ),
]

_TASK = [
    cfg.IntOpt("task_time_to_live", default=48, help="Hours that an ended task stays in sight."),
]

_DATABASE = [
    cfg.StrOpt(
        "connection",
        default="sqlite:///${gantry.state_path}/gantry.sqlite",
        secret=True,
        help="SQLAlchemy's URL of the database: postgresql://, mysql+pymysql:// or sqlite:///.",
    ),
]

_PASTE = [
    cfg.StrOpt(
        "flavor",
        help="How callers are known. Empty: nobody is asked, see [noauth].",
    ),
]

_NOAUTH = [
    cfg.StrOpt("project_id", default="demo", help="Project of every caller."),
    cfg.StrOpt("user_id", default="demo", help="User of every caller."),
    cfg.ListOpt("roles", default=["admin", "member", "reader"], help="Roles of every caller."),
    cfg.BoolOpt(
        "allow_remote",
        default=False,
        help="Serve callers from other machines too, although nobody asks who they are.",
    ),
]

_GANTRY = [
    cfg.StrOpt(
        "state_path",
        default="/var/lib/gantry",
        help="Directory of the embedded default's database, store, staging and broker.",
    ),
    cfg.StrOpt(
        "broker_url",
        default="redis+socket://${gantry.state_path}/redis/redis.sock",
        secret=True,
        help="Celery's broker: redis://, redis+socket:// or amqp://.",
    ),
    cfg.IntOpt(
        "lease_seconds",
        default=30,
        min=3,
        help="A worker that has not been heard of for so long has lost its import to another one.",
    ),
    cfg.FloatOpt(
        "heartbeat_seconds",
        default=1.0,
        min=0.1,
        help="How often a worker renews its lease and writes its progress.",
    ),
    cfg.IntOpt(
        "sweep_seconds",
        default=10,
        min=1,
        help="How often beat looks for imports that nobody is working on.",
    ),
    cfg.IntOpt(
        "upkeep_seconds",
        default=60,
        min=1,
        help="How often beat looks for what dead processes have left over.",
    ),
    cfg.IntOpt(
        "upload_patience_seconds",
        default=3600,
        min=60,
        help="An upload that has not moved for so long has died with its API process.",
    ),
    cfg.IntOpt(
        "max_attempts",
        default=3,
        min=1,
        help="An import that has cost so many workers their lives is ended as failed.",
    ),
    cfg.FloatOpt("connect_timeout", default=10.0, help="Seconds to reach a web-download's host."),
    cfg.FloatOpt("read_timeout", default=60.0, help="Seconds without a byte that end a download."),
    cfg.IntOpt("max_redirects", default=5, help="Redirects that a web-download follows."),
    cfg.IntOpt(
        "conversion_timeout", default=6 * 3600, help="Seconds that one qemu-img convert may take."
    ),
    cfg.IntOpt(
        "qemu_img_memory_mib",
        default=2048,
        min=512,
        help="Address space of a qemu-img process, MiB (below 512 its parallel writes abort).",
    ),
]

_GROUPS: dict[str | None, Sequence[cfg.Opt]] = {
    None: [*_IMPORT, *_LIMITS],
    "image_format": _IMAGE_FORMAT,
    "image_import_opts": _IMAGE_IMPORT,
    "image_conversion": _CONVERSION,
    "import_filtering_opts": _FILTERING,
    "task": _TASK,
    "database": _DATABASE,
    "paste_deploy": _PASTE,
    "noauth": _NOAUTH,
    "gantry": _GANTRY,
}


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
    for group, options in _GROUPS.items():
        CONF.register_opts(options, group=group)
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
    for (
        group,
        options,
    ) in _GROUPS.items():  # oslo.config reads a value, and judges it, only when asked
        for option in options:
            (CONF[group] if group else CONF)[option.dest]
    digest_length(CONF.hashing_algorithm)
    if urllib.parse.urlsplit(CONF.node_staging_uri).scheme != "file":
        raise errors.Invalid("node_staging_uri must be a file:// URI")
    if CONF.paste_deploy.flavor:
        raise errors.Invalid(
            f"[paste_deploy] flavor = {CONF.paste_deploy.flavor}: only the empty flavor (no "
            "authentication, see [noauth]) can be served yet"
        )


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
