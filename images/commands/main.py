"""`gantry`, and the names that playbooks call: `glance-manage`, `glance-scrubber`, `glance-status`.

Each topic is a module beside this one, which knows its words and does what they say.
"""

import argparse
import logging
import pathlib
import sys
from collections.abc import Callable, Sequence

from images import commands, errors, service
from images.commands import (
    adopt,
    cache,
    configuration,
    imports,
    metadefs,
    purge,
    scrubber,
    tables,
    upgrade,
    worker,
)

_ABOUT = """\
Commands of the image service's operators; `{name} TOPIC --help` tells more of each.

The configuration is read from the files named by --config-file and --config-dir, else from those that
OS_GLANCE_CONFIG_FILES names (separated by ';'), else from /etc/glance/glance-api.conf; any option may
stand in the environment as OS_<GROUP>__<OPTION>.

Exit status: 0 done, 1 not done (one line says why), 2 called wrongly; a command that has others says so.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command `gantry`: 0 if it did what it says, 1 if it could not, 2 if it was called wrongly."""
    return _run(gantry_parser(), arguments)


def glance_manage(arguments: Sequence[str] | None = None) -> int:
    """The command `glance-manage`: `gantry db`, in its present and in its older spelling (`db_sync`)."""
    return _run(manage_parser(), arguments)


def glance_scrubber(arguments: Sequence[str] | None = None) -> int:
    """The command `glance-scrubber`: `gantry scrubber`."""
    return _run(scrubber_parser(), arguments)


def glance_status(arguments: Sequence[str] | None = None) -> int:
    """The command `glance-status`, which knows `upgrade check`."""
    return _run(status_parser(), arguments)


def glance_cache_manage(arguments: Sequence[str] | None = None) -> int:
    """The command `glance-cache-manage`: `gantry cache`."""
    return _run(cache_parser("glance-cache-manage", cache.add), arguments)


def glance_cache_prefetcher(arguments: Sequence[str] | None = None) -> int:
    """The command `glance-cache-prefetcher`: `gantry cache prefetch`."""
    return _run(cache_parser("glance-cache-prefetcher", cache.add_prefetcher), arguments)


def glance_cache_pruner(arguments: Sequence[str] | None = None) -> int:
    """The command `glance-cache-pruner`: `gantry cache prune`."""
    return _run(cache_parser("glance-cache-pruner", cache.add_pruner), arguments)


def glance_cache_cleaner(arguments: Sequence[str] | None = None) -> int:
    """The command `glance-cache-cleaner`: `gantry cache clean`."""
    return _run(cache_parser("glance-cache-cleaner", cache.add_cleaner), arguments)


def gantry_parser() -> argparse.ArgumentParser:
    """The words of `gantry`."""
    parser = _parser("gantry")
    topics = parser.add_subparsers(required=True, metavar="TOPIC")
    _add_database(topics)
    cache.add(topics.add_parser("cache", help="this host's image cache"))
    scrubber.add(topics.add_parser("scrubber", **scrubber.TEXT))
    configuration.add(topics.add_parser("config", help=configuration.TEXT))
    imports.add(topics.add_parser("imports", help=imports.TEXT))
    upgrade.add(topics.add_parser("upgrade", help=upgrade.TEXT))
    worker.add(topics.add_parser("worker", help="this host's workers"))
    return parser


def manage_parser() -> argparse.ArgumentParser:
    """The words of `glance-manage`."""
    parser = _parser("glance-manage")
    topics = parser.add_subparsers(required=True, metavar="db")
    _add_database(topics)
    _add_verbs(topics, "db_{}")
    return parser


def scrubber_parser() -> argparse.ArgumentParser:
    """The words of `glance-scrubber`."""
    parser = _parser("glance-scrubber")
    scrubber.add(parser)
    return parser


def cache_parser(
    name: str, add: Callable[[argparse.ArgumentParser], None]
) -> argparse.ArgumentParser:
    """The words of one of the four commands of the cache."""
    parser = _parser(name)
    add(parser)
    return parser


def status_parser() -> argparse.ArgumentParser:
    """The words of `glance-status`."""
    parser = _parser("glance-status")
    topics = parser.add_subparsers(required=True, metavar="upgrade")
    upgrade.add(topics.add_parser("upgrade", help=upgrade.TEXT))
    return parser


def _parser(name: str) -> argparse.ArgumentParser:
    """With the words that every command of OpenStack takes."""
    parser = argparse.ArgumentParser(
        name,
        description=_ABOUT.format(name=name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config-file", action="append", default=[], metavar="FILE", help="may be said again"
    )
    parser.add_argument("--config-dir", metavar="DIRECTORY", help="its *.conf, by their names")
    parser.add_argument("-d", "--debug", action="store_true", help="log what is done")
    parser.set_defaults(is_offline=False)
    return parser


def _add_database(topics: commands.Verbs) -> None:
    database = topics.add_parser("db", help="the database: its tables, its deleted rows, metadefs")
    verbs = database.add_subparsers(required=True, metavar="COMMAND")
    _add_verbs(verbs, "{}")
    adopt.add(verbs)


def _add_verbs(verbs: commands.Verbs, spelled: str) -> None:
    for topic in (tables, purge, metadefs):
        topic.add(verbs, spelled)


def _run(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> int:
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.debug else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    if not options.is_offline:
        service.start(_files(options))
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except errors.GantryError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1


def _files(options: argparse.Namespace) -> list[str] | None:
    """The configuration files that were named; None for the usual ones."""
    named = [*options.config_file]
    if options.config_dir:
        named += sorted(str(file) for file in pathlib.Path(options.config_dir).glob("*.conf"))
    return named or None


if __name__ == "__main__":
    sys.exit(main())
