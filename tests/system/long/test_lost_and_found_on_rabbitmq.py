"""The tests of the same name on RabbitMQ."""

import pytest

from tests.system.test_lost_and_found import *  # noqa: F403 - its fixtures too


@pytest.fixture
def bus() -> str:
    """RabbitMQ in place of Redis."""
    return "rabbitmq"
