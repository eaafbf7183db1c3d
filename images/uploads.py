"""Bytes that come through the API: into staging (PUT /stage), or straight into a store (PUT /file).

Two short transactions stand around the bytes, none stays open while they move. Whatever goes wrong, the
image goes back to `queued` and nothing is left of what had arrived.
"""

import contextlib
from collections.abc import Iterator

from images import (
    catalog,
    context,
    db,
    digests,
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
        with _given_back(image, "uploading"):
            facts = staging.receive(image.id, body, digest=digest)
            _check_size(facts.size, size_hint)
            with db.transaction() as session:
                if not statuses.keep_image(session, image.id, "uploading", size=facts.size):
                    raise errors.Gone
    except errors.Gone as error:
        raise errors.NotFound(f"Image {image.id} was deleted while it was staged") from error


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
    with _given_back(image, "saving"):
        facts = staging.receive(image.id, body, digest=True)
        _check_size(facts.size, size_hint)
        virtual = formats.check(facts.inspection, image.disk_format, image.container_format)
        url, metadata = stores.add(store_id, image.id, staging.path(image.id))
        with _removed_on_error(url, metadata):
            _activate(image, facts, virtual, models.ImageLocation(value=url, meta_data=metadata))
    staging.remove(image.id)


def _begin(ctx: context.Context, image_id: str, rule: str, status: str) -> models.Image:
    with db.transaction() as session:
        image = catalog.get(session, ctx, image_id, parts=())
        policy.enforce(ctx, rule, image)
        if image.status != "queued":
            raise errors.Conflict(f"Image {image_id} is {image.status}; data go to a queued image")
        if status == "saving":
            _check_formats(image)
        statuses.move_image(session, image, status)
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


def _check_size(size: int, size_hint: int | None) -> None:
    if size_hint is not None and size != size_hint:
        raise errors.SizeMismatch(f"The request promised {size_hint} bytes, but {size} arrived")


def _activate(
    image: models.Image, facts: staging.Facts, virtual: int | None, location: models.ImageLocation
) -> None:
    columns = (facts.digest or _no_digest()).columns()
    with db.transaction() as session:
        moved = statuses.try_move_image(
            session, image.id, "saving", "active", size=facts.size, virtual_size=virtual, **columns
        )
        if not moved:
            raise errors.Gone(f"Image {image.id} was deleted while it was uploaded")
        location.image_id = image.id
        session.add(location)


def _no_digest() -> digests.Digest:
    raise errors.Unavailable("The digest of the data is missing")  # receive(digest=True) made one


@contextlib.contextmanager
def _given_back(image: models.Image, status: str) -> Iterator[None]:
    """Undo the begin where the block fails: status back to `queued`, staging empty."""
    try:
        yield
    except BaseException:
        staging.remove(image.id)
        with db.transaction() as session:
            statuses.try_move_image(session, image.id, status, "queued")
        raise


@contextlib.contextmanager
def _removed_on_error(url: str, metadata: dict[str, str]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        stores.delete(url, metadata)
        raise
