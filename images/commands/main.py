"""`gantry`: the one command; each subcommand is a function of its own."""

import argparse
import sys
from collections.abc import Callable, Sequence

from images import errors, schema, service

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
    return parser


def _db_sync(_: argparse.Namespace) -> int:
    print(f"The database is at revision {schema.sync()}.")
    return 0


def _db_version(_: argparse.Namespace) -> int:
    at = schema.revision()
    print(at or "The database has no tables yet; 'gantry db sync' makes them.")
    return 0 if at else 1


if __name__ == "__main__":
    sys.exit(main())
