"""Projects take turns: few bells of each in the broker, none lost, no more imports at a time than allowed."""

import datetime
import time
from concurrent import futures

import pytest

from images import context, db, imports, leases, models, statuses, tasks, turns
from tests.conftest import Configure

AHEAD = tasks.AHEAD

pytestmark = pytest.mark.usefixtures("database")


def ask(owner: str, count: int = 1, queue: str = "fetch") -> list[str]:
    """New tasks of a project, each in a transaction of its own; their ids."""
    asker = context.Context(owner, owner, owner, ("member",), is_admin=False, request_id="r")
    made = []
    for number in range(count):
        with db.transaction() as session:
            document = {"import_req": {"method": {"name": "web-download"}}, "backend": [None]}
            task = tasks.add(session, asker, "api_image_import", document, queue=queue)
            # MariaDB's columns, which are Glance's, know whole seconds only.
            task.created_at += datetime.timedelta(seconds=number)
            made.append(task.id)
    return made


def runs(task_ids: list[str]) -> list[models.TaskRun]:
    with db.reading() as session:
        return [session.get_one(models.TaskRun, one) for one in task_ids]


def rung(task_ids: list[str]) -> list[bool]:
    """For which of them the bell was rung."""
    return [run.expires != tasks.WAITS for run in runs(task_ids)]


def begin(task_id: str) -> imports.Plan:
    plan = imports.begin(task_id, "worker")
    assert plan is not None
    return plan


def end(plan: imports.Plan) -> None:
    with db.transaction() as session:
        leases.release(session, plan.lease)
        statuses.end_task(session, plan.lease.task_id, "success", "")


def age(task_ids: list[str], seconds: float) -> None:
    """Their bells were rung so long ago."""
    with db.transaction() as session:
        for one in task_ids:
            session.get_one(models.TaskRun, one).expires = time.time() - seconds


def test_the_first_ones_are_rung_for() -> None:
    """Of each project, and in each queue."""
    mine, yours = ask("mine", AHEAD + 2), ask("yours", 1)
    assert rung(mine) == [True] * AHEAD + [False, False]
    assert rung(yours) == [True]
    assert rung(ask("mine", 1, "convert")) == [True]


def test_who_begins_lets_the_next_one_in() -> None:
    mine = ask("mine", AHEAD + 2)
    assert turns.next_up("mine") == []
    begin(mine[0])
    assert turns.next_up("yours") == []
    assert turns.next_up("mine") == [(mine[AHEAD], "fetch")]
    assert turns.next_up("mine") == []
    assert rung(mine[1:]) == [True] * AHEAD + [False]


def test_the_sweep_calls_everybody_s_turn() -> None:
    mine, yours = ask("mine", AHEAD + 1), ask("yours", AHEAD + 1)
    for one in (mine, yours):
        begin(one[0])
    assert sorted(turns.next_up()) == sorted([(mine[AHEAD], "fetch"), (yours[AHEAD], "fetch")])


def test_two_that_call_at_the_same_time_ring_once() -> None:
    mine = ask("mine", AHEAD + 4)
    begin(mine[0])
    begin(mine[1])
    with futures.ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(turns.next_up, "mine") for _ in range(4)]
        bells = [bell for call in calls for bell in call.result()]
    assert sorted(bells) == sorted([(mine[AHEAD], "fetch"), (mine[AHEAD + 1], "fetch")])


def test_a_project_s_limit(configure: Configure) -> None:
    """What comes too early waits for its turn, which the end of another one calls."""
    configure("imports_per_project = 2")
    mine = ask("mine", 4)
    first, _ = begin(mine[0]), begin(mine[1])
    assert turns.next_up("mine") == []
    for one in mine[2:]:
        assert imports.begin(one, "worker") is None
    assert rung(mine[2:]) == [False, False]
    begin(ask("yours")[0])
    end(first)
    assert turns.next_up("mine") == [(mine[2], "fetch")]
    begin(mine[2])
    assert imports.begin(mine[3], "worker") is None


def test_the_limit_holds_under_concurrency(configure: Configure) -> None:
    configure("imports_per_project = 3")
    mine = ask("mine", 12)
    with futures.ThreadPoolExecutor(6) as pool:
        begun = list(pool.map(lambda one: imports.begin(one, "worker"), mine))
    assert sum(plan is not None for plan in begun) == 3


def test_bells_that_are_lost() -> None:
    """A queue that is merely long is left alone."""
    mine = ask("mine", 2)
    assert turns.lost_bells(lambda _: 0) == []
    age(mine, 60)
    assert turns.lost_bells(lambda _: 2) == []
    assert turns.lost_bells(lambda _: None) == []
    assert turns.lost_bells(lambda _: 1) == [(one, "fetch") for one in mine]
    assert turns.lost_bells(lambda _: 1) == []


def test_a_long_queue_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a host that is gone, say, with more bells than one sweep looks at."""
    monkeypatch.setattr(turns, "_AT_ONCE", 2)
    long, other = ask("mine", 3, "convert@gone"), ask("mine", 1)
    age(long, 120)
    age(other, 60)
    assert turns.lost_bells(lambda queue: 0 if queue == "fetch" else 3) == [(other[0], "fetch")]


def test_the_tasks_of_the_dead_are_rung_for_at_once() -> None:
    """However long the queue is; and once."""
    mine = ask("mine", 2)
    begin(mine[0])
    age(mine[:1], 1)
    assert leases.declare_dead() == 1
    assert turns.lost_bells(lambda _: 9) == [(mine[0], "fetch")]
    assert turns.lost_bells(lambda _: 9) == []


def test_what_has_ended_is_rung_for_no_more() -> None:
    mine = ask("mine", AHEAD + 1)
    end(begin(mine[0]))
    age(mine[:1], 60)
    assert turns.lost_bells(lambda _: 0) == []
    assert turns.next_up() == [(mine[AHEAD], "fetch")]
