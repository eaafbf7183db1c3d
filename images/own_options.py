"""The options of the group [gantry]: what Glance has no name for."""

import socket

from oslo_config import cfg

GANTRY = [
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
        help="This host's name, where staging_is_shared is off, or it has an image cache.",
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
    cfg.BoolOpt(
        "detect_disk_format",
        default=False,
        help="Import bare images whose disk_format is not set, and set it to what their data are; off: such "
        "an import is refused, as by Glance.",
    ),
    cfg.IntOpt(
        "decompression_ratio",
        default=200,
        min=0,
        help="How many times as large as the packed file what image_decompression makes of it may be; "
        "0: any. Less than 16 MiB is always taken.",
    ),
    cfg.StrOpt(
        "qemu_img_box",
        default="auto",
        choices=["auto", "required", "off"],
        help="Whether qemu-img sees its files only (bubblewrap). auto: where the host can do it, else a "
        "warning; required: workers do not start where it cannot.",
    ),
    cfg.IntOpt(
        "qemu_img_memory_mib",
        default=2048,
        min=512,
        help="Address space of a qemu-img process, MiB (below 512 its parallel writes abort).",
    ),
]
