"""Bytes that come through the API: into staging (PUT /stage), or straight into a store (PUT /file).

Two short transactions stand around the bytes, none stays open while they move. Whatever goes wrong, the
image goes back to `queued` and nothing is left of what had arrived.
"""

from typing import Any

from images import (
    catalog,
    context,
    db,
    errors,
    formats,
    models,
    policy,
    staging,
    statuses,
    stores,
)


def stage(
    ctx: context.Context, image_id: str, body: staging.Source, *, size_hint: int | None
) -> None:
    """Receive an image's bytes into staging, where they wait for an import (contract section 2.4).

    Raises:
        NotFound, Forbidden: the caller may not; or the image was deleted meanwhile.
        Conflict: the image is not `queued`.
        SizeMismatch, LimitExceeded, StorageFull, Unavailable: the bytes could not be taken.
    """
    image = _begin(ctx, image_id, "modify_image", "uploading")
    digest = staging.is_stored_as_it_is(image.disk_format)
    try:
        facts = staging.receive(image_id, body, digest=digest, size=size_hint)
        with db.transaction() as session:
            if not statuses.keep_image(session, image_id, "uploading", size=facts.size):
                raise errors.Gone
    except errors.Gone as error:
        staging.remove(image_id)
        raise errors.NotFound(f"Image {image_id} was deleted while it was staged") from error
    except BaseException:
        _give_back(image_id, "uploading")
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
        Invalid: a format is not set, or the store is not known.
        Conflict: the image is not `queued`.
        Gone: the image was deleted meanwhile.
        UnacceptableFormat: the bytes are not what `disk_format` says, or are unsafe.
        SizeMismatch, LimitExceeded, StorageFull, Unavailable: the bytes could not be taken.
    """
    store_id = _chosen(store)
    image = _begin(ctx, image_id, "upload_image", "saving")
    try:
        facts = staging.receive(image_id, body, digest=True, size=size_hint)
        virtual = formats.check(facts.inspection, image.disk_format, image.container_format)
        columns = (facts.digest or {}) | {"size": facts.size, "virtual_size": virtual}
        url, metadata = stores.add(store_id, image_id, staging.path(image_id))
        try:
            _activate(image_id, columns, models.ImageLocation(value=url, meta_data=metadata))
        except BaseException:
            stores.delete(url, metadata)
            raise
    except BaseException:
        _give_back(image_id, "saving")
        raise
    staging.remove(image_id)


def _begin(ctx: context.Context, image_id: str, rule: str, status: str) -> models.Image:
    with db.transaction() as session:
        image = catalog.get(session, ctx, image_id, parts=())
        policy.enforce(ctx, rule, image)
        if image.status != "queued":
            raise errors.Conflict(f"Image {image_id} is {image.status}; data go to a queued image")
        if status == "saving":
            _check_formats(image)
        statuses.move_image(session, image_id, "queued", status)
        return image


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


def _activate(image_id: str, columns: dict[str, Any], location: models.ImageLocation) -> None:
    with db.transaction() as session:
        if not statuses.move_image(session, image_id, "saving", "active", lost_ok=True, **columns):
            raise errors.Gone(f"Image {image_id} was deleted while it was uploaded")
        location.image_id = image_id
        session.add(location)


def _give_back(image_id: str, status: str) -> None:
    """Undo the begin: staging empty, status back to `queued` unless the image was deleted."""
    staging.remove(image_id)
    with db.transaction() as session:
        statuses.move_image(session, image_id, status, "queued", lost_ok=True)
