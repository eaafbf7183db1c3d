"""What an import needs of its owner's limits: claimed by a worker before it spends it (`images.quota`)."""

from images import imports, methods, quota, staging


def claim(plan: imports.Plan, size: int | None, *, stage: int | None = None) -> None:
    """Reserve for an image of `size` bytes (None: it is not known yet), and `stage` bytes in staging.

    Raises:
        LimitExceeded: there is no room; the text names the limit.
        Gone: the image was deleted.
        Unavailable: the identity service does not tell the limits.
    """
    allowed = quota.for_worker(plan.image_id)
    if allowed is not None:
        store = None if size is None else size * _copies(plan)
        quota.claim(allowed, plan.image_id, store=store, stage=stage)


def meter(plan: imports.Plan, disk_format: str | None) -> quota.Meter | None:
    """What is to be told of the bytes that a method brings; None where nothing limits them.

    Bytes that will be converted count in staging only: how many will be stored is not known yet.

    Raises:
        Unavailable: the identity service does not tell the limits.
    """
    if "uploading" in methods.named(plan.method).accepts:  # they are there, and counted
        return None
    allowed = quota.for_worker(plan.image_id)
    if allowed is None:
        return None
    copies = _copies(plan) if staging.is_stored_as_it_is(disk_format) else 0
    return quota.Meter(allowed, plan.image_id, copies=copies, staged=True)


def output_meter(plan: imports.Plan, disk_format: str | None, source: int) -> quota.Meter | None:
    """What is to be told of the bytes that a plugin makes of a staged file, whose `source` bytes stay there.

    Raises:
        Unavailable: the identity service does not tell the limits.
    """
    allowed = quota.for_worker(plan.image_id)
    if allowed is None:
        return None
    copies = _copies(plan) if staging.is_stored_as_it_is(disk_format) else 0
    return quota.Meter(allowed, plan.image_id, copies=copies, staged=True, beside=source)


def _copies(plan: imports.Plan) -> int:
    """Locations that the image will have: those that it has, and one for each store that is still to come."""
    return len(imports.original_of(plan).places.keys() | set(plan.stores))
