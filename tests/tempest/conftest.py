"""The cloud's identity service, one for all suites, and a cloud like devstack's."""

from collections.abc import Iterator

import pytest

from tests import keystone
from tests.tempest import cloud, setups, suites


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[keystone.Keystone]:
    """A Keystone; the suites make their own projects and users in it."""
    suites.require("tempest", "stestr", "glance", "openstack", "python")
    with keystone.running(tmp_path_factory.mktemp("keystone")) as running:
        yield running


@pytest.fixture(scope="module")
def devstack(
    identity: keystone.Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[cloud.Cloud]:
    """A cloud with what devstack has in it."""
    for name in ("demo", "alt_demo"):
        identity.user(name, name, "member", "reader")
    state = tmp_path_factory.mktemp("s")
    options = setups.DEFAULT.options(state)
    with cloud.running(identity, state, options) as place:
        cloud.clouds(identity, state)
        disk = ["--disk-format", "qcow2", "--file", str(state / "web/small.qcow2")]
        cloud.openstack(state, "image", "create", "--public", *disk, "cirros-1.0-x86_64-uec")
        yield place
