"""What every process of the service does before anything else."""

from oslo_config import cfg

from images import config, errors, queue, stores


def start() -> cfg.ConfigOpts:
    """Read and check the configuration, the stores' part of it too, and set up the queue's client.

    Raises:
        SystemExit: a value is impossible; the text names the option and the cure.
    """
    conf = config.load()
    try:
        stores.register_options(conf)
    except (cfg.Error, errors.Invalid) as error:
        raise SystemExit(f"gantry: the configuration cannot be used: {error}") from error
    queue.configure(conf.gantry.broker_url)
    return conf
