"""The tests of the same name on RabbitMQ."""

from tests.system.test_lost_and_found import *  # noqa: F403 - its fixtures too
