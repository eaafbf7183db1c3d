"""`gantry config`: a sample of the configuration, and whether the one that is here can be used."""

import argparse
import importlib.metadata
import logging
import pathlib
import sys
from typing import TextIO

from oslo_config import cfg, generator

from images import errors, methods, service

#: What the topic says of itself.
TEXT = "a sample of the configuration, and whether the one here can be used"
#: Whose options there are, by their entry points: ours, and those of the libraries that read this file.
_NAMESPACES = (
    "gantry",
    "glance.store",
    "keystonemiddleware.auth_token",
    "oslo.limit",
    "oslo.log",
    "oslo.middleware.cors",
    "oslo.middleware.http_proxy_to_wsgi",
    "oslo.policy",
)


def add(topic: argparse.ArgumentParser) -> None:
    """The words of the topic."""
    verbs = topic.add_subparsers(required=True, metavar="COMMAND")
    text = "write every option with its default and its meaning, commented out"
    sample = verbs.add_parser("sample", help=text, description=f"{text}.")
    sample.add_argument(
        "--output-file", type=pathlib.Path, metavar="FILE", help="(default: standard output)"
    )
    sample.set_defaults(run=_sample, is_offline=True)
    text = "read the configuration as the service does when it starts: exit 0 if it can be used, else 1"
    check = verbs.add_parser("check", help=text, description=f"{text}.")
    check.set_defaults(run=_check)


def _sample(options: argparse.Namespace) -> int:
    if options.output_file is None:
        _write(sys.stdout)
        return 0
    try:
        with options.output_file.open("w", encoding="utf-8") as file:
            _write(file)
    except OSError as error:
        raise errors.Unavailable(f"The file cannot be written: {error.strerror}") from error
    return 0


def _write(file: TextIO) -> None:
    known = importlib.metadata.entry_points(group="oslo.config.opts").names
    if missing := sorted(set(_NAMESPACES) - known):
        raise errors.Misconfigured(f"{missing[0]} is not installed whole: install Gantry again")
    # It would tell of each driver of glance_store whose library is not here; there is no need of them.
    logging.getLogger("stevedore").setLevel(logging.CRITICAL)
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf([word for name in _NAMESPACES for word in ("--namespace", name)])
    generator.generate(conf, output_file=file)


def _check(_: argparse.Namespace) -> int:
    service.check_places()
    methods.load()
    print("The configuration can be used.")
    return 0
