"""The tests of the same name on RabbitMQ."""

from tests.system.test_intake import *  # noqa: F403 - its fixtures too
