"""Every option that the service has: Glance's names, groups and defaults; ours stand in groups of their own.

`images.config` reads and checks them. glance_store, oslo.policy, oslo.log, keystonemiddleware, keystoneauth
and oslo.limit register theirs by themselves.
"""

import socket
from collections.abc import Sequence

from oslo_config import cfg
from oslo_config import types as option_types

_IMPORT = [
    cfg.ListOpt(
        "enabled_import_methods",
        bounds=True,
        default=["glance-direct", "web-download", "copy-image"],
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

_ACCESS = [
    cfg.BoolOpt(
        "allow_anonymous_access",
        default=False,
        help="Let callers without a token read public and community images (flavor keystone).",
    ),
    cfg.BoolOpt(
        "owner_is_tenant",
        default=True,
        deprecated_for_removal=True,
        deprecated_reason="Images belong to projects; user-owned images go with the next major release.",
        help="New images belong to the caller's project; false: to the caller's user.",
    ),
    cfg.StrOpt(
        "property_protection_file",
        help="Rules of who may create, read, update and delete which custom properties.",
    ),
    cfg.StrOpt(
        "property_protection_rule_format",
        default="roles",
        choices=["roles", "policies"],
        help="Whether that file names roles or policy rules.",
    ),
]

_DELETION = [
    cfg.BoolOpt(
        "delayed_delete",
        default=False,
        help="Keep a deleted image's data until they are scrubbed.",
    ),
    cfg.IntOpt(
        "scrub_time", default=0, min=0, help="Seconds for which deleted images' data are kept."
    ),
    cfg.IntOpt("scrub_pool_size", default=1, min=1, help="Images that are scrubbed at once."),
]

_LOCATIONS = [
    cfg.BoolOpt("show_image_direct_url", default=False, help="Show direct_url in image records."),
    cfg.BoolOpt(
        "show_multiple_locations",
        default=False,
        deprecated_for_removal=True,
        deprecated_reason="POST and GET /v2/images/{id}/locations do what it did, guarded by policy.",
        help="Show locations in image records and let them be changed by PATCH.",
    ),
    cfg.BoolOpt(
        "do_secure_hash",
        default=True,
        help="Digest the data of a location that was added without its hash.",
    ),
    cfg.IntOpt("http_retries", default=3, min=0, help="Tries more to read such data."),
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
    cfg.IntOpt("image_member_quota", default=128, help="Members of an image; negative: no limit."),
    cfg.IntOpt(
        "image_location_quota", default=10, help="Locations of an image; negative: no limit."
    ),
    cfg.StrOpt(
        "user_storage_quota",
        default="0",
        help="Most bytes that the images of one owner may have, with B, KB, MB, GB or TB; 0: no limit.",
    ),
    cfg.BoolOpt(
        "use_keystone_limits",
        default=False,
        help="Enforce the unified limits that Keystone keeps; see [oslo_limit].",
    ),
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
        choices=["raw", "qcow2", "vmdk", "vhd"],
        help="Disk format that the plugin image_conversion converts to.",
    ),
]

_INJECTION = [
    cfg.Opt(
        "inject",
        type=option_types.Dict(option_types.String(quotes=True)),  # DictOpt's cuts quoted commas
        default={},
        help="Properties that the plugin inject_image_metadata gives to imported images, name:value,"
        'name:"value, with a comma".',
    ),
    cfg.ListOpt(
        "ignore_user_roles",
        default=["admin"],
        help="Callers with one of these roles import without them.",
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

_GLANCE_DOWNLOAD = [
    cfg.ListOpt(
        "extra_properties",
        bounds=True,
        default=["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"],
        help="Beginnings of the names of properties that glance-download copies, in brackets.",
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
        help="How callers are known. keystone: by their token, see [keystone_authtoken]. Empty: nobody "
        "is asked, see [noauth].",
    ),
]

_SERVICE_USER = [
    cfg.BoolOpt(
        "send_service_user_token",
        default=False,
        help="Send a token of this service beside the caller's, with which that is accepted for a while "
        "after it has expired. The rest of the section is keystoneauth's: auth_type, auth_url, username ...",
    ),
]

_HEALTH = [
    cfg.StrOpt(
        "disable_by_file_path",
        default="/etc/glance/healthcheck_disable",
        help="While this file exists, GET /healthcheck answers 503: send this machine no requests.",
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
    cfg.HostDomainOpt(
        "host",
        default=socket.gethostname(),
        sample_default="the host's name",
        help="This host's name, where staging_is_shared is off.",
    ),
    cfg.StrOpt(
        "x_accel_redirect",
        default="",
        help="Below which internal location nginx, in front of the API, has the directories of file stores "
        "by their full names: it sends images by itself then. Only for an API that nobody else can reach.",
    ),
    cfg.BoolOpt(
        "staging_is_shared",
        default=True,
        help="Whether all hosts see one staging directory. Off: each has its own, and staged bytes are "
        "imported by the workers of the host that has them; each host runs a beat.",
    ),
    cfg.IntOpt(
        "host_patience_seconds",
        default=120,
        min=1,
        help="An import that has lost its host for so long begins anew on another one, if its bytes can "
        "be fetched again.",
    ),
    cfg.IntOpt(
        "imports_per_project",
        default=0,
        min=0,
        help="Most imports of one project that run at a time; 0: no limit. Projects take turns anyway.",
    ),
    cfg.FloatOpt(
        "remember_seconds",
        default=0.5,
        min=0,
        help="Work of so many seconds is written down when its step ends, and not done again after a crash.",
    ),
    cfg.FloatOpt(
        "drain_seconds",
        default=5.0,
        min=0,
        help="A worker that is asked to end goes on with its imports for so long; what is not done then "
        "is handed to other workers.",
    ),
    cfg.IntOpt(
        "tries",
        default=5,
        min=1,
        help="Tries that a step has when the network or a store fails; progress gives it as many again.",
    ),
    cfg.FloatOpt(
        "retry_pause",
        default=1.0,
        min=0,
        help="Seconds before the second try; doubled for each further one, up to a minute.",
    ),
    cfg.FloatOpt("connect_timeout", default=10.0, help="Seconds to reach a web-download's host."),
    cfg.FloatOpt("read_timeout", default=60.0, help="Seconds without a byte that end a download."),
    cfg.IntOpt(
        "minimum_rate",
        default=1024,
        min=0,
        help="Bytes a second that a download must bring on average over read_timeout; 0: any.",
    ),
    cfg.IntOpt(
        "fetch_timeout", default=24 * 3600, min=1, help="Seconds that fetching an image may take."
    ),
    cfg.IntOpt(
        "store_timeout",
        default=24 * 3600,
        min=1,
        help="Seconds that storing into one store may take.",
    ),
    cfg.IntOpt(
        "step_timeout",
        default=6 * 3600,
        min=1,
        help="Seconds that any other step of an import may take.",
    ),
    cfg.IntOpt("max_redirects", default=5, help="Redirects that a web-download follows."),
    cfg.DictOpt(
        "remote_regions",
        default={},
        help="Image services of other regions, region:url,region:url, for glance-download where the "
        "caller's catalog does not have them (flavor empty).",
    ),
    cfg.IntOpt(
        "conversion_timeout", default=6 * 3600, help="Seconds that one qemu-img convert may take."
    ),
    cfg.IntOpt(
        "decompression_ratio",
        default=200,
        min=0,
        help="How many times as large as the packed file what image_decompression makes of it may be; "
        "0: any. Less than 16 MiB is always taken.",
    ),
    cfg.IntOpt(
        "qemu_img_memory_mib",
        default=2048,
        min=512,
        help="Address space of a qemu-img process, MiB (below 512 its parallel writes abort).",
    ),
]

GROUPS: dict[str | None, Sequence[cfg.Opt]] = {
    None: [*_ACCESS, *_IMPORT, *_DELETION, *_LOCATIONS, *_LIMITS],
    "image_format": _IMAGE_FORMAT,
    "image_import_opts": _IMAGE_IMPORT,
    "image_conversion": _CONVERSION,
    "inject_metadata_properties": _INJECTION,
    "import_filtering_opts": _FILTERING,
    "glance_download_properties": _GLANCE_DOWNLOAD,
    "task": _TASK,
    "database": _DATABASE,
    "paste_deploy": _PASTE,
    "service_user": _SERVICE_USER,
    "healthcheck": _HEALTH,
    "noauth": _NOAUTH,
    "gantry": _GANTRY,
}
