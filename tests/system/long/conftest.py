"""The tests of this folder that are imported from the one above run on RabbitMQ."""

import pytest


@pytest.fixture
def bus() -> str:
    """RabbitMQ in place of Redis."""
    return "rabbitmq"
