"""`python -m tests.bench` (`make bench`): Gantry and Glance side by side on this machine.

It starts MariaDB, memcached, Keystone, Glance and Gantry on private ports and a private directory, lets both
services do each work in turn, and prints medians, their ratio, the bar that is demanded and whether it was
met. Nothing of it is left but the rows. `growth` measures Gantry alone on PostgreSQL: up to a million images,
and images of up to 16 GiB.
"""

import argparse
import pathlib
import signal
import sys
import time

from tests import service
from tests.bench import contest, cost, ground, growth, machine, table, works
from tests.bench.rows import Rows
from tests.bench.scene import Scene
from tests.bench.trouble import Trouble

_EXAMPLES = """examples:
  make bench                                       everything, less than half an hour
  make bench OPTIONS=--quick                       a look: 256 MiB, one run
  make bench OPTIONS="--works get,list --runs 5"   only these, more often
  make bench OPTIONS="growth --most-images 100000 --most-gib 4"

works: """


def main(arguments: list[str] | None = None) -> int:
    """Measure; 1 where something could not be measured, whether the bars were met or not."""
    asked = _parser().parse_args(arguments)
    asked.runs = asked.runs or (1 if asked.quick else 3)
    asked.patience = asked.patience if asked.patience is not None else 30 if asked.quick else 300
    asked.mib, asked.seconds = (256, 2) if asked.quick else (1024, 5)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupted)
    try:
        return growth.run(asked) if asked.what == "growth" else _contest(asked)
    except (Trouble, AssertionError) as error:
        print(f"\nbench: {error}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("\nbench: interrupted; everything is stopped", file=sys.stderr, flush=True)
    return 1


def _interrupted(*_: object) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # what stops everything is not interrupted again
    raise KeyboardInterrupt


def _contest(asked: argparse.Namespace) -> int:
    wanted = asked.works
    ground.require(".venv-keystone", *([".venv-glance"] if asked.glance else []))
    about = machine.describe(asked.place, has_peer=asked.glance)
    rows = Rows(asked.rows)
    rows.write(about)
    print(machine.text(about), flush=True)
    began, troubles = time.monotonic(), []
    # Four uploads at once, staged and stored.
    with (
        ground.laid("mariadb", asked.place, asked.mib, files=8) as base,
        ground.unbroken_end(),
    ):
        scene = Scene(base, asked.mib, asked.seconds)
        calm = cost.Calm(asked.patience)
        troubles = contest.Contest(scene, rows, calm, asked.runs).hold(wanted, asked.glance)
    met, missed = table.verdicts(wanted, rows)
    print(f"\n{table.results(wanted, rows)}\n\n{table.bounds(wanted, rows)}\n")
    print(table.noise(wanted, rows))
    print(
        f"{met} bars met, {missed} missed, in {time.monotonic() - began:.0f} s; rows: {rows.file}"
    )
    if asked.mib != 1024:
        print(f"With images of {asked.mib} MiB: the bars are meant for 1024.")
    for trouble in troubles:
        print(f"not measured: {trouble}", file=sys.stderr)
    return 1 if troubles else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_EXAMPLES + "\n       ".join(f"{one.name:16} {one.what}" for one in works.WORKS),
    )
    parser.add_argument("what", nargs="?", choices=["contest", "growth"], default="contest")
    parser.add_argument("--works", type=_works, default=works.WORKS, help="a,b: only these (all)")
    parser.add_argument("--runs", type=int, help="of each work, in turn (3)")
    parser.add_argument("--no-glance", dest="glance", action="store_false", help="ours alone")
    parser.add_argument("--quick", action="store_true", help="256 MiB, one run, 2 s of requests")
    parser.add_argument(
        "--rows", type=pathlib.Path, default=_rows(), help="file (var/bench/<time>.jsonl)"
    )
    parser.add_argument(
        "--place",
        type=pathlib.Path,
        default=pathlib.Path("/var/tmp"),
        help="directory on the disk that is to be measured (/var/tmp)",
    )
    parser.add_argument(
        "--patience",
        type=float,
        help="seconds, in all, to wait for other programs to leave the processors alone (300; quick: 30)",
    )
    parser.add_argument("--most-images", type=int, default=1_000_000, help="growth: up to so many")
    parser.add_argument("--most-gib", type=int, default=16, help="growth: images of up to so many")
    return parser


def _rows() -> pathlib.Path:
    return service.ROOT / "var" / "bench" / f"{time.strftime('%Y%m%d-%H%M%S')}.jsonl"


def _works(names: str) -> tuple[object, ...]:
    try:
        return works.named(names)
    except KeyError as error:
        known = ", ".join(one.name for one in works.WORKS)
        raise argparse.ArgumentTypeError(f"no work {error}; there are {known}") from error


if __name__ == "__main__":
    sys.exit(main())
