"""Whether a worker of this host is alive: it has done a job just now, or is busy with imports that go on.

What a worker says stands in files of the state directory, a worker's own host's: `alive/<node>` holds the
last question that was answered, `alive/<node>.processes` how many jobs the worker runs at a time.
"""

import pathlib
import time
import uuid

import sqlalchemy as sa

from images import cache_fills, config, db, errors, models, queue

#: Seconds between two looks at the answer.
_TICK = 0.05


def answer(node: str, nonce: str) -> None:
    """Write down, as the worker `node`, that a question was understood."""
    _write(_place(node), nonce)


def introduce(node: str, processes: int) -> None:
    """Write down how many jobs the worker `node` runs at a time."""
    _write(_place(f"{node}.processes"), str(processes))


def why_not(node: str, seconds: float) -> str | None:
    """Why a worker counts as dead, in a line; None if it has done a job within `seconds`, or is busy.

    Raises:
        Unavailable: nothing can be said, as the broker or the database does not answer.
        Invalid: no node has such a name.
    """
    place, nonce = _place(node), str(uuid.uuid4())
    taken = queue.knock(node, nonce, seconds)
    end = time.monotonic() + seconds
    while taken and time.monotonic() < end:
        if _read(place) == nonce:
            return None
        time.sleep(_TICK)
    processes = int(_read(_place(f"{node}.processes")) or 1)
    held = imports_of(node)
    if held + cache_fills.is_prefetching() >= processes:
        return None
    said = f"has done no job for {seconds:g} s" if taken else "takes no jobs"
    return f"{node} {said}, and runs {held} imports with {processes} processes"


def imports_of(node: str) -> int:
    """How many imports a worker holds with leases that are being renewed."""
    runs = models.TaskRun
    mine = runs.worker.startswith(f"{node}:", autoescape=True)
    count = sa.select(sa.func.count()).where(mine, runs.expires > time.time())
    with db.reading() as session:
        return session.scalars(count).one()


def _place(name: str) -> pathlib.Path:
    if "/" in name:
        raise errors.Invalid("A worker's node has no slash in its name")
    return pathlib.Path(config.CONF.gantry.state_path) / "alive" / name


def _write(place: pathlib.Path, text: str) -> None:
    """Whole or not at all: somebody may be looking."""
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f"{place.name}.{uuid.uuid4().hex}")
    beside.write_text(text)
    beside.replace(place)


def _read(place: pathlib.Path) -> str:
    try:
        return place.read_text()
    except FileNotFoundError:
        return ""
