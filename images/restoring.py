"""Taking back a delayed deletion before the image is scrubbed (contract section 5.5).

The image is what it was, its data with it. Its properties and tags come back too; whom it was shared with
does not, and has to be said again. Glance leaves the locations as they are: what it restores has no data.
"""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator
from typing import Any, TextIO

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, db, errors, models, statuses, stores

_UNSEEN = {"synchronize_session": False}
#: Marks of imports that were under way; nothing is any more.
_MARKS = "os\\_glance%"


@contextlib.contextmanager
def scrubbing() -> Iterator[None]:
    """While this block runs, nobody restores an image on this host; several may scrub at a time."""
    with _lock_file() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """While this block runs, no scrubber runs on this host.

    Raises:
        Conflict: one does.
    """
    with _lock_file() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.Conflict(
                "a scrubber is already running. Please ensure that the daemon is stopped."
            ) from error
        yield


def _lock_file() -> TextIO:
    """The system takes its lock away with the process that holds it."""
    directory = pathlib.Path(config.CONF.gantry.state_path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return (directory / "scrubber.lock").open("w")
    except OSError as error:
        raise errors.Misconfigured(
            f"[gantry] state_path cannot be written to ({error.strerror}): run this as the service's user"
        ) from error


def restore(image_id: str) -> None:
    """Make an image that waits to be scrubbed `active` again, with its data.

    Raises:
        NotFound: there is no such image.
        Conflict: it does not wait to be scrubbed, or its data are gone; or a scrubber runs on this host. What
            the workers' upkeep has begun to scrub is refused too, on whatever host.
        Unavailable: its store does not answer.
    """
    with _alone():
        sound = _sound_places(image_id)
        with db.transaction() as session:
            image = _waiting(session, image_id, lock=True)
            places = [one for one in _places(session, image_id) if one.id in sound]
            if not places:
                raise errors.Conflict(
                    f"the data of image {image_id} are gone, or are being removed"
                )
            for place in places:
                place.status, place.deleted, place.deleted_at = "active", False, None
            _restore_parts(session, image)
            alive: dict[str, Any] = {"deleted": False, "deleted_at": None}
            statuses.move_image(session, image_id, "pending_delete", "active", **alive)


def _waiting(session: orm.Session, image_id: str, *, lock: bool = False) -> models.Image:
    image = session.get(models.Image, image_id, with_for_update=lock or None)
    if image is None:
        raise errors.NotFound(f"No image found with ID {image_id}")
    if image.status != "pending_delete":
        raise errors.Conflict(
            f"the image {image_id} is {image.status}: only one that is pending_delete can be restored"
        )
    return image


def _places(session: orm.Session, image_id: str) -> list[models.ImageLocation]:
    """Where the data wait to be removed; none where that is being done.

    A scrub takes `pending_delete` from the locations first, and a deletion that is not delayed leaves them
    `active` until it is over.
    """
    rows = models.ImageLocation
    query = sa.select(rows).where(rows.image_id == image_id, rows.status != "deleted")
    found = list(session.scalars(query.order_by(rows.id)))  # Glance has them `deleted` besides
    return found if all(one.status == "pending_delete" for one in found) else []


def _sound_places(image_id: str) -> set[int]:
    """The locations that do have the image's data; asked for while no transaction is open."""
    with db.reading() as session:
        image, places = _waiting(session, image_id), _places(session, image_id)
    sound = set()
    for place in places:
        with contextlib.suppress(errors.NotFound):
            if stores.size_of(place.value, place.meta_data or {}) in (image.size, 0):
                sound.add(place.id)
    return sound


def _restore_parts(session: orm.Session, image: models.Image) -> None:
    """Bring back the properties and tags that went with the image: nothing of it was changed after that."""
    back = {"deleted": False, "deleted_at": None}
    for table in (models.ImageProperty, models.ImageTag):
        gone = sa.update(table).where(
            table.image_id == image.id, table.deleted_at >= image.deleted_at
        )
        if table is models.ImageProperty:
            gone = gone.where(models.ImageProperty.name.not_like(_MARKS, escape="\\"))
        session.execute(gone.values(back), execution_options=_UNSEEN)
