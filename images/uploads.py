"""Bytes that come through the API: into staging (PUT /stage), or straight into a store (PUT /file).

Two short transactions stand around the bytes, none stays open while they move. Whatever goes wrong, the
image goes back to `queued` and nothing is left of what had arrived. Where each host has a staging of its own,
the image says meanwhile which of them has its bytes (`images.hosts`).
"""

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    catalog,
    checksums,
    config,
    context,
    db,
    errors,
    formats,
    hosts,
    imports,
    leftovers,
    models,
    notifications,
    policy,
    quota,
    signatures,
    staging,
    statuses,
    stores,
)

#: Properties that say something of the bytes which arrive.
_ASKING = (checksums.PROPERTY, *signatures.PROPERTIES)
#: Seconds between two signs of life while a store takes the bytes.
_SIGN_OF_LIFE = 10
_DELETED = "Image {} was deleted while it was uploaded, or the data came too late"


def stage(
    ctx: context.Context, image_id: str, body: staging.Source, *, size_hint: int | None
) -> None:
    """Receive an image's bytes into staging, where they wait for an import (contract section 2.4).

    Raises:
        NotFound, Forbidden: the caller may not; or the image was deleted meanwhile.
        Conflict: the image is not `queued`.
        Invalid: its expected checksum is none.
        SizeMismatch, LimitExceeded, StorageFull, Unavailable: the bytes could not be taken.
    """
    allowed = quota.for_asker(ctx, image_id) if quota.enabled else None
    needed = {"stage": size_hint or 0}
    files = staging.Upload.of(image_id)
    image, said = _begin(ctx, image_id, "modify_image", "uploading", allowed, needed)
    digest = staging.is_stored_as_it_is(image.disk_format)
    meter = _meter(allowed, image_id, size_hint, staged=True) if allowed else None
    try:
        facts = staging.receive(
            image_id,
            body,
            digest=digest,
            algorithms=_wanted(said) if said else (),
            size=size_hint,
            on_bytes=meter,
            keep=files,
        )
        with db.transaction() as session:
            if not statuses.keep_image(session, image_id, "uploading", size=facts.size):
                raise errors.Gone(_DELETED.format(image_id))
            if notifications.enabled:
                notifications.image(session, "image.update", image_id)
            if allowed:
                quota.settle(session, image_id)
    except BaseException as error:
        give_back(image_id, "uploading", files)
        if isinstance(error, errors.Gone):
            raise errors.NotFound(str(error)) from error
        raise


def upload(
    ctx: context.Context,
    image_id: str,
    body: staging.Source,
    *,
    size_hint: int | None,
    store: str | None,
) -> None:
    """Receive an image's bytes into a store; the image is `active` then (contract section 2.3).

    Raises:
        NotFound, Forbidden: the caller may not.
        Invalid: a format is not set, the store is not known, the expected checksum is none, or the signature
            cannot be verified.
        Conflict: the image is not `queued`.
        Gone: the image was deleted meanwhile.
        UnacceptableFormat: the bytes are not what `disk_format` says, or are unsafe.
        WrongData: they are not those that the image's properties promise or sign.
        SizeMismatch, LimitExceeded, StorageFull, Unavailable: the bytes could not be taken.
    """
    store_id = _chosen(store)
    allowed = quota.for_asker(ctx, image_id) if quota.enabled else None
    needed = {"store": size_hint or 0}
    files = staging.Upload.of(image_id)
    image, said = _begin(ctx, image_id, "upload_image", "saving", allowed, needed)
    meter = _meter(allowed, image_id, size_hint, copies=1) if allowed else None
    if notifications.enabled:
        named = {"backend": store_id} if stores.multi() else {}
        notifications.image_now("image.prepare", image_id, **named)
    try:
        facts = _received(ctx, image_id, body, said, size_hint, meter, files)
        virtual = formats.check(facts.inspection, image.disk_format, image.container_format)
        columns = (facts.digest or {}) | {"size": facts.size, "virtual_size": virtual}
        url, metadata = stores.add(
            store_id, image_id, staging.path(image_id), _writer(image_id, facts)
        )
        _record(image_id, columns, url, metadata)
    except BaseException as error:
        if notifications.enabled:
            _tell_of_failure(image_id, error)
        lost = isinstance(error, errors.NotFound | errors.Unavailable)
        if not give_back(image_id, "saving", files) and lost:
            # No store can take a file that a deletion, or who gave it back for dead, has removed.
            raise errors.Gone(_DELETED.format(image_id)) from error
        raise
    staging.remove(image_id)


def _received(
    ctx: context.Context,
    image_id: str,
    body: staging.Source,
    said: dict[str, str | None],
    size: int | None,
    meter: Callable[[int], None] | None,
    files: staging.Upload,
) -> staging.Facts:
    """The bytes in staging, compared with what the image's properties promise and sign."""
    claim = signatures.claim_of(said)
    signature = signatures.read(ctx, claim) if claim else None
    facts = staging.receive(
        image_id,
        body,
        digest=True,
        algorithms=_wanted(said),
        size=size,
        on_bytes=meter,
        keep=files,
    )
    checksums.compare(checksums.of_property(said), facts.made)
    if signature:
        signatures.verify(signature, facts.made)
    return facts


def _tell_of_failure(image_id: str, error: BaseException) -> None:
    cause = error if isinstance(error, errors.GantryError) else type(error).__name__
    notifications.failed("image.upload", f"Image {image_id} could not be uploaded: {cause}")


def _begin(
    ctx: context.Context,
    image_id: str,
    rule: str,
    status: str,
    allowed: quota.Ceilings | None,
    needed: dict[str, int],
) -> tuple[models.Image, dict[str, str | None]]:
    """Change the status; the image, and what its properties say of its bytes."""
    with db.transaction() as session:
        image = catalog.get(session, ctx, image_id, parts=(), lock=True)
        policy.enforce(ctx, rule, image)
        if image.status != "queued":
            raise errors.Conflict(f"Image {image_id} is {image.status}; data go to a queued image")
        if status == "saving":
            _check_formats(image)
        if said := _said(session, image_id):  # refused before the bytes rather than behind them
            checksums.of_property(said)
        if allowed:
            quota.admit_data(session, allowed, image_id, **needed)
        statuses.move_image(session, image_id, "queued", status)
        if not config.CONF.gantry.staging_is_shared:
            hosts.mark(session, image_id)
        return image, said


def _said(session: orm.Session, image_id: str) -> dict[str, str | None]:
    """Those properties of an image that say something of its bytes."""
    rows = models.ImageProperty
    query = sa.select(rows.name, rows.value).where(
        rows.image_id == image_id, rows.name.in_(_ASKING), rows.deleted.is_(False)
    )
    return {row.name: row.value for row in session.execute(query)}


def _wanted(said: dict[str, str | None]) -> set[str]:
    """Digests that the properties ask for, now or when the image is imported."""
    return {*checksums.of_property(said), *signatures.algorithms_of(said)}


def _check_formats(image: models.Image) -> None:
    for column in ("disk_format", "container_format"):
        if getattr(image, column) is None:
            raise errors.Invalid(f"Property {column} must be set prior to saving data")


def _chosen(store: str | None) -> str:
    if store is None or not stores.multi():
        return stores.default_id()
    if store not in stores.writable():
        raise errors.Invalid(f"There is no store {store} that takes data")
    return store


def _writer(image_id: str, facts: staging.Facts) -> stores.Writer:
    """Shows while a store takes its time that the upload is not dead (`images.upkeep.give_back_uploads`).

    And makes sure, before the store has the bytes under the image's name, that upkeep has not ended it all
    the same: the staged file would be gone, or another one by now.
    """
    told = time.monotonic()

    def heard(_: int) -> None:
        nonlocal told
        if time.monotonic() - told > _SIGN_OF_LIFE:
            told = time.monotonic()
            with contextlib.suppress(OSError):  # the image may have been deleted
                os.utime(staging.path(image_id, ".facts"))

    def ready() -> None:
        try:
            is_mine = staging.path(image_id).stat().st_ino == facts.identity[0]
        except OSError:
            is_mine = False
        if not is_mine:
            raise errors.Gone(_DELETED.format(image_id))

    return stores.Writer(heard, ready)


def _record(image_id: str, columns: dict[str, Any], url: str, metadata: dict[str, str]) -> None:
    """Make the image active; where that fails, the store has the bytes no more.

    They stay where the record points at them: then it was only the database's answer that was lost, or
    another upload has taken this one's place.
    """
    try:
        _activate(image_id, columns, models.ImageLocation(value=url, meta_data=metadata))
    except BaseException as error:
        if not imports.is_recorded(image_id, url):
            stores.delete(url, metadata)
            raise
        if not isinstance(error, errors.Unavailable) or not _is_done(image_id, columns):
            raise


def _is_done(image_id: str, columns: dict[str, Any]) -> bool:
    """Whether the image has these very data: the record may point at the place for other reasons."""
    query = sa.select(models.Image.os_hash_value).where(
        models.Image.id == image_id, models.Image.status.in_(imports.USABLE)
    )
    with db.reading() as session:
        return bool(session.scalars(query).first() == columns["os_hash_value"])


def _activate(image_id: str, columns: dict[str, Any], location: models.ImageLocation) -> None:
    with db.transaction() as session:
        if notifications.enabled:
            notifications.image(session, "image.upload", image_id)
        if not statuses.move_image(session, image_id, "saving", "active", lost_ok=True, **columns):
            raise errors.Gone(_DELETED.format(image_id))
        location.image_id = image_id
        session.add(location)
        if not config.CONF.gantry.staging_is_shared:
            hosts.unmark(session, image_id)
        if quota.enabled:
            quota.settle(session, image_id)


def _meter(
    allowed: quota.Ceilings,
    image_id: str,
    size: int | None,
    *,
    copies: int = 0,
    staged: bool = False,
) -> Callable[[int], None]:
    """What is told of the bytes that arrive; an upload that did not say its length may pass a limit a bit."""
    beyond = quota.UNSAID if size is None else 0
    meter = quota.Meter(
        allowed, image_id, copies=copies, staged=staged, reserved=size or 0, beyond=beyond
    )
    return meter.arrived


def give_back(image_id: str, was: str, files: staging.Upload | None = None) -> bool:
    """Undo the begin of an upload that has failed or died: back to `queued`, nothing in staging or a store.

    False where the image is no longer what it `was`: then nothing is changed, but for what has arrived for
    an image that was deleted meanwhile. Nor is anything where the upload whose `files` these are was given
    back before, and another one has begun.
    """
    with db.transaction() as session:
        if files and (hosts.is_marked_elsewhere(session, image_id) or files.is_superseded()):
            return False
        back = statuses.move_image(session, image_id, was, "queued", lost_ok=True)
        there = sa.select(models.Image.id).where(
            models.Image.id == image_id, models.Image.deleted.is_(False)
        )
        if back and not config.CONF.gantry.staging_is_shared:
            hosts.unmark(session, image_id)
        if back or session.scalars(there).first() is None:
            staging.remove(image_id)  # before the commit: after it, the next upload may have begun
        if back and was == "saving":
            leftovers.discard(image_id)
    return back
