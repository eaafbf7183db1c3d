"""What every process of the service does before anything else."""

import logging
from collections.abc import Sequence

from oslo_config import cfg

from images import (
    config,
    errors,
    notifications,
    properties,
    protections,
    queue,
    quota,
    service_tokens,
    staging,
    store_options,
)

LOG = logging.getLogger(__name__)


def start(files: Sequence[str] | None = None) -> cfg.ConfigOpts:
    """Read and check the configuration, the stores' part of it too, and set up the queue's client.

    `files` are configuration files in place of the usual ones (`config.load`).

    Raises:
        SystemExit: a value is impossible; the text names the option and the cure.
    """
    conf = config.load(files)
    try:
        store_options.register(conf)
        quota.configure(conf)
        properties.configure(conf)
        protections.load()
        service_tokens.check()
        notifications.configure(conf)
    except (cfg.Error, errors.Invalid) as error:
        raise SystemExit(f"gantry: the configuration cannot be used: {error}") from error
    queue.configure(conf.gantry.broker_url)
    # It writes each URL that is fetched, with its query, to the log at DEBUG; tokens stand in queries.
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    return conf


def check_places() -> None:
    """Make sure that staging can be written to; whatever serves does this when it starts.

    Raises:
        SystemExit: it cannot; one line names the option. A staging area that is full will have room again.
    """
    try:
        staging.check()
    except errors.StorageFull as error:
        LOG.warning("%s", error)
    except errors.Unavailable as error:
        several = f"[{config.STAGING_STORE}] filesystem_store_datadir"
        option = several if config.CONF.enabled_backends else "node_staging_uri"
        raise SystemExit(
            f"gantry: the configuration cannot be used: {option}: {error}; it must be a directory that this "
            "user can write to"
        ) from error
