"""Where an image's bytes are: the order of its locations, and what may be done to them by PATCH.

Contract section 2.11, the old way; a location that is added by POST is the work of a task
(`images.location_tasks`). A store is asked over the network, so that happens before the transaction:
`draft` judges the changes as far as the record goes, `examine` asks, `write` judges again and writes.
"""

import dataclasses
import hashlib
import re
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    catalog,
    config,
    context,
    db,
    errors,
    import_requests,
    imports,
    models,
    notifications,
    policy,
    quota,
    records,
    removal,
    statuses,
    store_urls,
    stores,
)
from images.editing import Change

_HASHES = ("checksum", "os_hash_algo", "os_hash_value")
_MD5_BYTES = 16
#: An object is called by the id of its image; a part of one, too, and more.
_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.IGNORECASE)
#: A location to be shown, or one to be changed.
_Place = TypeVar("_Place", records.Location, models.ImageLocation)


@dataclasses.dataclass(slots=True)
class Draft:
    """An image's locations as the changes of a PATCH leave them; nothing of it is written yet."""

    status: str
    #: As the record shows them.
    rows: list[models.ImageLocation]
    #: The record's columns that say what the data are.
    known: dict[str, str | None]
    #: Those of the rows that are new, and rows that were there.
    added: list[models.ImageLocation] = dataclasses.field(default_factory=list)
    removed: list[models.ImageLocation] = dataclasses.field(default_factory=list)
    #: New metadata of rows that stay.
    described: list[tuple[models.ImageLocation, dict[str, Any]]] = dataclasses.field(
        default_factory=list
    )


def ordered(rows: list[_Place]) -> list[_Place]:
    """The heaviest store's location first, else in the order in which they were made."""
    if len(rows) < 2 or not stores.multi():  # noqa: PLR2004 - one needs no order
        return rows
    weights = {store.id: store.weight for store in stores.configured()}
    return sorted(rows, key=lambda row: -weights.get(_store_of(row) or "", 0))


def _store_of(row: _Place) -> str | None:
    return stores.named(row.value, row.meta_data)


def preferring(rows: list[_Place], store_ids: list[str]) -> list[_Place]:
    """The rows in the order in which to try them: first those in these stores, as they are named."""
    place = {name: number for number, name in enumerate(store_ids)}
    last = len(place)
    return sorted(ordered(rows), key=lambda row: place.get(_store_of(row) or "", last))


def check_enabled() -> None:
    """Refuse changes where the operator does not show locations.

    Raises:
        Forbidden: so it is.
    """
    if not config.CONF.show_multiple_locations:
        raise errors.Forbidden(
            "It's not allowed to change locations if locations are invisible "
            "(show_multiple_locations)."
        )


def draft(asker: context.Context, image: models.Image, changes: list[Change]) -> Draft:
    """Judge changes of `locations`, in their order, as far as the record goes.

    Raises:
        Forbidden: the asker may not; or the last one would go.
        Conflict: the image's status, or what is known of its data, does not allow it.
        Invalid: a location is none, is there already, or there is nothing at the position.
        LimitExceeded: there would be too many (`image_location_quota`).
    """
    known = {name: getattr(image, name) for name in _HASHES}
    found = Draft(image.status, list(ordered(image.location_rows)), known)
    for change in changes:
        removing = change.operation == "remove"
        policy.enforce(asker, f"{'delete' if removing else 'set'}_image_location", image)
        if removing:
            _remove(found, change)
        elif change.operation == "replace":
            _replace(found, change.value)
        else:
            _add(found, change.position, change.value)
    return found


def _add(found: Draft, position: str | None, asked: dict[str, Any]) -> None:
    """A new location, whatever the position: like Glance, we keep them in the order of their making."""
    _check_status(found, "active", "queued")
    said = _validated(found, [asked])
    _position(position, None)
    _append(found, asked)
    _become_active(found, said)


def _append(found: Draft, asked: dict[str, Any]) -> None:
    _check_count(len(found.rows) + 1)
    metadata = _metadata(asked, stores.holder_of(asked["url"]))
    row = models.ImageLocation(value=asked["url"], meta_data=metadata)
    if any((one.value, one.meta_data or {}) == (row.value, metadata) for one in found.rows):
        raise errors.Invalid("The location is among the image's locations already")
    found.rows.append(row)
    found.added.append(row)


def _replace(found: Draft, asked: list[dict[str, Any]]) -> None:
    """All locations of an image that has none, or other metadata of the ones that are there."""
    if not asked:
        raise errors.Forbidden("Cannot set locations to empty list.")
    _check_status(found, "active", "queued")
    said = _validated(found, asked)
    _check_count(len(asked))
    if found.rows:
        _describe(found, asked)
    else:
        for one in asked:
            _append(found, one)
    _become_active(found, said)


def _describe(found: Draft, asked: list[dict[str, Any]]) -> None:
    rows = list(found.rows)
    if sorted(one["url"] for one in asked) != sorted(row.value for row in rows):
        raise errors.Invalid("Original locations is not empty: only their metadata can be replaced")
    for one in asked:
        row = next(row for row in rows if row.value == one["url"])
        rows.remove(row)
        metadata = _metadata(one, (row.meta_data or {}).get("store"))
        if row in found.added:
            row.meta_data = metadata
        else:
            found.described.append((row, metadata))


def _remove(found: Draft, change: Change) -> None:
    _check_status(found, "active")
    if len(found.rows) == 1:
        raise errors.Forbidden("Cannot remove last location in the image.")
    row = found.rows.pop(_position(change.position, len(found.rows)))
    if row in found.added:
        found.added.remove(row)
    else:
        found.removed.append(row)


def _check_status(found: Draft, *allowed: str) -> None:
    if found.status not in allowed:
        raise errors.Conflict(
            f"It's not allowed to change locations if image status is {found.status}."
        )


def _check_count(count: int) -> None:
    quota = config.CONF.image_location_quota
    if 0 <= quota < count:
        raise errors.LimitExceeded(
            f"The limit has been exceeded on the number of image locations: {quota}"
        )


def _position(text: str | None, count: int | None) -> int:
    """The place that a path names among `count` locations (None: anywhere); `-` is the last one."""
    if text == "-":
        return -1
    number = int(text) if text and re.fullmatch("[0-9]{1,9}", text, re.ASCII) else None
    if number is not None and (count is None or number < count):
        return number
    raise errors.Invalid(f"There is no location at the position {text}")


def _metadata(asked: dict[str, Any], store_id: str | None) -> dict[str, Any]:
    """With the store's id, where several stores are configured."""
    metadata: dict[str, Any] = dict(asked["metadata"])
    _check_texts(metadata)
    return metadata | ({"store": store_id} if store_id else {})


def _check_texts(value: Any) -> None:
    """Glance's drivers understand texts, and lists and objects of them."""
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            _check_texts(one)
    elif not isinstance(value, str):
        raise errors.Invalid("The metadata of a location may hold text, lists and objects only")


def _validated(found: Draft, asked: list[dict[str, Any]]) -> dict[str, str]:
    """What `validation_data` say of the data that the record does not know yet.

    Raises:
        Conflict: they contradict one another or the record, or are no digests.
    """
    said = _said(asked)
    for name in [name for name, value in said.items() if found.known[name] == value]:
        del said[name]
    for name in said:
        if found.known[name]:
            raise errors.Conflict(f"{name} is already set with a different value")
    if said and found.status != "queued":
        raise errors.Conflict("New hashes may only be provided when image status is 'queued'")
    if said:
        _check_digests(said)
    return said


def _said(asked: list[dict[str, Any]]) -> dict[str, str]:
    said: dict[str, str] = {}
    for one in asked:
        for name, value in one.get("validation_data", {}).items():
            if said.setdefault(name, value) != value:
                raise errors.Conflict(f"Conflicting values for {name}")
    return said


def _check_digests(said: dict[str, str]) -> None:
    algorithm = config.CONF.hashing_algorithm
    if said.get("os_hash_algo") != algorithm:
        raise errors.Conflict(f"os_hash_algo must be {algorithm}")
    try:
        check_digest("os_hash_value", said.get("os_hash_value", ""), algorithm)
        if "checksum" in said:
            check_digest("checksum", said["checksum"], "md5")
    except errors.Invalid as error:
        raise errors.Conflict(str(error)) from error


def check_digest(name: str, text: str, algorithm: str) -> None:
    """Refuse what is no digest in hex by this algorithm.

    Raises:
        Invalid: so it is.
    """
    wanted = hashlib.new(algorithm, usedforsecurity=False).digest_size
    try:
        length = len(bytes.fromhex(text))
    except ValueError as error:
        raise errors.Invalid(f"{name} is not a valid hexadecimal value") from error
    if length != wanted or len(text) != 2 * wanted:
        raise errors.Invalid(
            f"{name} is not the correct size for {algorithm} (should be {wanted} bytes)"
        )


def _become_active(found: Draft, said: dict[str, str]) -> None:
    if found.status == "queued":
        found.status = "active"
        found.known |= said


def check_formats(image: models.Image) -> None:
    """Refuse to give data to an image that does not say what they are.

    Raises:
        Invalid: a format is not set.
    """
    missing = [name for name in ("disk_format", "container_format") if not getattr(image, name)]
    if missing:
        raise errors.Invalid(
            f"Property {', '.join(missing)} must be set prior to adding a location"
        )


def check_strangers(
    session: orm.Session, asker: context.Context, image_id: str, found: Draft
) -> None:
    """Refuse another image's object: this one would give it out, and remove it when it goes.

    Where `show_multiple_locations` lets members say where their data are, Glance takes that (OSSN-0065).
    Administrators may.

    Raises:
        Invalid: one of the new locations names the object of another image of this database.
    """
    if asker.is_admin:
        return
    names = [
        store_urls.object_of(row.value) for row in found.added if not store_urls.is_web(row.value)
    ]
    others = {name[1] for name in map(_ID.match, names) if name} - {image_id}
    image = models.Image
    query = sa.select(image.id).where(image.id.in_(others), image.status != "deleted").limit(1)
    if others and session.scalar(query) is not None:
        raise errors.Invalid("Invalid location: it names the data of another image")


def examine(found: Draft) -> dict[str, int]:
    """Ask the stores for the sizes of the new locations, by their URLs. Never call it in a transaction.

    Raises:
        Invalid: a store has no such data, or its answer is not usable.
    """
    sizes: dict[str, int] = {}
    for row in found.added:
        if row.value not in sizes:
            sizes[row.value] = size_of(row.value, row.meta_data)
    return sizes


def size_of(url: str, metadata: dict[str, Any]) -> int:
    """The bytes behind a location that somebody asks for, at least one.

    Raises:
        Invalid: its scheme is refused, or no store has such data.
    """
    stores.holder_of(url)
    try:
        size = stores.size_of(url, metadata)
    except (errors.NotFound, errors.Unavailable) as error:
        raise errors.Invalid(f"Invalid location: {error}") from error
    if size <= 0:
        raise errors.Invalid("Invalid location: its store does not say how many bytes it has")
    return size


def write(
    session: orm.Session,
    image: models.Image,
    found: Draft,
    sizes: dict[str, int],
    allowed: quota.Ceilings | None,
) -> list[models.ImageLocation]:
    """Write a draft of the locked image down; the rows whose bytes are to be removed after the commit.

    Raises:
        Conflict: the record was changed while the stores were asked; or a location is to come or to go while
            a task holds the image.
        Invalid: the image does not say what its data are.
        LimitExceeded: the owner would have more than `user_storage_quota` (what is `allowed`).
    """
    if any(row.value not in sizes for row in found.added):
        raise errors.Conflict(f"Image {image.id} was changed meanwhile; try again")
    if found.removed or found.added:
        # What goes may be what a copy is made of, or all that stays when it fails; what comes would be taken
        # for the task's own.
        import_requests.check_lock(session, image)
    values: dict[str, Any] = {}
    if found.added and not image.size:
        values["size"] = sizes[found.added[0].value]
    if found.added:
        size = image.size or values["size"]
        check_quota(session, allowed, image.id, size * len(found.rows))
    if found.status != image.status:
        check_formats(image)
        values |= {name: value for name, value in found.known.items() if value}
        statuses.move_image(session, image.id, image.status, found.status, **values)
    else:
        statuses.keep_image(session, image.id, image.status, **values)
        if notifications.enabled:
            notifications.image(session, "image.update", image.id)
    _write_rows(session, image.id, found)
    orm.attributes.set_committed_value(image, "location_rows", found.rows)
    session.refresh(image, ["status", "size", "updated_at", *_HASHES])
    return [row for row in found.removed if not row.deleted]


def _write_rows(session: orm.Session, image_id: str, found: Draft) -> None:
    for row, metadata in found.described:
        row.meta_data = metadata
    kept = {row.value for row in found.rows}
    for row in found.removed:
        row.status = "pending_delete"
        if row.value in kept:  # its bytes are another row's too
            row.status, row.deleted, row.deleted_at = "deleted", True, db.now()
    for row in found.added:
        row.image_id = image_id
        session.add(row)
    session.flush()


def check_quota(
    session: orm.Session,
    allowed: quota.Ceilings | None,
    image_id: str,
    total: int,
    *,
    keep: bool = False,
) -> None:
    """Judge whether an image may come to have so many bytes in all its locations together.

    Unified limits are not asked, as Glance does not ask them: nothing is uploaded. The bytes stay reserved
    (`keep`) where the location is written down later.

    Raises:
        LimitExceeded: its owner would have too many.
    """
    if allowed and not config.CONF.use_keystone_limits:
        quota.admit_data(session, allowed, image_id, store=total)
        if not keep:
            quota.settle(session, image_id)


def remove_data(rows: list[models.ImageLocation]) -> None:
    """Remove the bytes behind rows that were written as removed; what fails waits for upkeep."""
    for row in rows:
        removal.delete_data(row.id, row.value, row.meta_data)


def leave_store(asker: context.Context, store_id: str, image_id: str) -> None:
    """Take an image's bytes out of one of its stores (contract section 2.12); the record first.

    Raises:
        NotFound: there are not several stores, no such image, or its data are not in this store.
        Forbidden: the asker may not; or it is the image's only location.
        Conflict: there is no such store, the image is not active, a task holds it, or its data are in use.
        Unavailable: the store does not let go of them; it has them still.
    """
    if not stores.multi():
        raise errors.NotFound("Multi backend is not supported at this site.")
    if store_id not in {store.id for store in stores.configured()}:
        raise errors.Conflict(f"The selected store {store_id} is not available on this node.")
    with db.transaction() as session:
        image = catalog.get(session, asker, image_id, parts=("locations", "properties"), lock=True)
        policy.enforce(asker, "get_image_location", image)
        policy.enforce(asker, "delete_image_location", image)
        row = _leaving(image, store_id)
        import_requests.check_lock(session, image)  # as in `write`
        row.status, image.updated_at = "pending_delete", db.now()
        shared = sum(one.value == row.value for one in image.location_rows) > 1
    try:
        if not shared:
            stores.delete(row.value, row.meta_data)
    except (errors.Conflict, errors.Unavailable):
        _keep(image_id, row.id)
        raise
    with db.transaction() as session:
        _mark(session, row.id, status="deleted", deleted=True, deleted_at=db.now())


def _leaving(image: models.Image, store_id: str) -> models.ImageLocation:
    if image.status != "active":
        raise errors.Conflict(
            "It's not allowed to remove image data from store if image status is not 'active'"
        )
    if len(image.location_rows) == 1:
        raise errors.Forbidden(
            "Cannot delete image data from the only store containing it. Consider deleting the image instead."
        )
    for row in ordered(image.location_rows):
        if _store_of(row) == store_id:
            return row
    raise errors.NotFound(f"Image {image.id} is not stored in store {store_id}.")


def _keep(image_id: str, row_id: int) -> None:
    """Have a location again whose store has kept the data; that of a deleted image goes on waiting."""
    with db.transaction() as session:
        if statuses.keep_image(session, image_id, *imports.USABLE):  # which locks it, too
            _mark(session, row_id, status="active")


def _mark(session: orm.Session, row_id: int, **values: Any) -> None:
    rows = models.ImageLocation
    update = sa.update(rows).where(
        rows.id == row_id, rows.status == "pending_delete", rows.deleted.is_(False)
    )
    session.execute(update.values(values), execution_options={"synchronize_session": False})
