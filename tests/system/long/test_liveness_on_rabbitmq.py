"""The tests of the same name on RabbitMQ."""

from tests.system.test_liveness import *  # noqa: F403 - its fixtures too
