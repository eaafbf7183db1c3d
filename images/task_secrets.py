"""What the worker of one task must know and nobody may see: the caller's token for another region.

A job in the broker holds a task's id and nothing else, and what stands in `tasks` is shown. So a secret lies
in a table of ours from the request until the task ends, encrypted with a key made of the database's URL: a
copy of the tables, a backup say, gives nothing away by itself. API and workers read the same URL.
"""

import base64
import hashlib
import json
from typing import Any

import sqlalchemy as sa
from cryptography import fernet

from images import config, db, errors, models


def seal(secret: dict[str, Any]) -> str:
    """A JSON object as the table keeps it."""
    return _cipher().encrypt(json.dumps(secret).encode()).decode()


def of_task(task_id: str) -> dict[str, Any]:
    """What was kept for a task.

    Raises:
        ImportFailed: nothing was, or this process reads the database by another URL.
    """
    query = sa.select(models.TaskSecret.value).where(models.TaskSecret.task_id == task_id)
    with db.reading() as session:
        sealed = session.scalars(query).first()
    return unseal(sealed or "")


def unseal(sealed: str) -> dict[str, Any]:
    """What `seal` was given.

    Raises:
        ImportFailed: it was sealed by a process that names the database otherwise, or is no such text.
    """
    try:
        opened: dict[str, Any] = json.loads(_cipher().decrypt(sealed.encode()))
    except fernet.InvalidToken as error:
        raise errors.ImportFailed(
            "The caller's token is not at hand; API and workers must name the database by the same URL"
        ) from error
    return opened


def _cipher() -> fernet.Fernet:
    key = hashlib.sha256(f"gantry task secrets {config.CONF.database.connection}".encode()).digest()
    return fernet.Fernet(base64.urlsafe_b64encode(key))
