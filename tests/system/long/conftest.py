"""The tests of this folder run on Redis, unless they say otherwise."""

import pytest


@pytest.fixture
def bus() -> str:
    """The broker that a test's service has."""
    return "redis"
