"""A task is in one worker's hands at a time, and what an earlier one writes does not count."""

import threading
import time
import types

import pytest

from images import db, errors, leases, models, turns
from tests.conftest import Configure

pytestmark = pytest.mark.usefixtures("database")


def new_task(status: str = "pending", *, expires: float = 0) -> str:
    """A task that waits."""
    with db.transaction() as session:
        task = models.Task(type="api_image_import", status=status, owner="p")
        task.info = models.TaskInfo(input={})
        task.run = models.TaskRun(queue="convert", expires=expires)
        session.add(task)
    return task.id


def take(task_id: str, worker: str) -> leases.Lease | None:
    """Try to take it."""
    with db.transaction() as session:
        return leases.take(session, task_id, worker)


def lapse(task_id: str) -> None:
    """The lease's time is over."""
    with db.transaction() as session:
        session.get_one(models.TaskRun, task_id).expires = time.time() - 1


def test_one_worker_gets_it() -> None:
    """However often the bell rings."""
    task_id = new_task()
    assert take(task_id, "first") == leases.Lease(task_id, 1, "first")
    assert take(task_id, "second") is None
    assert take(task_id, "first") is None


@pytest.mark.parametrize("status", ["success", "failure"])
def test_a_task_that_has_ended_is_nobody_s(status: str) -> None:
    """A late job finds nothing to do."""
    assert take(new_task(status), "first") is None


def test_a_lapsed_lease_goes_to_the_next_one() -> None:
    """The number goes up, and the first worker cannot write any more."""
    task_id = new_task()
    first = take(task_id, "first")
    assert first
    lapse(task_id)
    second = take(task_id, "second")
    assert second == leases.Lease(task_id, 2, "second")
    assert not leases.renew(first, leases.Progress("fetch", 1, 2))
    with pytest.raises(errors.Abandoned), db.transaction() as session:
        leases.release(session, first)
    with db.reading() as session:
        run = session.get_one(models.TaskRun, task_id)
        assert (run.worker, run.attempt, run.step) == ("second", 2, None)


def test_who_dies_is_counted_and_who_hands_back_is_not() -> None:
    task_id = new_task()
    first = take(task_id, "first")
    assert first
    assert leases.hand_back(first) == "convert"
    assert leases.hand_back(first) is None
    assert take(task_id, "second")
    lapse(task_id)
    assert leases.declare_dead() == 1
    assert leases.declare_dead() == 0
    assert take(task_id, "third")
    lapse(task_id)
    assert take(task_id, "fourth") == leases.Lease(task_id, 4, "fourth")
    with db.reading() as session:
        assert session.get_one(models.TaskRun, task_id).deaths == 2


def test_who_renews_lives_whatever_the_clock_of_the_sweep_says(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep's is ahead by more than a lease; a worker that does not renew is dead all the same."""
    configure("heartbeat_seconds = 0.5")
    lives, dead = take(new_task(), "lives"), take(new_task(), "dead")
    assert lives
    assert dead
    sweeper, over = threading.current_thread(), threading.Event()

    def ahead() -> float:
        return time.time() + (100 if threading.current_thread() is sweeper else 0)

    def beat() -> None:
        while not over.wait(0.05):
            leases.renew(lives, None)

    monkeypatch.setattr(leases, "time", types.SimpleNamespace(time=ahead, sleep=time.sleep))
    worker = threading.Thread(target=beat)
    worker.start()
    try:
        assert leases.declare_dead() == 1
    finally:
        over.set()
        worker.join()
    assert leases.renew(lives, None)
    assert not leases.renew(dead, None)


@pytest.mark.parametrize("taken_by", ["sweep", "worker"])
def test_who_was_counted_as_dead_and_hands_back_is_counted_no_more(taken_by: str) -> None:
    task_id = new_task()
    first = take(task_id, "first")
    assert first
    lapse(task_id)
    if taken_by == "sweep":
        assert leases.declare_dead() == 1
    second = take(task_id, "second")
    assert second
    assert leases.hand_back(first) is None
    with db.reading() as session:
        run = session.get_one(models.TaskRun, task_id)
        assert (run.deaths, run.worker, run.attempt) == (0, "second", 2)


def test_a_worker_that_was_declared_dead_cannot_write() -> None:
    """Although nobody has taken its task yet."""
    first = take(new_task(), "first")
    assert first
    lapse(first.task_id)
    assert leases.declare_dead() == 1
    assert not leases.renew(first, None)
    with pytest.raises(errors.Abandoned):
        leases.check(first)


def test_progress_is_on_the_row_and_in_the_message() -> None:
    """In bytes on the row, in words in the message."""
    lease = take(new_task(), "first")
    assert lease
    assert leases.renew(lease, leases.Progress("fetch", 3 << 20, 12 << 20))
    with db.reading() as session:
        run = session.get_one(models.TaskRun, lease.task_id)
        assert (run.step, run.bytes_done, run.bytes_total) == ("fetch", 3 << 20, 12 << 20)
        message = session.get_one(models.TaskInfo, lease.task_id).message
        assert message == "fetch: 3 of 12 MiB"


def test_progress_in_words() -> None:
    slow = leases.Progress("store:a", 1 << 20, None, rate=3 << 19, retries=1, fault="it was lost")
    assert str(slow) == "store:a: 1 MiB, 1.5 MiB/s (try 2: it was lost)"


def test_the_sweep_finds_lost_jobs_and_dead_workers(configure: Configure) -> None:
    """A pending task is rung for once in a while, not at each sweep; a live worker is left alone."""
    configure("sweep_seconds = 5")
    now = time.time()
    lost, fresh = new_task(expires=now - 6), new_task(expires=now - 1)
    dead, alive = new_task("processing"), new_task("processing")
    for task_id in (dead, alive):
        assert take(task_id, "worker")
    lapse(dead)
    assert leases.declare_dead() == 1
    assert {task_id for task_id, _ in turns.lost_bells(lambda _: 1)} == {lost, dead}
    assert turns.lost_bells(lambda _: 1) == []
    assert fresh != alive
