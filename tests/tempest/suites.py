"""Runs other people's suites, reads what came of them, and holds it against what is documented.

`expected.toml` says for each set-up how many tests have to pass and which ones may be skipped, and why. A
skip that it does not name is a failure, and so is one that it names and that ran.
"""

import fnmatch
import functools
import json
import os
import pathlib
import subprocess
import time
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests import service

#: Where `deploy/setup.sh clients` puts Tempest and the clients.
PROGRAMS = service.ROOT / ".venv-clients/bin"
#: Where `deploy/setup.sh keystone` puts Keystone.
KEYSTONE = service.ROOT / ".venv-keystone"
#: Where the reports go: counts, names and reasons of each set-up, as text and as JSON.
REPORTS = service.ROOT / "var/compat"
#: Seconds after which a suite has hung.
_LIMIT = 1500
_EXPECTED = pathlib.Path(__file__).with_name("expected.toml")
_READER = pathlib.Path(__file__).with_name("read_subunit.py")


@functools.cache
def expected() -> dict[str, Any]:
    """What is documented of each set-up, and of what none runs."""
    return tomllib.loads(_EXPECTED.read_text())


@functools.cache
def packages() -> pathlib.Path:
    """Where the suites' modules are."""
    return next(PROGRAMS.parent.glob("lib/python3*/site-packages"))


def require(*programs: str) -> None:
    """Fail, in words, where the suites or Keystone are not installed."""
    missing = [f".venv-clients/bin/{name}" for name in programs if not (PROGRAMS / name).exists()]
    if not (KEYSTONE / "bin/uwsgi").exists():
        missing.append(".venv-keystone")
    if missing:
        pytest.fail(
            f"not installed: {', '.join(missing)}. Run `deploy/setup.sh clients` and "
            "`deploy/setup.sh keystone`, or `make compat`, which does",
            pytrace=False,
        )


@dataclass(frozen=True)
class Outcome:
    """What came of one suite in one set-up: {test: {status, why, seconds}}."""

    name: str
    tests: Mapping[str, Mapping[str, Any]]
    seconds: float
    #: The end of its standard error.
    said: str = ""

    def of(self, *statuses: str) -> dict[str, str]:
        """The tests that ended so, with the reason that they gave."""
        return {
            name: test["why"]
            for name, test in sorted(self.tests.items())
            if test["status"] in statuses
        }

    @property
    def passed(self) -> dict[str, str]:
        """The tests that passed."""
        return self.of("success", "xfail")

    @property
    def failed(self) -> dict[str, str]:
        """The tests that failed, each with the end of its traceback."""
        return self.of("fail", "uxsuccess", "unknown")

    @property
    def skipped(self) -> dict[str, str]:
        """The tests, or whole classes, that were skipped, each with the suite's own reason."""
        return self.of("skip")

    @property
    def line(self) -> str:
        """The counts in one line."""
        counts = (
            f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"
        )
        return f"{self.name}: {counts} in {self.seconds:.0f} s"


def listed(command: Sequence[str], room: pathlib.Path) -> list[str]:
    """The names of the tests that a command prints, one a line, without their ids and attributes."""

    def ask(*words: str) -> bytes:
        done = subprocess.run(
            words, cwd=room, env=_environment(room), capture_output=True, check=True
        )
        return done.stdout

    ask(str(PROGRAMS / "stestr"), "init")
    lines = ask(*command).decode().splitlines()
    return [line.partition("[")[0] for line in lines if ".test_" in line]


def _environment(room: pathlib.Path) -> dict[str, str]:
    """Nothing of this machine's own cloud, and a home of their own."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("OS_")}
    path = f"{PROGRAMS}:{os.environ['PATH']}"
    own = {"HOME": str(room), "PATH": path, "COLUMNS": "400", "PYTHONWARNINGS": "ignore"}
    return kept | own


def run(
    name: str,
    command: Sequence[str],
    room: pathlib.Path,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run a suite that writes a subunit stream on standard output, in `room`, which keeps its output."""
    kept = _environment(room) | dict(environment or {})
    begun = time.monotonic()
    with (room / "run.subunit").open("wb") as stream, (room / "run.log").open("wb") as log:
        subprocess.run(
            command, cwd=room, env=kept, stdout=stream, stderr=log, timeout=_LIMIT, check=False
        )
    seconds = time.monotonic() - begun
    with (room / "run.subunit").open("rb") as stream:
        read = [str(PROGRAMS / "python"), str(_READER)]
        tests = subprocess.run(read, stdin=stream, env=kept, capture_output=True, check=True)
    said = (room / "run.log").read_text(errors="replace")[-2000:]
    return Outcome(name, json.loads(tests.stdout), seconds, said)


def complaints(outcome: Outcome, also_skipped: Iterable[str] = ()) -> list[str]:
    """What is not as documented: failures, skips that are not named, named ones that ran, too few passed."""
    known = expected()[outcome.name]
    patterns = [*known.get("skipped", {}), *also_skipped]
    found = [f"FAILED {name}\n{why}" for name, why in outcome.failed.items()]
    found += [
        f"SKIPPED, and not listed: {name}\n    {why}"
        for name, why in outcome.skipped.items()
        if not any(_names(pattern, name) for pattern in patterns)
    ]
    found += [
        f"LISTED as skipped, but ran: {pattern}"
        for pattern in patterns
        if not any(_names(pattern, name) for name in outcome.skipped)
    ]
    if len(outcome.passed) < known["passed"]:
        found.append(f"only {len(outcome.passed)} passed, not {known['passed']}\n{outcome.said}")
    return found


def _names(pattern: str, name: str) -> bool:
    """Whether a pattern, `Class` or `Class.test` with wildcards, means a test's full name."""
    return fnmatch.fnmatchcase(name, f"*.{pattern}")


def report(outcome: Outcome) -> None:
    """Print the counts, and keep them with names and reasons in `REPORTS`."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    known = expected()[outcome.name]
    lines = [outcome.line, ""]
    for name, why in outcome.failed.items():
        lines += [f"FAILED {name}", *(f"    {line}" for line in why.splitlines())]
    for name, why in outcome.skipped.items():
        reasons = [
            reason for pattern, reason in known.get("skipped", {}).items() if _names(pattern, name)
        ]
        lines += [f"SKIPPED {name}", f"    {'; '.join(reasons) or 'not listed'} ({why})"]
    print(f"\n{outcome.line}")
    (REPORTS / f"{outcome.name}.txt").write_text("\n".join(lines) + "\n")
    (REPORTS / f"{outcome.name}.json").write_text(
        json.dumps(
            {
                "name": outcome.name,
                "passed": len(outcome.passed),
                "failed": len(outcome.failed),
                "skipped": len(outcome.skipped),
                "seconds": round(outcome.seconds),
                "tests": dict(sorted(outcome.tests.items())),
            },
            indent=1,
        )
        + "\n"
    )


def nowhere(names: Iterable[str], outcomes: Iterable[Outcome]) -> list[str]:
    """What is not as documented: tests that passed in none of the set-ups, and ones said not to that did."""
    passed = {name.partition("(")[0] for outcome in outcomes for name in outcome.passed}
    missed = set(names) - passed
    patterns = expected()["nowhere"]
    found = [
        f"PASSED in no set-up: {name}"
        for name in sorted(missed)
        if not any(_names(pattern, name) for pattern in patterns)
    ]
    return found + [
        f"LISTED as run nowhere: {pattern}"
        for pattern in patterns
        if not any(_names(pattern, name) for name in missed)
    ]
