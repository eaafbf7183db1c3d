"""`gantry db sync` and its like: making and upgrading the tables (contract section 6.1).

Glance upgrades in three phases, so that two of its releases may run at a time. Our migrations only add, so
the first phase does all of it, and the other two find nothing to do.
"""

import argparse
import sys
from collections.abc import Callable

from images import commands, errors, schema

#: What `db check` ends with where the tables are not those of this release; Glance's 4 (migrate) and 5
#: (contract) never come.
_EXPAND_IS_DUE = 3
_UP_TO_DATE = "Database is up to date. No migrations needed."


def add(verbs: commands.Verbs, spelled: str) -> None:
    """The words of the topic, each `spelled` in this way."""

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str) -> None:
        parser = verbs.add_parser(spelled.format(name), help=text, description=text)
        if name in ("sync", "upgrade", "version_control"):
            parser.add_argument("revision", nargs="?", metavar="VERSION", help="(default: ours)")
            parser.add_argument("--version", metavar="VERSION", help="the same")
        if name == "sync":  # what Glance's oldest form takes besides
            parser.add_argument("present", nargs="?", help=argparse.SUPPRESS)
        parser.set_defaults(run=run)

    verb("sync", _sync, "create the tables, or bring them up to this release")
    verb("expand", _expand, "first phase of a rolling upgrade; it does all of it")
    verb("migrate", _migrate, "second phase of a rolling upgrade: nothing is left to do")
    verb("contract", _contract, "last phase of a rolling upgrade: nothing is left to do")
    verb("check", _check, "what is due: exit 0 nothing, 3 expand (4 migrate, 5 contract: never)")
    verb("version", _version, "print the revision that the tables are at")
    verb("upgrade", _upgrade, "the same as sync")
    verb("version_control", _mark, "write down a revision, and change no table")


def _wanted(options: argparse.Namespace) -> str:
    named = options.version or options.revision or "head"
    # Glance's tables have several heads, and this is its word for all.
    return "head" if named == "heads" else str(named)


def _sync(options: argparse.Namespace) -> int:
    if schema.is_current():
        print(_UP_TO_DATE)
        return 0
    try:
        at = schema.sync(_wanted(options))
    except errors.GantryError as error:
        print(f"Failed to sync database: ERROR: {error}", file=sys.stderr)
        return 1
    print(f"Database is synced successfully. It is at revision {at}.")
    return 0


def _upgrade(options: argparse.Namespace) -> int:
    print(f"Upgraded database, current revision(s): {schema.sync(_wanted(options))}")
    return 0


def _expand(_: argparse.Namespace) -> int:
    if schema.is_current():
        print(_UP_TO_DATE)
    else:
        print(f"Expanded database, current revision(s): {schema.sync()}")
    return 0


def _migrate(_: argparse.Namespace) -> int:
    return _later("Data migration did not run. Data migration")


def _contract(_: argparse.Namespace) -> int:
    return _later("Database contraction did not run. Database contraction")


def _later(refused: str) -> int:
    """A phase that comes after the expansion."""
    if schema.is_current():
        print(_UP_TO_DATE)
        return 0
    raise errors.Conflict(
        f"{refused} cannot be run before database expansion. Run database expansion first using "
        '"gantry db expand"'
    )


def _check(_: argparse.Namespace) -> int:
    if schema.is_current():
        print("Database is up to date. No upgrades needed.")
        return 0
    print("Your database is not up to date. Your first step is to run `gantry db expand`.")
    return _EXPAND_IS_DUE


def _version(_: argparse.Namespace) -> int:
    print(schema.revision() or "The database has no tables yet; 'gantry db sync' makes them.")
    return 0


def _mark(options: argparse.Namespace) -> int:
    wanted, at = options.version or options.revision, schema.revision()
    if at and not wanted:
        # To say again that it is at the oldest one would have the next sync break.
        print(f"The database is under migration control already, at revision: {at}")
        return 0
    marked = schema.mark(wanted or schema.FIRST)
    print(f"Placed database under migration control at revision: {marked}")
    return 0
