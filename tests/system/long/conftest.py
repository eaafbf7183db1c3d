"""The tests of this folder run on Redis, unless they say otherwise."""

import pytest


@pytest.fixture
def bus() -> str:
    """The broker that a test's service has."""
    return "redis"


@pytest.fixture(scope="module")
def ring_bus() -> str:
    """The same for the rounds of the kill matrix, which share a service."""
    return "redis"
