"""The functional tests that the clients bring along, unmodified, against Gantry behind a real Keystone.

They are written for a devstack: a clouds.yaml with its four clouds, two projects with users, and a public
image whose name begins with `cirros`.
"""

import pathlib

import pytest

from tests import keystone
from tests.tempest import cloud, suites

#: Directory of the tests under site-packages, by the name of the section in expected.toml.
_SUITES = {
    "openstacksdk-image": "openstack/tests/functional/image",
    "openstacksdk-cloud": "openstack/tests/functional/cloud",
    "openstackclient": "openstackclient/tests/functional/image/v2",
    "glanceclient": "glanceclient/tests/functional/v2",
}
#: Tests of one class here give their images one name, and find each other's when they run side by side.
_ONE_BY_ONE = ("openstacksdk-image", "openstacksdk-cloud")
#: Of these only what concerns images.
_ONLY = {"openstacksdk-cloud": r"\.test_image\."}


@pytest.mark.parametrize("suite", _SUITES)
def test_client_suite(
    suite: str, devstack: cloud.Cloud, identity: keystone.Keystone, tmp_path: pathlib.Path
) -> None:
    cloud.clouds(identity, tmp_path)
    (tmp_path / "CONTRIBUTING.rst").write_text("One of the tests uploads the file of this name.\n")
    top = suites.packages()
    (tmp_path / ".stestr.conf").write_text(
        f"[DEFAULT]\ntest_path={top / _SUITES[suite]}\ntop_dir={top}\n"
    )
    chosen = [_ONLY.get(suite, ".")]
    if left_out := suites.expected()[suite].get("left_out"):
        chosen += ["--exclude-regex", "|".join(left_out)]
    count = "1" if suite in _ONE_BY_ONE else "2"
    outcome = suites.run(
        suite,
        [str(suites.PROGRAMS / "stestr"), "run", "--concurrency", count, "--subunit", *chosen],
        tmp_path,
        {"OS_GLANCECLIENT_EXEC_DIR": str(suites.PROGRAMS), "OS_TEST_TIMEOUT": "120"},
    )
    suites.report(outcome)
    found = suites.complaints(outcome)
    assert not found, "\n".join([outcome.line, *found])
