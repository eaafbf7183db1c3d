"""Locations that are added by POST: asked for, recorded by a worker, digested (contract section 2.11).

Such a task is of the type `location_import`. With a digest to compare with, the image is `importing` while
its data are read, and becomes `active` only if they are the right ones. Without one it is `active` as soon as
its store has confirmed the location, and the digest follows; where that cannot be made, the image stays as it
is. With `do_secure_hash = false` the data are not read at all.

Each write of a worker is fenced (`images.leases`).
"""

import contextlib
import dataclasses
import logging
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    config,
    context,
    db,
    digests,
    errors,
    import_requests,
    imports,
    leases,
    locations,
    models,
    pipeline,
    policy,
    quota,
    readahead,
    statuses,
    store_urls,
    stores,
    tasks,
    urls,
)

LOG = logging.getLogger(__name__)

KIND = "location_import"
#: The queue of its jobs: they wait for the network.
QUEUE = "fetch"
#: Names the store of a location that was refused, which the record shows as Glance does: Tempest wants to see
#: it. The location itself is gone. Hidden, as the marks of other Glances are.
REFUSED = "os_glance_refused_store"
_ALGORITHMS = ("sha1", "sha256", "sha512", "md5")
_LENGTH = 2048
_USABLE = imports.USABLE


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """The body of POST /locations."""

    url: str
    #: os_hash_algo and os_hash_value, or nothing.
    validation: dict[str, str]


def parse(body: Any) -> Request:
    """Judge the shape of the body.

    Raises:
        Invalid: it is wrong.
    """
    if not isinstance(body, dict) or not isinstance(body.get("url"), str):
        raise errors.Invalid("The body must be an object with a member url")
    url = body["url"]
    if not 0 < len(url) <= _LENGTH or not re.fullmatch("[!-~]+", url):
        raise errors.Invalid(f"A url has 1 to {_LENGTH} characters of ASCII, none of them a space")
    try:
        urllib.parse.urlsplit(url)
    except ValueError as error:
        raise errors.Invalid("The url is not a valid URL") from error
    validation = body.get("validation_data", {})
    names = {"os_hash_algo", "os_hash_value"}
    if not isinstance(validation, dict) or validation.keys() not in (set(), names):
        raise errors.Invalid("validation_data holds os_hash_algo and os_hash_value, or nothing")
    if validation and validation["os_hash_algo"] not in _ALGORITHMS:
        raise errors.Invalid(f"os_hash_algo must be one of {', '.join(_ALGORITHMS)}")
    if not all(isinstance(value, str) for value in validation.values()):
        raise errors.Invalid("os_hash_value must be a text")
    return Request(url, validation)


def start(
    session: orm.Session, asker: context.Context, image: models.Image, wanted: Request
) -> models.Task:
    """Take the image's lock and write down the task that a worker will take from `QUEUE`.

    The image was locked by `catalog.get` and has its properties loaded; it stays as it is for now.

    Raises:
        Conflict: the image is not `queued`, or another task holds it.
        Forbidden: the asker may not; or may not name such a URL.
        Invalid: the URL is refused, or the digest is none.
    """
    if image.status != "queued":
        raise errors.Conflict(
            f"It's not allowed to add locations if image status is {image.status}."
        )
    policy.enforce(asker, "add_image_location", image)
    _check_url(asker, wanted.url)
    if wanted.validation:
        locations.check_digest(
            "os_hash_value",
            wanted.validation["os_hash_value"].lower(),
            wanted.validation["os_hash_algo"],
        )
    locations.check_formats(image)
    import_requests.check_lock(session, image)
    document = {
        "image_id": image.id,
        "loc_url": wanted.url,
        "validation_data": wanted.validation,
    }
    task = tasks.add(session, asker, KIND, document, queue=QUEUE, image_id=image.id)
    import_requests.mark(session, image, {imports.LOCK: task.id})
    return task


def _check_url(asker: context.Context, url: str) -> None:
    is_web = store_urls.is_web(url)
    is_service = policy.allowed(asker, "service_api")
    if not is_service and not (is_web and stores.has_web_store()):
        raise errors.Forbidden("http store must be enabled to use location API by normal user.")
    if is_web:
        try:
            urls.check(url)
        except errors.Invalid as error:
            raise errors.Invalid(
                f"URI for add location does not pass filtering: {error}"
            ) from error
    stores.holder_of(url)


def algorithm(plan: imports.Plan) -> str | None:
    """What the data are digested with besides MD5; None where they are not read."""
    if not config.CONF.do_secure_hash:
        return None
    said: dict[str, str] = plan.fields.get("validation_data") or {}
    return said.get("os_hash_algo") or str(config.CONF.hashing_algorithm)


def size(plan: imports.Plan) -> int:
    """The bytes behind a task's location, as its store says.

    Raises:
        ImportFailed: it has no such data, or they are on a web server and over `image_size_cap`.
    """
    try:
        row = _row(plan)
        found = locations.size_of(row.value, row.meta_data)
    except errors.Invalid as error:
        raise errors.ImportFailed(str(error)) from error
    cap, is_web = config.CONF.image_size_cap, store_urls.is_web(row.value)
    if is_web and found > cap:
        raise errors.ImportFailed(f"The data are larger than image_size_cap, {cap} bytes")
    return found


def place(plan: imports.Plan, size: int) -> None:
    """Write down what the store has said of a location: `importing` where a digest decides, else `active`.

    A second time it changes nothing.

    Raises:
        Abandoned: another worker has the task.
        ImportFailed: the image is no longer waiting for the location.
        Invalid: it does not say any more what its data are.
        LimitExceeded: the owner would have too many bytes.
    """
    said: dict[str, str] = plan.fields.get("validation_data") or {}
    name = algorithm(plan)
    hashes = {"os_hash_algo": name} if name else said
    to = "importing" if name and said else "active"
    allowed = quota.for_worker(plan.image_id)
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        statuses.hold_image(session, plan.image_id)
        locations.check_formats(session.get_one(models.Image, plan.image_id))
        is_later = to == "importing"
        locations.check_quota(session, allowed, plan.image_id, size, keep=is_later)
        if statuses.move_image(
            session, plan.image_id, "queued", to, lost_ok=True, size=size, **hashes
        ):
            if to == "active":
                session.add(_row(plan))
        elif not _is_placed(session, plan):
            raise errors.ImportFailed("The image was given data in another way, or was deleted")


def _is_placed(session: orm.Session, plan: imports.Plan) -> bool:
    """Whether an earlier attempt has written the location down."""
    query = sa.select(models.Image.status).where(
        models.Image.id == plan.image_id, models.Image.deleted.is_(False)
    )
    status, rows = session.scalars(query).one_or_none(), models.ImageLocation
    if plan.lease.attempt == 1 or status not in ("importing", *_USABLE):
        return False
    there = sa.select(rows.id).where(
        rows.image_id == plan.image_id,
        rows.value == plan.fields["loc_url"],
        rows.status == "active",
        rows.deleted.is_(False),
    )
    return status == "importing" or session.scalars(there).first() is not None


def _row(plan: imports.Plan) -> models.ImageLocation:
    url = plan.fields["loc_url"]
    store_id = stores.holder_of(url)
    metadata = {"store": store_id} if store_id else {}
    return models.ImageLocation(image_id=plan.image_id, value=url, meta_data=metadata)


def digest(
    plan: imports.Plan, size: int, on_bytes: Callable[[int], object]
) -> dict[str, str] | None:
    """Read a location's data and digest them: checksum, os_hash_algo and os_hash_value.

    Broken reads are tried again, `http_retries` times in all. None where nothing is to be digested, and
    where that fails although the image is `active` already. `on_bytes` is told the bytes of this try.

    Raises:
        ImportFailed: the data cannot be read, or are not those whose digest was given.
    """
    name = algorithm(plan)
    if name is None:
        return None
    said: dict[str, str] = plan.fields.get("validation_data") or {}
    for tries_left in reversed(range(max(1, config.CONF.http_retries))):
        try:
            found = _read(plan, size, name, on_bytes)
        except (errors.NotFound, errors.Unavailable) as error:
            LOG.info("Task %s: the location cannot be read: %s", plan.lease.task_id, error)
            if not tries_left and said:
                raise errors.ImportFailed(f"The location cannot be read: {error}") from error
            continue
        if said and said["os_hash_value"].lower() != found["os_hash_value"]:
            raise errors.ImportFailed(
                f"os_hash_value: the {name} of the location's data is not the one that was given"
            )
        return found
    return None


def _read(
    plan: imports.Plan, size: int, name: str, on_bytes: Callable[[int], object]
) -> dict[str, str]:
    """One try."""
    data = readahead.Pieces(lambda: stores.open_location(_row(plan)).read_range(0, size))
    made, done = digests.Digests(*digests.of_record(name)), 0
    ahead = readahead.ReadAhead(data, lambda: on_bytes(done))
    with pipeline.Pipeline(made.takers) as line, ahead as source:
        while piece := source.read():
            done += len(piece)
            line.send(piece)
            on_bytes(done)
        line.finish()
    if done != size:
        raise errors.Unavailable(f"{done} bytes came, but its store had promised {size}")
    return digests.columns(made.values(), name)


def accept(plan: imports.Plan, size: int, digest: dict[str, str] | None) -> None:
    """End the task well: image `active`, its digest recorded, lock gone, task `success`.

    Where a digest was to be made and there is none, the record has none, and the task says so.

    Raises:
        Stopped: the image was deleted; nothing is changed.
        Abandoned: another worker has the task; nothing is changed.
    """
    hashes: dict[str, str | None] = dict(digest or {})
    message = f"Added a location of {size >> 20} MiB"
    if algorithm(plan) and not digest:
        hashes = {"os_hash_algo": None}
        message += "; its data could not be read, so there is no hash"
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        moved = statuses.move_image(
            session, plan.image_id, "importing", "active", lost_ok=True, **hashes
        )
        if moved:
            session.add(_row(plan))
        elif not statuses.keep_image(session, plan.image_id, *_USABLE, **hashes):
            raise errors.Stopped("The image was deleted while its location was added")
        _end(session, plan, "success", message, {"image_id": plan.image_id})


def fail(plan: imports.Plan, cause: str) -> None:
    """End the task badly: image `queued` again and nothing known of it, lock gone, task `failure`.

    An image that is active stays so, without a digest.

    Raises:
        Abandoned: another worker has the task; nothing is changed.
    """
    nothing = {"checksum": None, "os_hash_algo": None, "os_hash_value": None}
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        statuses.hold_image(session, plan.image_id)
        if statuses.move_image(
            session, plan.image_id, "importing", "queued", lost_ok=True, **nothing
        ):
            _remember_store(session, plan)
        else:
            _forget_algorithm(session, plan)
        _end(session, plan, "failure", cause)


def _forget_algorithm(session: orm.Session, plan: imports.Plan) -> None:
    image = session.get(models.Image, plan.image_id)
    if image and not image.deleted and image.status in _USABLE and not image.os_hash_value:
        image.os_hash_algo = None


def _remember_store(session: orm.Session, plan: imports.Plan) -> None:
    store_id = None
    with contextlib.suppress(errors.Invalid):
        store_id = stores.holder_of(plan.fields["loc_url"])
    if store_id:
        options = [orm.selectinload(models.Image.property_rows)]
        image = session.get_one(models.Image, plan.image_id, options=options)
        image.set_property(REFUSED, store_id)


def _end(
    session: orm.Session,
    plan: imports.Plan,
    status: str,
    message: str,
    result: dict[str, str] | None = None,
) -> None:
    imports.unlock(session, plan, failed=False)
    leases.release(session, plan.lease)
    statuses.end_task(session, plan.lease.task_id, status, message, result)
