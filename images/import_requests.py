"""How an import is asked for: the checks of POST /import, in the contract's order, and what they write down.

Contract section 2.5. The first check that fails answers; nothing is written before the last one has passed.
"""

import contextlib
import dataclasses
import datetime
import threading
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc, orm

from images import (
    catalog,
    checksums,
    config,
    context,
    db,
    errors,
    hosts,
    imports,
    methods,
    models,
    policy,
    quota,
    removal,
    signatures,
    statuses,
    stores,
    tasks,
)

#: Properties that say something of the bytes which are to come.
_ASKING = {checksums.PROPERTY, *signatures.PROPERTIES}
#: Seconds after which one does not wait any more for those before it: they may be waiting for a lock.
_COURTESY = 0.5


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """The body of POST /import, judged as far as it can be without the image."""

    method: methods.Method
    fields: dict[str, Any]
    #: The header X-Image-Meta-Store.
    header_store: str | None
    every_store: bool
    #: As it came; the task shows it.
    body: dict[str, Any]
    #: Whether the image has its bytes already.
    is_copy: bool
    #: What the bytes must digest to, as the body says (`images.checksums`).
    expected: dict[str, str]
    #: Of the image, once it was read (`images.signatures.read`).
    signature: signatures.Signature | None = None


def parse(body: Any, header_store: str | None) -> Request:
    """Judge the shape of the body.

    Raises:
        Invalid: the shape, the method or a flag is wrong.
    """
    fields = body.get("method") if isinstance(body, dict) else None
    if not isinstance(fields, dict) or "name" not in fields:
        raise errors.Invalid("The body must be an object with a member method that has a name")
    method = methods.get(fields["name"])
    # Glance refuses all_stores_must_succeed = false where there is one store, and `openstack image import`
    # always says it, to find nothing done and no error shown. With one store it means the same as true.
    for flag in ("all_stores", "all_stores_must_succeed"):
        if not isinstance(body.get(flag, False), bool):
            raise errors.Invalid(f"'{flag}' must be boolean value only")
    is_copy = method.name == imports.COPY
    expected = checksums.of_method(fields) if checksums.MEMBER in fields else {}
    if is_copy and expected:
        raise errors.Invalid(
            f"'{checksums.MEMBER}' is for data that come; a copy is held against the image's own checksum"
        )
    all_stores = body.get("all_stores", False)
    return Request(method, fields, header_store, all_stores, body, is_copy, expected)


def _check_image(image: models.Image, request: Request) -> None:
    """Judge whether the image is in a state to be imported into.

    Raises:
        Conflict: its status or its formats do not allow this method.
        Invalid: the method lacks something that it must be told.
    """
    method = request.method
    if image.status not in method.accepts:
        raise errors.Conflict(
            f"Image is {image.status}; {method.name} needs it {' or '.join(method.accepts)}"
        )
    for column in ("container_format", "disk_format"):
        if getattr(image, column) is None and not (column == "disk_format" and _is_told(image)):
            raise errors.Conflict(f"'{column}' needs to be set before import")
    method.check(request.fields)
    if image.status == "uploading" and image.size is None:
        # To begin would fail, and give the image back to be filled anew while these bytes still come.
        raise errors.Conflict(f"The data of image {image.id} are still being staged")


def _is_told(image: models.Image) -> bool:
    """Whether its bytes will tell its disk_format: those of other containers are not looked at."""
    return config.CONF.gantry.detect_disk_format and image.container_format == "bare"


def ask(
    asker: context.Context,
    image_id: str,
    wanted: Request,
    *,
    turn: threading.Semaphore | None = None,
) -> models.Task | None:
    """Begin an import: load, check, and write down in one transaction the task that a worker will take.

    None where nothing is to be done. Those that share a `turn` come one after another.

    Raises:
        NotFound, Forbidden: the caller may not see the image, or not do this with it.
        Conflict, Invalid, LimitExceeded: it cannot be done now, or is refused.
    """
    allowed = quota.for_asker(asker, image_id) if quota.enabled else None
    while True:
        try:
            with contextlib.ExitStack() as until_written:
                if turn and turn.acquire(timeout=_COURTESY):
                    until_written.callback(turn.release)
                session = until_written.enter_context(db.transaction())
                image = catalog.get(session, asker, image_id, parts=("properties",), lock=True)
                if allowed:
                    quota.check_stored(session, allowed)
                # The contract puts the state before the permission: who sees the image sees its status too.
                _check_image(image, wanted)
                policy.enforce(asker, wanted.method.rule, image)
                return _start(session, asker, image, wanted, allowed)
        except signatures.Unread as unread:  # the key manager is asked while no transaction is open
            wanted = dataclasses.replace(wanted, signature=signatures.read(asker, unread.claim))


def _start(
    session: orm.Session,
    asker: context.Context,
    image: models.Image,
    request: Request,
    allowed: quota.Ceilings | None = None,
) -> models.Task | None:
    """Take the image's lock and write down the task that a worker will take; None: nothing is to be done.

    An import makes the image `importing`; a copy leaves it as it is. `allowed` is what the image's owner may
    have: bytes that are known are reserved.

    Raises:
        Conflict: another task holds the image, or a store is named that takes no data.
        Invalid: the choice of stores, where the bytes are to come from, or what they must digest to, is
            refused.
        Unread: the image is signed, and the request does not have its signature yet. Roll back, read it, and
            start again.
    """
    check_lock(session, image)
    chosen = _chosen(request)
    if request.is_copy and not (chosen := _missing(session, image, request, chosen)):
        return None
    origin = request.method.origin(asker, request.fields)
    asks = request.expected or not _ASKING.isdisjoint(image.property_rows)
    promised = _promised(image, request) if asks and not request.is_copy else {}
    queue = request.method.queue
    if not config.CONF.gantry.staging_is_shared:  # that of the host with the staged bytes
        queue = hosts.queue_for(image, queue)
    image.property_rows.pop(hosts.MARK, None)  # from now on the task says where they are
    if allowed:
        quota.admit_import(session, allowed, image, stores=len(chosen))
    if not request.is_copy:
        statuses.move_image(session, image.id, image.status, "importing")
    backends = chosen if stores.multi() else [None]
    document = {"image_id": image.id, "import_req": request.body, "backend": backends}
    document |= promised
    task = tasks.add(session, asker, "api_image_import", document, queue=queue, image_id=image.id)
    if origin is not None:
        session.add(models.TaskSecret(task_id=task.id, value=origin))
    marks = {imports.LOCK: task.id, imports.IMPORTING_TO: "", imports.FAILED: ""}
    if stores.multi():  # one store has no name to show
        marks[imports.IMPORTING_TO] = stores.listed(chosen)
        if request.is_copy:  # else the stores that failed before failed with other data
            marks[imports.FAILED] = _still_failed(image, chosen)
    mark(session, image, marks)
    return task


def _promised(image: models.Image, request: Request) -> dict[str, Any]:
    """What the task's input says besides of the bytes that are to come."""
    said = checksums.of_property(image.properties)
    promised: dict[str, Any] = {}
    if expected := checksums.agreed(request.expected, said):
        promised[imports.EXPECTED] = expected
    if claim := signatures.claim_of(image.properties):
        if request.signature is None or request.signature.claim != claim:
            raise signatures.Unread(claim)
        promised[imports.SIGNATURE] = dataclasses.asdict(request.signature)
    return promised


def check_lock(session: orm.Session, image: models.Image) -> None:
    """Let nobody in beside a task that is alive; what one that is no more has left behind is no lock.

    Raises:
        Conflict: such a task holds the image.
    """
    holder = image.property_rows.get(imports.LOCK)
    if holder is None:
        return
    if holder.value and tasks.is_live(session, holder.value):
        raise errors.Conflict(
            f"New operation on image '{image.id}' is not permitted as prior operation is still in progress"
        )
    del image.property_rows[imports.LOCK]  # so that ours is inserted: of two that try, one can


def _chosen(request: Request) -> list[str]:
    if not stores.multi():
        return [stores.default_id()]
    named, header = request.body.get("stores"), request.header_store
    if request.every_store:
        if header or named is not None:
            raise errors.Invalid("all_stores must not come with a choice of stores")
        return stores.writable()
    if header and named is not None:
        raise errors.Invalid("Stores are chosen by the header or by the body, not by both")
    chosen = [header or stores.default_id()] if named is None else named
    if not isinstance(chosen, list) or not chosen or not all(isinstance(s, str) for s in chosen):
        raise errors.Invalid("stores must be a list of at least one store's id")
    unknown = sorted(set(chosen) - set(stores.writable()))
    if unknown:
        raise errors.Conflict(f"There is no store {unknown[0]} that takes data")
    return list(dict.fromkeys(chosen))


def _missing(
    session: orm.Session, image: models.Image, request: Request, chosen: list[str]
) -> list[str]:
    """Those of the stores that do not hold the image.

    Raises:
        Invalid: a store that holds it was named.
        Conflict: its data are being removed from one at this moment.
    """
    rows = models.ImageLocation
    query = sa.select(
        rows.value, rows.meta_data, rows.status, rows.created_at, rows.updated_at
    ).where(rows.image_id == image.id, rows.deleted.is_(False))
    young = db.now() - datetime.timedelta(seconds=removal.ABANDONED)
    holders, leaving = set(), set()
    for row in session.execute(query):
        if row.status == "active":
            holders.add(stores.id_of(row.value, row.meta_data))
        elif row.status == "pending_delete" and (row.updated_at or row.created_at) > young:
            leaving.add(stores.id_of(row.value, row.meta_data))
    held = [name for name in chosen if name in holders]
    if held and not request.every_store:
        raise errors.Invalid(f"Image is already present at store '{held[0]}'")
    if left := leaving.intersection(chosen) - holders:  # a late removal would take the copy
        raise errors.Conflict(
            f"The data of image {image.id} are being removed from store '{min(left)}'; try again later"
        )
    return [name for name in chosen if name not in holders]


def _still_failed(image: models.Image, chosen: list[str]) -> str:
    """Failed stores of earlier copies that this one does not try again."""
    before = image.properties.get(imports.FAILED, "").split(",")
    return stores.listed({name for name in before if name} - set(chosen))


def mark(session: orm.Session, image: models.Image, marks: dict[str, str]) -> None:
    """Set properties of ours: in one statement, but for those that an earlier task has left.

    Raises:
        Conflict: another request was faster.
    """
    new = []
    for name, value in marks.items():
        if name in image.property_rows:
            image.set_property(name, value)
        else:
            new.append({"image_id": image.id, "name": name, "value": value})
    try:
        session.flush()
        if new:
            session.execute(sa.insert(models.ImageProperty), new)
    except exc.IntegrityError as error:  # of two locks, the second one has no room
        raise errors.Conflict(f"Image {image.id} is being imported already") from error
