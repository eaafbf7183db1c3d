"""No advisory is forgotten: each has a test, and one that shows its canary singing where nobody defends.

Tests are found by their names, `test_ossa_2014_012_...`; one of several advisories names each. A test whose
name has `sings` in it shows that the attack goes well where nobody defends.
"""

import ast
import pathlib
import re

import pytest

from tests.security import sources

#: The advisories since 2012 that touch images: Glance's own, and those of others that open strangers' images.
ADVISORIES = [
    *("OSSA-2013-029", "OSSA-2014-012", "OSSA-2014-028", "OSSA-2015-003", "OSSA-2015-004"),
    *("OSSA-2015-013", "OSSA-2015-014", "OSSA-2015-019", "OSSA-2015-020", "OSSA-2016-006"),
    *("OSSA-2016-012", "OSSA-2023-002", "OSSA-2024-001", "OSSA-2024-002", "OSSA-2024-003"),
    *("OSSA-2024-004", "OSSA-2025-001", "OSSA-2026-004"),
    *("OSSN-0048", "OSSN-0057", "OSSN-0061", "OSSN-0065", "OSSN-0075", "OSSN-0076", "OSSN-0078"),
    "OSSN-0105",
]
_ROW = re.compile(r"^\| (OSS[AN]-[0-9-]+) \| .+ \| `(tests/\S+)` \|$", re.MULTILINE)


def _tests_of(file: pathlib.Path) -> list[str]:
    names = [node.name for node in ast.parse(file.read_text()).body if hasattr(node, "name")]
    return [name for name in names if name.startswith("test_")]


@pytest.fixture(scope="module")
def tests() -> dict[str, list[str]]:
    """The names of the tests of each file of this ring."""
    files = (sources.ROOT / "tests/security").glob("test_*.py")
    return {str(file.relative_to(sources.ROOT)): _tests_of(file) for file in files}


@pytest.fixture(scope="module")
def table() -> dict[str, str]:
    """The file that SECURITY.md names for each advisory."""
    return dict(_ROW.findall((sources.ROOT / "SECURITY.md").read_text()))


@pytest.mark.parametrize("advisory", ADVISORIES)
def test_each_has_its_canary(
    tests: dict[str, list[str]], table: dict[str, str], advisory: str
) -> None:
    """In the file that the table names."""
    number = advisory.lower().replace("-", "_")
    named = [name for name in tests[table[advisory]] if number in name]
    singing = [name for name in named if "_sings" in name]
    assert singing, "no test shows that it works where nobody defends"
    assert len(named) > len(singing), "no test shows that it does not work"


def test_the_table_has_these_and_no_others(table: dict[str, str]) -> None:
    assert sorted(table) == sorted(ADVISORIES)


def test_no_test_bears_a_number_that_is_not_listed(tests: dict[str, list[str]]) -> None:
    """A slip in a name, or an advisory that the table lacks."""
    known = {advisory.lower().replace("-", "_") for advisory in ADVISORIES}
    pattern = re.compile(r"ossa_\d{4}_\d{3}|ossn_\d{4}")
    found = {
        number for names in tests.values() for name in names for number in pattern.findall(name)
    }
    assert found == known
