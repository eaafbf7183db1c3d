"""What the records say while things die: a thread reads the tasks all the time, and remembers each change."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence

import sqlalchemy as sa
import sqlalchemy.exc

#: Seconds between two looks.
_TICK = 0.03
ENDED = ("success", "failure")

_TASKS = sa.text(
    "SELECT t.id, t.image_id, t.status, r.worker, r.attempt, r.step, r.bytes_done, r.queue"
    " FROM tasks t JOIN gantry_task_runs r ON r.task_id = t.id"
    " WHERE t.image_id IN :images OR t.id IN :tasks"
).bindparams(sa.bindparam("images", expanding=True), sa.bindparam("tasks", expanding=True))


@dataclasses.dataclass(frozen=True, slots=True)
class State:
    """One task at one moment."""

    task_id: str
    image_id: str | None
    status: str
    #: `node:pid` of who holds the lease.
    worker: str | None
    attempt: int
    step: str | None
    done: int
    queue: str

    @property
    def has_ended(self) -> bool:
        """Well or badly."""
        return self.status in ENDED


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """When a task was first seen so."""

    at: float
    state: State


class Records(threading.Thread):
    """The history of the tasks of some images, as long as the `with` block of `watching` lasts."""

    def __init__(self, engine: sa.Engine) -> None:
        super().__init__(name="records", daemon=True)
        self._engine = engine
        self._over = threading.Event()
        self._images: list[str] = []
        self._tasks: list[str] = []
        #: By task, oldest first; only ever added to.
        self.history: dict[str, list[Change]] = {}

    def follow(self, *, image_id: str = "", task_id: str = "") -> None:
        """Watch an image's tasks too, or one whose image is not made yet."""
        self._images += [image_id] if image_id else []
        self._tasks += [task_id] if task_id else []

    def run(self) -> None:
        """Look until it is over; a database that is away is asked again."""
        while not self._over.wait(_TICK):
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                self._look()

    def end(self) -> None:
        """Look no more."""
        self._over.set()
        self.join()

    def _look(self) -> None:
        wanted = {"images": self._images or [""], "tasks": self._tasks or [""]}
        with self._engine.connect() as connection:
            rows = connection.execute(_TASKS, wanted).all()
        now = time.monotonic()
        for row in rows:
            state = State(*row)
            seen = self.history.setdefault(state.task_id, [])
            if not seen or seen[-1].state != state:
                seen.append(Change(now, state))

    def latest(self) -> list[State]:
        """Each task as it was last seen."""
        return [seen[-1].state for seen in list(self.history.values())]

    def of(self, image_id: str) -> list[State]:
        """An image's tasks as they were last seen."""
        return [one for one in self.latest() if one.image_id == image_id]

    def before(self, moment: float) -> list[State]:
        """Each task as it was at a moment, those that had ended by then left out."""
        found = []
        for seen in list(self.history.values()):
            earlier = [change.state for change in seen if change.at <= moment]
            if earlier and not earlier[-1].has_ended:
                found.append(earlier[-1])
        return found

    def went_on(self, was: State, moment: float, *, elsewhere: bool) -> float | None:
        """Seconds from a moment until a task that `was` so then went on; None where it did not.

        With `elsewhere` its worker was struck: only what another worker does counts.
        """
        for change in self.history[was.task_id]:
            state = change.state
            if change.at <= moment:
                continue
            moved = (state.status, state.step, state.done) != (was.status, was.step, was.done)
            works = state.step is not None or was.status == "pending"
            begun = state.attempt > was.attempt
            if state.has_ended or ((begun if elsewhere else moved or begun) and works):
                return change.at - moment
        return None

    def left_hands(self, was: State, moment: float) -> float | None:
        """Seconds from a moment until somebody else had a task, or it had ended."""
        for change in self.history[was.task_id]:
            taken = change.state.attempt > was.attempt and change.state.worker
            if change.at > moment and (taken or change.state.has_ended):
                return change.at - moment
        return None


@contextlib.contextmanager
def watching(engine: sa.Engine) -> Iterator[Records]:
    """Records, read as long as the block lasts."""
    records = Records(engine)
    records.start()
    try:
        yield records
    finally:
        records.end()


def count(engine: sa.Engine, table: str, where: str = "1 = 1") -> int:
    """Rows of a table."""
    with engine.connect() as connection:
        statement = sa.text(f"SELECT count(*) FROM {table} WHERE {where}")  # noqa: S608 - ours
        return int(connection.execute(statement).scalar() or 0)


def keys(engine: sa.Engine, table: str) -> list[str]:
    """The first column of each row of a table."""
    with engine.connect() as connection:
        return [str(row[0]) for row in connection.execute(sa.text(f"SELECT * FROM {table}"))]  # noqa: S608


def locations(engine: sa.Engine, image_id: str) -> Sequence[tuple[str, bool]]:
    """Status of each location that an image ever had, and whether it is deleted."""
    query = sa.text("SELECT status, deleted FROM image_locations WHERE image_id = :id")
    with engine.connect() as connection:
        return [
            (row.status, bool(row.deleted)) for row in connection.execute(query, {"id": image_id})
        ]
