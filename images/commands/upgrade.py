"""`gantry upgrade check`: whether this release can run on the configuration and the database here."""

import argparse
import sys
import textwrap
from collections.abc import Callable

from images import config, db, errors, policy, schema, staging

#: A check's result: how bad it is, which is the exit status, and what to do about it.
Result = tuple[int, str]

_GOOD: Result = (0, "")
_WARNING, _FAILURE = 1, 2
_WORDS = {0: "Success", 1: "Warning", 2: "Failure"}


#: What the topic says of itself.
TEXT = "is this release ready to run on what is here?"


def add(topic: argparse.ArgumentParser) -> None:
    """The words of the topic."""
    verbs = topic.add_subparsers(required=True, metavar="COMMAND")
    text = "look at the configuration and the database: exit 0 all is well, 1 warnings, 2 failures"
    check = verbs.add_parser("check", help=text, description=text)
    check.set_defaults(run=_check)


def _check(_: argparse.Namespace) -> int:
    worst = 0
    print("Upgrade Check Results")
    for name, check in _CHECKS.items():
        severity, details = check()
        print(f"\nCheck: {name}\nResult: {_WORDS[severity]}")
        if details:
            print(textwrap.fill(f"Details: {details}", 78, subsequent_indent="  "))
        worst = max(worst, severity)
    sys.stdout.flush()
    return worst


def _tables() -> Result:
    try:
        if schema.is_current():
            return _GOOD
        at = schema.revision()
    except errors.GantryError as error:
        return _FAILURE, str(error)
    finally:
        db.dispose()
    found = f"The tables are at revision {at}" if at else "There are no tables of this service"
    return _FAILURE, f"{found}; run gantry db sync."


def _staging() -> Result:
    try:
        staging.check()
    except errors.GantryError as error:
        return _FAILURE, str(error)
    return _GOOD


def _policies() -> Result:
    try:
        policy.load()
    except SystemExit as error:
        return _FAILURE, str(error)
    if config.CONF.oslo_policy.policy_file.endswith(".json"):
        return (
            _WARNING,
            "[oslo_policy] policy_file is JSON, which oslo.policy is about to give up; use YAML.",
        )
    return _GOOD


def _owner() -> Result:
    if config.CONF.owner_is_tenant:
        return _GOOD
    return (
        _WARNING,
        "owner_is_tenant = false goes with the next major release: images belong to users.",
    )


_CHECKS: dict[str, Callable[[], Result]] = {
    "Tables of this release": _tables,
    "Staging can be written to": _staging,
    "Policy rules": _policies,
    "Config option owner_is_tenant": _owner,
}
