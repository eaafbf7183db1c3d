"""The tests of the same name on RabbitMQ."""

import pytest

from tests.system.long.test_kill_matrix import *  # noqa: F403 - its fixtures too


@pytest.fixture(scope="module")
def ring_bus() -> str:
    """RabbitMQ in place of Redis."""
    return "rabbitmq"
