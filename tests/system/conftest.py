"""A whole service for the tests of this ring: real processes and signals."""

from collections.abc import Iterator

import pytest

from tests import service


@pytest.fixture(scope="module", params=["uwsgi", "gunicorn"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[service.Service]:
    """API, worker and beat under one of the two web servers; shared by the tests of a module."""
    state = tmp_path_factory.mktemp("gantry")
    options = "[gantry]\nlease_seconds = 3\nheartbeat_seconds = 0.2\nsweep_seconds = 1\n"
    options += "retry_pause = 0.1\n"
    names = ("api", "worker", "beat")
    with service.running(state, *names, server=request.param, options=options) as whole:
        yield whole


@pytest.fixture
def bus() -> str:
    """The broker that a test's service has; `long` runs the same tests on RabbitMQ."""
    return "redis"
