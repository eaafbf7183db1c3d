"""Records, files and rows as processes leave them that die at a bad moment; and a look at what is left."""

import datetime
import os
import pathlib
import time
from collections.abc import Callable
from concurrent import futures
from typing import Any

from images import db, models, staging, stores

HOUR = datetime.timedelta(hours=1, seconds=5)
DATA = b"x" * 3000


def image(status: str, *, age: datetime.timedelta = HOUR, **columns: Any) -> str:
    """An image that was touched so long ago."""
    with db.transaction() as session:
        row = models.Image(status=status, owner="p", updated_at=db.now() - age, **columns)
        session.add(row)
    return row.id


def gone(status: str, *, age: datetime.timedelta = HOUR, **columns: Any) -> str:
    """An image that was deleted so long ago."""
    return image(status, deleted=True, deleted_at=db.now() - age, **columns)


def new_task(
    image_id: str | None,
    was: str = "pending",
    *,
    age: datetime.timedelta = HOUR,
    kind: str = "api_image_import",
    **run: Any,
) -> str:
    """A task that was touched so long ago, with all that workers keep of one."""
    with db.transaction() as session:
        row = models.Task(type=kind, status=was, owner="p", image_id=image_id)
        row.updated_at = db.now() - age
        row.info = models.TaskInfo(input={})
        row.run = models.TaskRun(**({"queue": "convert"} | run))
        session.add(row)
        session.flush()
        session.add(models.TaskSecret(task_id=row.id, value="sealed"))
        session.add(models.FlowState(task_id=row.id, state="{}"))
    return row.id


def task(task_id: str) -> tuple[str, str | None]:
    """A task's status and message."""
    with db.reading() as session:
        return session.get_one(models.Task, task_id).status, session.get_one(
            models.TaskInfo, task_id
        ).message


def kept(task_id: str) -> int:
    """Rows that workers keep of a task."""
    with db.reading() as session:
        return sum(
            session.get(row, task_id) is not None for row in (models.TaskSecret, models.FlowState)
        )


def status(image_id: str) -> str:
    with db.reading() as session:
        return session.get_one(models.Image, image_id).status


def staged(image_id: str, *names: str, age: datetime.timedelta = HOUR) -> list[pathlib.Path]:
    """Files in staging that were written to so long ago."""
    then = time.time() - age.total_seconds()
    files = [staging.path(image_id, name) for name in names or ("", ".part", ".facts")]
    for file in files:
        file.write_bytes(DATA)
        os.utime(file, (then, then))
    return files


def stored(image_id: str, row_status: str, *, deleted: bool = False) -> pathlib.Path:
    """Bytes in the store, and their location."""
    source = staging.path("source")
    source.write_bytes(DATA)
    url, metadata = stores.add(stores.default_id(), image_id, source)
    source.unlink()
    with db.transaction() as session:
        row = models.ImageLocation(image_id=image_id, value=url, meta_data=metadata)
        row.status, row.deleted, row.updated_at = row_status, deleted, db.now() - HOUR
        session.add(row)
    return pathlib.Path(url.removeprefix("file://"))


def in_store(name: str, *, age: datetime.timedelta = HOUR) -> pathlib.Path:
    """A file in the store that no location names, written to so long ago."""
    file = stores.directories(stores.default_id())[0] / name
    file.write_bytes(DATA)
    then = time.time() - age.total_seconds()
    os.utime(file, (then, then))
    return file


def locations(image_id: str) -> list[str]:
    with db.reading() as session:
        rows = session.query(models.ImageLocation).filter_by(image_id=image_id)
        return [row.status for row in rows]


def reserve(image_id: str) -> None:
    with db.transaction() as session:
        session.add(models.Reservation(image_id=image_id, store_bytes=5, stage_bytes=5))


def reserved() -> set[str]:
    with db.reading() as session:
        return {row.image_id for row in session.query(models.Reservation)}


def twice_at_once(work: Callable[[], int]) -> int:
    """Run it twice at the same time; how much was done in all, where that is counted by what was changed."""
    with futures.ThreadPoolExecutor(2) as pool:
        return sum(one.result() for one in [pool.submit(work), pool.submit(work)])
