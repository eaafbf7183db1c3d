"""Staging that only one host can see (`[gantry] staging_is_shared = false`): whose workers an image is for.

What lies in a host's staging is work for its own workers. They consume, beside each common queue, one of
their host's own, named `<queue>@<host>` (`workers.hosts`); a task whose bytes are there names that one. While
an upload's bytes arrive, and until staged ones are asked for, the image says so by `MARK`, as Glance does.

With staging that all hosts see nothing here is of any effect.
"""

import hashlib
import re

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, models

#: The property of ours that names the host which has an image's bytes; never shown, and nobody can set it.
#: Glance writes a URL there, which names no queue.
MARK = "os_glance_stage_host"
#: The common queue of the tasks whose bytes can be fetched again, by any host if theirs is gone.
FETCH = "fetch"
#: What only a host itself can do for its image cache (`images.cache`), shared staging or not.
CACHE = "cache"
_HOST = re.compile("[A-Za-z0-9._-]+")
#: A queue's name has 64 characters at most, and `convert@` takes eight of them.
_LENGTH = 50
_DIGEST = 8


def is_shared() -> bool:
    """Whether all hosts see one staging directory."""
    return bool(config.CONF.gantry.staging_is_shared)


def name() -> str:
    """This host's name, as queues and marks have it: a long one is cut, and told apart by a digest."""
    host: str = config.CONF.gantry.host
    if len(host) <= _LENGTH:
        return host
    digest = hashlib.sha256(host.encode()).hexdigest()[:_DIGEST]
    return f"{host[: _LENGTH - _DIGEST - 1]}-{digest}"


def host_of(queue_name: str) -> str | None:
    """The host whose workers alone consume a queue; None where all may."""
    return queue_name.partition("@")[2] or None


def bind(queue_name: str) -> str:
    """The queue that stands for a common one on this host; one that belongs to a host stays as it is."""
    if is_shared() or host_of(queue_name):
        return queue_name
    return f"{queue_name}@{name()}"


def queue_of_cache() -> str:
    """The queue of what only this host can do: its image cache is in a directory of its own."""
    return f"{CACHE}@{name()}"


def unbind(queue_name: str) -> str:
    """The common queue behind one of a host."""
    return queue_name.partition("@")[0]


def is_elsewhere(queue_name: str) -> bool:
    """Whether a task of this queue is another host's: what it needs is not in staging here."""
    return not is_shared() and host_of(queue_name) not in (None, name())


def mark(session: orm.Session, image_id: str) -> None:
    """Write down that an image's bytes are, or are about to be, on this host."""
    unmark(session, image_id)
    session.add(models.ImageProperty(image_id=image_id, name=MARK, value=name()))


def unmark(session: orm.Session, image_id: str) -> None:
    """The image has no bytes in staging any more, or its task says where they are."""
    rows = models.ImageProperty
    session.execute(
        sa.delete(rows).where(rows.image_id == image_id, rows.name == MARK),
        execution_options={"synchronize_session": False},
    )


def is_marked_elsewhere(session: orm.Session, image_id: str) -> bool:
    """Whether an image's bytes are, or are about to be, on another host."""
    rows = models.ImageProperty
    marked = sa.select(rows.value).where(
        rows.image_id == image_id, rows.name == MARK, rows.deleted.is_(False)
    )
    return not is_shared() and session.scalar(marked) not in (None, name())


def queue_for(image: models.Image, queue_name: str) -> str:
    """The queue for an import of this image: that of the host where its bytes are staged, if they are.

    Its properties are loaded. Of bytes that Glance has staged nobody knows the host; the common queue tries.
    """
    row = image.property_rows.get(MARK)
    if image.status != "uploading" or row is None or row.deleted:
        return queue_name
    return f"{queue_name}@{row.value}" if _HOST.fullmatch(row.value or "") else queue_name
