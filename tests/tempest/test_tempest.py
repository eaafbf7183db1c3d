"""Tempest's image tests and those of its glance plugin, unmodified, against Gantry behind a real Keystone."""

import pathlib

import pytest

from tests import keystone
from tests.tempest import cloud, disk_images, setups, suites

_CONCURRENCY = "2"
#: What came of the set-ups of this run.
_OUTCOMES: list[suites.Outcome] = []


@pytest.mark.parametrize("setup", setups.ALL, ids=lambda setup: setup.name)
def test_tempest(setup: setups.SetUp, identity: keystone.Keystone, tmp_path: pathlib.Path) -> None:
    state, room = tmp_path / "s", tmp_path / "tempest"
    state.mkdir()
    if setup is setups.FORMATS:
        manifest = disk_images.make(tmp_path / "formats")
        setup = setups.with_manifest(setup, manifest)
    options = setup.options(state)
    with cloud.running(identity, state, options, twice=setup.twice, caches=setup.caches) as place:
        _workspace(room, setups.conf(setup, place, room))
        words = ["run", "--regex", setup.regex]
        command = [str(suites.PROGRAMS / "tempest"), *words, "--concurrency", _CONCURRENCY]
        outcome = suites.run(setup.name, [*command, "--subunit"], room)
    suites.report(outcome)
    _OUTCOMES.append(outcome)
    found = suites.complaints(outcome, _not_here(setup))
    assert not found, "\n".join([outcome.line, *found])


def test_every_test_passed_somewhere(tmp_path: pathlib.Path) -> None:
    """Over the set-ups all of Tempest's image tests run; expected.toml says of the others why not."""
    if len(_OUTCOMES) < len(setups.ALL):
        pytest.skip("not all of the set-ups were run")
    _workspace(tmp_path, "")
    words = ["run", "--list-tests", "--regex", setups.ALL_TESTS]
    listed = suites.listed([str(suites.PROGRAMS / "tempest"), *words], tmp_path)
    found = suites.nowhere(listed, _OUTCOMES)
    assert not found, "\n".join(found)


def _workspace(room: pathlib.Path, conf: str) -> None:
    """What `tempest init` makes, without its defaults."""
    (room / "etc").mkdir(parents=True)
    (room / "etc/tempest.conf").write_text(conf)
    top = suites.packages()
    (room / ".stestr.conf").write_text(
        f"[DEFAULT]\ntest_path={top}/tempest/test_discover\ntop_dir={top}\n"
        r"group_regex=([^\.]*\.)*" + "\n"
    )


def _not_here(setup: setups.SetUp) -> list[str]:
    """Skips that only this machine causes: one test needs an address that is not loopback."""
    if setup is setups.FULL and not cloud.own_address():
        return ["HashCalculationRemoteDeletionTest.test_hash_calculation_cancelled"]
    return []
