"""`gantry db adopt`: take over the database of a Glance that was stopped (docs/migrating.md)."""

import argparse

from images import adopting, commands, schema

_ABOUT = """\
Take over the database that a Glance (2024.1 or later) has made and filled. Stop that Glance first.

Its tables stay as they are, and so does its own version table: Glance can be started on the database again at
any time. Beside them come tables and indexes named gantry_... Imports that Glance has left unfinished are
handed to the workers; those that cannot be repeated end as failed, and their images are queued again.

It may be run again, and should be after each time that Glance has run on the database meanwhile.
"""


def add(verbs: commands.Verbs) -> None:
    """Add the command to those of `gantry db`."""
    parser = verbs.add_parser(
        "adopt",
        help="take over the database of a Glance",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=_run)


def _run(_: argparse.Namespace) -> int:
    print(f"Glance's database is at revision {schema.glance_revision() or 'none'}.")
    print(f"What is Gantry's in it is at revision {schema.adopt()}.")
    for what, count in adopting.settle().items():
        print(f"{what}: {count}")
    print("Start Gantry's API, workers and beat. `gantry db adopt` may be run again at any time.")
    return 0
