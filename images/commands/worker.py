"""`gantry worker`: this host's workers."""

import argparse
import sys

from images import alive, errors, queue


def add(topic: argparse.ArgumentParser) -> None:
    """The words of the topic."""
    verbs = topic.add_subparsers(required=True, metavar="COMMAND")
    one = verbs.add_parser("alive", help="have a worker do a job: 0 if it does, 1 if it is dead")
    one.add_argument("--node", default=queue.node(), help="its name (default: %(default)s)")
    one.add_argument("--wait", type=float, default=10, metavar="SECONDS", help="(default: 10)")
    one.set_defaults(run=_alive)


def _alive(options: argparse.Namespace) -> int:
    try:
        reason = alive.why_not(options.node, options.wait)
    except errors.Unavailable as error:
        # To end a worker, and its imports, would bring neither broker nor database back.
        print(f"gantry: nothing can be said about {options.node}: {error}", file=sys.stderr)
        return 0
    if reason:
        print(f"gantry: {reason}", file=sys.stderr)
    return 1 if reason else 0
