"""`gantry`: the one command; each subcommand is a function of its own."""

import argparse
import sys
from collections.abc import Callable, Sequence

from images import alive, errors, queue, schema, service
from images.commands import cache

_ABOUT = """\
Commands of the image service's operators.

The configuration is read from the files that OS_GLANCE_CONFIG_FILES names (separated by ';'), else from
/etc/glance/glance-api.conf; any option may stand in the environment as OS_<GROUP>__<OPTION>.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 where it did what it says, 1 where it could not, 2 where it was called wrongly."""
    options = _parser().parse_args(arguments)
    service.start()
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except errors.GantryError as error:
        print(f"gantry: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "gantry", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    topics = parser.add_subparsers(required=True, metavar="TOPIC")
    database = topics.add_parser("db", help="the database's tables")
    verbs = database.add_subparsers(required=True, metavar="COMMAND")
    sync = verbs.add_parser("sync", help="create the tables, or bring them up to this release")
    sync.set_defaults(run=_db_sync)
    version = verbs.add_parser("version", help="print the revision that the tables are at")
    version.set_defaults(run=_db_version)
    _worker(topics.add_parser("worker", help="this host's workers"))
    cache.add(topics.add_parser("cache", help="this host's image cache"))
    return parser


def _worker(topic: argparse.ArgumentParser) -> None:
    verbs = topic.add_subparsers(required=True, metavar="COMMAND")
    one = verbs.add_parser("alive", help="have a worker do a job: 0 if it does, 1 if it is dead")
    one.add_argument("--node", default=queue.node(), help="its name (default: %(default)s)")
    one.add_argument("--wait", type=float, default=10, metavar="SECONDS", help="(default: 10)")
    one.set_defaults(run=_worker_alive)


def _db_sync(_: argparse.Namespace) -> int:
    print(f"The database is at revision {schema.sync()}.")
    return 0


def _db_version(_: argparse.Namespace) -> int:
    at = schema.revision()
    print(at or "The database has no tables yet; 'gantry db sync' makes them.")
    return 0 if at else 1


def _worker_alive(options: argparse.Namespace) -> int:
    try:
        reason = alive.why_not(options.node, options.wait)
    except errors.Unavailable as error:
        # To end a worker, and its imports, would bring neither broker nor database back.
        print(f"gantry: nothing can be said about {options.node}: {error}", file=sys.stderr)
        return 0
    if reason:
        print(f"gantry: {reason}", file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
