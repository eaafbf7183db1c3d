"""The WSGI application, as the functional tests have it, and what no attack may reach."""

from collections.abc import Iterator

import pytest

from tests import driver_libraries
from tests.functional.conftest import api, caller, command, execute, several_stores
from tests.security import canary

__all__ = ["api", "bird", "caller", "command", "driver_libraries", "execute", "several_stores"]


@pytest.fixture
def bird() -> Iterator[canary.Canary]:
    """A canary on loopback."""
    with canary.sitting() as one:
        yield one
