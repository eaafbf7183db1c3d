"""What the runner of other people's suites complains about."""

import pytest

from tests.tempest import suites

_SKIPPED = {"Big": "needs nova", "Small.test_off_*": "its option is off"}
_GOOD = {
    "m.Big": "skip",
    "m.Small.test_off_one": "skip",
    "m.Small.test_on": "success",
    "m.Small.test_too": "success",
}


@pytest.fixture(autouse=True)
def documented(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {"mine": {"passed": 2, "skipped": _SKIPPED}, "nowhere": {"Big": "needs nova"}}
    monkeypatch.setattr(suites, "expected", lambda: known)


def outcome(**changes: str) -> suites.Outcome:
    tests = _GOOD | {name.replace("__", "."): status for name, status in changes.items()}
    kept = {name: {"status": status, "why": ""} for name, status in tests.items() if status}
    return suites.Outcome("mine", kept, 1.0)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({}, None),
        ({"m__Small__test_more": "success"}, None),
        ({"m__Small__test_more": "fail"}, "FAILED m.Small.test_more"),
        ({"m__Small__test_more": "uxsuccess"}, "FAILED m.Small.test_more"),
        ({"m__Small__test_more": "skip"}, "SKIPPED, and not listed: m.Small.test_more"),
        ({"m__Small__test_off_one": "success"}, "LISTED as skipped, but ran: Small.test_off_*"),
        ({"m__Big": ""}, "LISTED as skipped, but ran: Big"),
        ({"m__Small__test_too": ""}, "only 1 passed, not 2"),
    ],
)
def test_complaints(changes: dict[str, str], complaint: str | None) -> None:
    found = [line.strip().splitlines()[0] for line in suites.complaints(outcome(**changes))]
    assert found == ([complaint] if complaint else [])


def test_a_skip_of_this_machine_only() -> None:
    lost = outcome(m__Small__test_more="skip")
    assert not suites.complaints(lost, ["Small.test_more"])


@pytest.mark.parametrize(
    ("listed", "complaint"),
    [
        (["m.Big", "m.Small.test_on"], None),
        (["m.Big", "m.Small.test_new"], "PASSED in no set-up: m.Small.test_new"),
        (["m.Small.test_on"], "LISTED as run nowhere: Big"),
    ],
)
def test_tests_that_pass_nowhere(listed: list[str], complaint: str | None) -> None:
    found = suites.nowhere(listed, [outcome()])
    assert found == ([complaint] if complaint else [])
