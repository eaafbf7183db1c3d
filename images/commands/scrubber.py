"""`gantry scrubber`: removing the data of deleted images, or undoing a deletion (contract section 5.5)."""

import argparse
import logging
import signal
import sys
import threading
from typing import Any

from images import config, errors, restoring, upkeep

LOG = logging.getLogger(__name__)

#: What the topic says of itself.
TEXT: dict[str, Any] = {
    "help": "remove the data of deleted images (delayed_delete), or restore one",
    "description": "Removes the data of the images that were deleted with delayed_delete = true at least "
    "scrub_time seconds ago. The workers' upkeep does the same every upkeep_seconds.",
}


def add(topic: argparse.ArgumentParser) -> None:
    """The words of the topic."""
    topic.add_argument(
        "-D", "--daemon", action="store_true", help="one pass each wakeup_time seconds"
    )
    topic.add_argument(
        "--restore",
        metavar="IMAGE_ID",
        help="make an image active again that is pending_delete, with its data, properties and tags; not "
        "while a scrubber runs",
    )
    topic.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    try:
        if options.restore is None:
            _scrub(is_daemon=options.daemon or config.CONF.daemon)
        elif options.daemon:
            raise errors.Invalid(
                "The restore and daemon options should not be set together. Please use either of them in one "
                "request."
            )
        else:
            restoring.restore(options.restore)
            print(f"Image {options.restore} is active again.")
    except errors.GantryError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    return 0


def _scrub(*, is_daemon: bool) -> None:
    over = threading.Event()
    if is_daemon:
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, lambda *_: over.set())
    with restoring.scrubbing():
        while True:
            try:
                _pass()
            except errors.GantryError as error:
                if not is_daemon:
                    raise
                LOG.warning("The next pass tries again: %s", error)
            if not is_daemon or over.wait(config.CONF.wakeup_time):
                return


def _pass() -> None:
    """All that is due; images whose stores do not let go are left to the next pass."""
    count = upkeep.scrub_all()
    upkeep.finish_deletions()
    print(f"{count} images scrubbed", flush=True)
