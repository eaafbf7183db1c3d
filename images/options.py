"""Every option of the service: Glance's names, groups and defaults; ours, in [gantry], are `own_options`'.

`images.config` reads and checks them. glance_store, oslo.policy, oslo.log, keystonemiddleware, keystoneauth
and oslo.limit register theirs by themselves.
"""

from collections.abc import Sequence

from oslo_config import cfg
from oslo_config import types as option_types

from images import own_options, web_options

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
        mutable=True,
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

_CACHE = [
    cfg.StrOpt(
        "image_cache_dir",
        help="Directory in which this host keeps images that were downloaded or asked for; none: no cache.",
    ),
    cfg.StrOpt(
        "image_cache_driver",
        default="centralized_db",
        ignore_case=True,
        choices=["centralized_db", "sqlite", "xattr"],
        help="Where Glance keeps the cache's books. Here it is always the database; this says only "
        "whether GET /v2/cache/nodes/{id} is served, which Glance does for centralized_db.",
    ),
    cfg.IntOpt(
        "image_cache_max_size",
        default=10 << 30,
        min=0,
        help="Bytes that whole images in the cache may have; what was used longest ago makes room.",
    ),
    cfg.IntOpt(
        "image_cache_stall_time",
        default=24 * 3600,
        min=0,
        help="Seconds without a byte after which an image that is on its way into the cache is removed.",
    ),
    cfg.IntOpt(
        "cache_prefetcher_interval",
        default=300,
        min=1,
        help="Seconds between two looks of beat for images that wait to be cached; the API asks at once too.",
    ),
    cfg.StrOpt(
        "worker_self_reference_url",
        help="URL by which other hosts reach this one's API; it names this host's cache. Unset: [gantry] "
        "host does.",
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
    cfg.IntOpt(
        "wakeup_time",
        default=300,
        min=1,
        help="Seconds between two passes of gantry scrubber --daemon.",
    ),
    cfg.BoolOpt(
        "daemon", default=False, help="Let gantry scrubber run on and on, as --daemon does."
    ),
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

_METADEFS = [
    cfg.StrOpt(
        "metadata_source_path",
        default="/etc/glance/metadefs/",
        help="Directory of metadata definitions, for gantry db load_metadefs and export_metadefs.",
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
    cfg.IntOpt(
        "max_parallel_stores",
        default=8,
        min=1,
        help="Stores that one import, or copy, writes at the same time. Glance's default is 1, one after the "
        "other; here they are written side by side, and each is digested and tried again by itself.",
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

_NOTIFICATIONS = [
    cfg.StrOpt(
        "default_publisher_id", default="image.localhost", help="Who sends the notifications."
    ),
    cfg.ListOpt(
        "disabled_notifications",
        default=[],
        help="Events that nobody is told of: image.create, or a group such as image or metadef_tag.",
    ),
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

GROUPS: dict[str | None, Sequence[cfg.Opt]] = {
    None: [
        *_ACCESS,
        *_IMPORT,
        *_CACHE,
        *_DELETION,
        *_LOCATIONS,
        *_LIMITS,
        *_METADEFS,
        *_NOTIFICATIONS,
    ],
    "image_format": _IMAGE_FORMAT,
    "image_import_opts": _IMAGE_IMPORT,
    "image_conversion": _CONVERSION,
    "inject_metadata_properties": _INJECTION,
    "import_filtering_opts": web_options.FILTERING,
    "web_download": web_options.WEB_DOWNLOAD,
    "glance_download_properties": _GLANCE_DOWNLOAD,
    "task": _TASK,
    "database": _DATABASE,
    "paste_deploy": _PASTE,
    "service_user": _SERVICE_USER,
    "healthcheck": _HEALTH,
    "noauth": _NOAUTH,
    "gantry": own_options.GANTRY,
}


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """The same for oslo.config's generator, which makes a sample of them (`gantry config sample`).

    And the one option of glance_store's for several stores that its list for one store does not have.
    """
    several = cfg.StrOpt(
        "default_backend",
        help="With enabled_backends: id of the store that an image goes into where nobody chooses one. Each "
        "store's options stand in a section named by its id, as here those of a single one.",
    )
    ours: list[tuple[str | None, list[cfg.Opt]]] = [
        (group, list(known)) for group, known in GROUPS.items()
    ]
    return [*ours, ("glance_store", [several])]
