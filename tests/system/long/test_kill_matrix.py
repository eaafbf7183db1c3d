"""kill -9 of everything in every step of an import; `tests.chaos` says what is demanded.

The leases are short, so that all of it fits into minutes; test_recovery.py has those of the default.
"""

from collections.abc import Iterator

import pytest

from tests.chaos import cluster
from tests.system.long import kill_ring


@pytest.fixture(scope="module")
def ring(ring_bus: str) -> Iterator[kill_ring.Ring]:
    """Short leases, on PostgreSQL."""
    settings = cluster.Settings(broker=ring_bus, database="postgresql", quick=True)
    with kill_ring.standing(settings) as made:
        yield made


@pytest.mark.parametrize("step", kill_ring.STEPS)
@pytest.mark.parametrize("victim", kill_ring.VICTIMS)
def test_kill(ring: kill_ring.Ring, victim: str, step: str) -> None:
    assert ring.strike(victim, step).violations == []
