"""`python -m tests.chaos`: rounds at random, until one is not well (`make chaos ROUNDS=1000`)."""

import argparse
import contextlib
import pathlib
import secrets
import shutil
import sys
import tempfile
import time

from tests.chaos import backends, cluster, material, plans, report, rounds, source


def main(arguments: list[str] | None = None) -> int:
    """Run the rounds; 1 where something was violated."""
    asked = _parser().parse_args(arguments)
    state = pathlib.Path(tempfile.mkdtemp(prefix="chaos-", dir=asked.state))
    print(f"seed {asked.seed}, {asked.rounds} rounds, {asked.broker}, {asked.database}", flush=True)
    summary = report.Summary()
    try:
        _run(asked, state, summary)
    except KeyboardInterrupt:
        print("interrupted")
    print(summary.table(), flush=True)
    if summary.is_good:
        shutil.rmtree(state)
        return 0
    print(f"\nNot well. What is left is in {state}; again: {_again(asked, summary)}")
    return 1


def _run(asked: argparse.Namespace, state: pathlib.Path, summary: report.Summary) -> None:
    settings = cluster.Settings(broker=asked.broker, database=asked.database, quick=asked.quick)
    with contextlib.ExitStack() as stack:
        whole = stack.enter_context(cluster.running(settings, state))
        shelf = material.make(state / "material", material.Sizes())
        url = stack.enter_context(source.serving(shelf.directory, state / "source.log"))
        arena = rounds.Arena(whole, shelf, url, seed=asked.seed, goes_on=asked.goes_on)
        for number in _numbers(asked):
            plan = plans.draw(asked.seed, number, _victims(asked, whole))
            outcome = arena.run(plan)
            summary.add(outcome)
            print(f"{time.strftime('%H:%M:%S')} {report.line(outcome)}", flush=True)
            if not (outcome.is_good or asked.goes_on):
                break


def _numbers(asked: argparse.Namespace) -> range:
    return range(asked.first, asked.first + asked.rounds)


def _victims(asked: argparse.Namespace, whole: cluster.Cluster) -> tuple[str, ...]:
    """Those that were asked for, and that there are."""
    wanted = asked.victims.split(",") if asked.victims else plans.VICTIMS
    return tuple(one for one in wanted if one != "database" or whole.database.command)


def _again(asked: argparse.Namespace, summary: report.Summary) -> str:
    bad = next(one for one in summary.outcomes if not one.is_good).plan.number
    return (
        f"python -m tests.chaos --seed {asked.seed} --first {bad} --rounds 1 --broker {asked.broker}"
        f" --database {asked.database}{' --quick' if asked.quick else ''}"
        f"{f' --victims {asked.victims}' if asked.victims else ''}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=30, help="how many (30)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 31))
    parser.add_argument("--first", type=int, default=1, help="number of the first round (1)")
    parser.add_argument("--broker", choices=backends.BROKERS, default="redis")
    parser.add_argument("--database", choices=backends.DATABASES, default="postgresql")
    parser.add_argument("--quick", action="store_true", help="leases of 3 s in place of 30 s")
    parser.add_argument("--victims", help=f"of {','.join(plans.VICTIMS)} (all)")
    parser.add_argument("--goes-on", action="store_true", help="go on after a violation")
    parser.add_argument("--state", default="/tmp", help="directory of what is kept (/tmp)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
