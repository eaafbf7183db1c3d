"""How soon work goes on after kill -9, with the leases of the default."""

from tests.chaos import cluster, rounds
from tests.system.long import kill_ring


def test_work_goes_on_within_a_minute() -> None:
    """With the lease of the default, 30 s; the bar is 60 s."""
    with kill_ring.standing(cluster.Settings(database="postgresql")) as ring:
        outcomes = [ring.strike(victim, "fetch") for victim in kill_ring.VICTIMS]
    assert [one.violations for one in outcomes] == [[]] * len(outcomes)
    assert max(one.recovery for one in outcomes) < rounds.RECOVERY_BAR
    # A lease that another worker got sooner was not the one that is meant.
    taken = {one.plan.victims[0]: one.recovery for one in outcomes}
    assert taken["worker"] > 10
