"""`gantry db purge` and `purge_images_table`: removing the rows of what was deleted long ago."""

import argparse
import datetime
import time
from collections.abc import Callable

from images import commands, errors, purging

_DAY = 86400
#: Bits of the widest number that Glance takes here.
_MAX_ROWS = (1 << 31) - 1


def add(verbs: commands.Verbs, spelled: str) -> None:
    """The words of the topic, each `spelled` in this way."""

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str, age: int) -> None:
        parser = verbs.add_parser(spelled.format(name), help=text, description=f"{text}.")
        parser.add_argument(
            "--age_in_days",
            type=int,
            default=age,
            metavar="DAYS",
            help="rows that were deleted so long ago (default: %(default)s)",
        )
        parser.add_argument(
            "--max_rows",
            type=int,
            default=100,
            metavar="ROWS",
            help="most rows of each table; -1: all of them (default: %(default)s)",
        )
        parser.set_defaults(run=run)

    verb("purge", _purge, "remove rows that were deleted long ago, all but those of images", 30)
    verb(
        "purge_images_table",
        _purge_images,
        "remove the rows of images that were deleted long ago: their ids can be taken again (OSSN-0075)",
        180,
    )


def _purge(options: argparse.Namespace) -> int:
    done = purging.purge(*_bounds(options))
    for table, count in done.items():
        print(f"{table}: {count} rows removed")
    return 0


def _purge_images(options: argparse.Namespace) -> int:
    removed, stay = purging.purge_images(*_bounds(options))
    print(f"images: {removed} rows removed")
    if stay:
        print(f"images: {stay} rows stay, their data wait to be removed (gantry scrubber)")
    return 0


def _bounds(options: argparse.Namespace) -> tuple[datetime.timedelta, int]:
    """The age and the most rows.

    Raises:
        Invalid: one of them is out of its range.
    """
    if options.age_in_days < 0:
        raise errors.Invalid("Must supply a non-negative value for age.")
    if options.age_in_days >= time.time() / _DAY:
        raise errors.Invalid("Maximal age is count of days since epoch.")
    if options.max_rows < -1:
        raise errors.Invalid("Minimal rows limit is -1.")
    if options.max_rows > _MAX_ROWS:
        raise errors.Invalid(f"Maximal rows limit is {_MAX_ROWS}.")
    return datetime.timedelta(days=options.age_in_days), options.max_rows
