"""What an import does to the records: taken by a worker, recorded store by store, ended well or badly.

The bytes are `flows`' business; how an import is asked for is `images.import_requests`'. Each function here
is one transaction or part of one, and each write of a worker is fenced: it counts only while the worker
still holds the task's lease (`images.leases`).
"""

import dataclasses
import logging
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm

from images import (
    checksums,
    config,
    context,
    db,
    errors,
    hosts,
    leases,
    models,
    notifications,
    policy,
    properties,
    removal,
    signatures,
    staging,
    statuses,
    stores,
    turns,
)

LOG = logging.getLogger(__name__)

LOCK = "os_glance_import_task"
IMPORTING_TO = "os_glance_importing_to_stores"
FAILED = "os_glance_failed_import"
#: The member of a task's input that says what its bytes must digest to, where that was asked for.
EXPECTED = "expected_checksums"
#: That which says what they are signed by (`images.signatures`).
SIGNATURE = "signature"

#: The kind of work that leaves an image as it is and only gives it more locations.
COPY = "copy-image"
#: Statuses in which an image can be used, and stays what it is.
USABLE = ("active", "deactivated")


#: Kinds of work that put bytes into staging, which only one host may see.
_STAGED = ("api_image_import", "import")
#: Methods of the types of tasks whose request names none.
_METHODS = {"import": "web-download", "location_import": ""}


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a worker needs to know to do a task."""

    lease: leases.Lease
    #: Which flow does it: the task's type, or `COPY`.
    kind: str
    image_id: str
    #: Where the bytes come from; "" where no method brings them.
    method: str
    #: What the method is told: the request's member `method`, or the whole input of another type of task.
    fields: dict[str, Any]
    stores: list[str]
    must_succeed: bool
    #: The project that asked.
    owner: str
    #: Why it must not go on, in words; "" where it may.
    refusal: str
    disk_format: str | None
    container_format: str | None
    #: What the fetched bytes must digest to, by algorithm (`images.checksums`).
    expected: dict[str, str] = dataclasses.field(default_factory=dict)
    #: What the bytes that will be stored must be signed by; None where the image is not signed.
    signature: signatures.Signature | None = None
    #: Whether something is kept for it that nobody may see (`images.task_secrets`).
    has_secret: bool = False

    def algorithms(self, disk_format: str | None) -> tuple[str, ...]:
        """Digests that fetched bytes of this format need beside the record's, by hashlib's names."""
        wanted = set(self.expected)
        if self.signature and staging.is_stored_as_it_is(disk_format):
            wanted.add(self.signature.algorithm)
        return tuple(sorted(wanted))


@dataclasses.dataclass(frozen=True, slots=True)
class Original:
    """An active image's data, as the record has them, to be copied."""

    size: int
    #: checksum, os_hash_algo and os_hash_value, as far as they are known.
    digest: dict[str, str]
    #: Stores by their ids, and where in them the data are.
    places: dict[str, models.ImageLocation]


def begin(task_id: str, worker: str, *, by_force: bool = False) -> Plan | None:
    """Take a task over for `worker`; None where it is done, in other hands, or waits for its turn.

    `by_force` takes it from whoever has it: that one can write no more, and leaves at its next heartbeat.
    """
    with db.transaction() as session:
        limited = config.CONF.gantry.imports_per_project and not by_force
        if limited and not turns.admit(session, task_id):
            return None
        is_shared = config.CONF.gantry.staging_is_shared or by_force
        if not is_shared and hosts.is_elsewhere(_queue(session, task_id)):
            return None  # a bell of long ago: the task has gone to another host since
        lease = leases.take(session, task_id, worker, by_force=by_force)
        if lease is None:
            return None
        keeps = sa.exists().where(models.TaskSecret.task_id == models.Task.id)
        query = (
            sa.select(models.Task, models.Image, keeps)
            .outerjoin(models.Image, models.Image.id == models.Task.image_id)
            .where(models.Task.id == task_id)
            .options(orm.joinedload(models.Task.info), orm.joinedload(models.Task.run))
        )
        task, image, has_secret = session.execute(query).one()
        if task.status == "pending":
            statuses.move_task(session, task_id, "pending", "processing")
            if notifications.enabled:
                notifications.task(session, "task.run", task_id)
        if task.image_id is None:  # the image that a legacy task will make
            task.image_id = str(uuid.uuid4())
        plan = dataclasses.replace(_plan(lease, task, image), has_secret=bool(has_secret))
        if task.run and not is_shared and plan.kind in _STAGED:
            task.run.queue = hosts.bind(task.run.queue)
        return plan


def _queue(session: orm.Session, task_id: str) -> str:
    query = sa.select(models.TaskRun.queue).where(models.TaskRun.task_id == task_id)
    return session.scalars(query).first() or ""


def _plan(lease: leases.Lease, task: models.Task, image: models.Image | None) -> Plan:
    document = task.info.input or {}
    request: dict[str, Any] = {"method": document}
    chosen: list[str | None] = []
    expected: dict[str, str] = {}
    signature = None
    if task.type == "api_image_import":
        request, chosen = document["import_req"], document["backend"]
        expected = document.get(EXPECTED, {})
        if kept := document.get(SIGNATURE):
            signature = signatures.Signature(**kept)
    elif task.type == "import":
        request = {"method": document | {"uri": document.get("import_from")}}
        expected = checksums.of_property(document.get("image_properties"))
    fields = request["method"]
    method = _METHODS.get(task.type, fields.get("name", ""))
    # An import whose image an earlier attempt has made active goes on as a copy: what is stored stays.
    is_active = image is not None and image.status in USABLE
    is_copy = method == COPY or (task.type == "api_image_import" and is_active)
    return Plan(
        lease=lease,
        kind=COPY if is_copy else task.type,
        image_id=str(task.image_id),
        method=method,
        fields=fields,
        stores=list(filter(None, chosen)) or [stores.default_id()],
        must_succeed=request.get("all_stores_must_succeed", True) or not stores.multi(),
        owner=task.owner,
        refusal=_refusal(task, image),
        disk_format=image.disk_format if image else None,
        container_format=image.container_format if image else None,
        expected=expected,
        signature=signature,
    )


def _refusal(task: models.Task, image: models.Image | None) -> str:
    most = config.CONF.gantry.max_attempts
    if task.run and task.run.deaths >= most:
        return f"It was given up: its worker died {most} times"
    if image is not None and not _is_wanted(image):
        return "The image was deleted"
    if image is not None and image.status == "importing":  # until now formats could be unset
        told = config.CONF.gantry.detect_disk_format and image.container_format == "bare"
        needed = ["container_format"] if told else ["container_format", "disk_format"]
        for column in (name for name in needed if getattr(image, name) is None):
            return f"The image's {column} was unset after the import had been asked for"
    return ""


def asker_of(plan: Plan) -> context.Context:
    """Who asked for a task, as far as its record knows; whether it is an administrator, policy says."""
    with db.reading() as session:
        task = session.get_one(
            models.Task, plan.lease.task_id, options=[orm.joinedload(models.Task.run)]
        )
    return asker_as_recorded(task)


def asker_as_recorded(task: models.Task) -> context.Context:
    """The same for a task that was read with its run."""
    asker = context.Context(
        user_id=task.user_id,
        project_id=task.owner or None,
        owner=task.owner or None,
        roles=tuple((task.run.roles if task.run else None) or ()),
        is_admin=False,
        request_id=task.request_id or "",
    )
    return dataclasses.replace(asker, is_admin=policy.allowed(asker, "context_is_admin"))


def stored(
    plan: Plan,
    store_id: str,
    place: tuple[str, dict[str, str]],
    staged: dict[str, Any],
    digest: dict[str, str],
) -> None:
    """Write down that a store has the bytes: its location, and what the image's data are.

    `place` is the location's URI and metadata, `staged` says size, virtual_size, disk_format and
    container_format of what was stored, `digest` its checksum, os_hash_algo and os_hash_value; of a copy the
    record says all that already. The first store makes the image `active` where the others need not succeed.

    Raises:
        Gone: the image was deleted; the bytes are to be removed again.
        Abandoned: another worker has the task.
    """
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        usable, alive = plan.kind == COPY or not plan.must_succeed, False
        if plan.kind != COPY:
            seen = {"size": staged["size"], "virtual_size": staged["virtual_size"], **digest}
            alive = (
                statuses.keep_image(session, plan.image_id, "importing", **seen)
                if plan.must_succeed
                else _make_active(session, plan, staged, **seen)
            )
        if not alive and usable:
            alive = statuses.keep_image(session, plan.image_id, *USABLE)
        if not alive:
            raise errors.Gone("The image was deleted while it was imported")
        if notifications.enabled:
            notifications.image(session, "image.upload", plan.image_id)
        url, metadata = place
        session.add(models.ImageLocation(image_id=plan.image_id, value=url, meta_data=metadata))
        if stores.multi():
            _cross_off(session, plan, [store_id], failed=False)


def prepare(plan: Plan, store_id: str) -> None:
    """Tell others that a store is about to take the bytes."""
    named = {"backend": store_id} if stores.multi() else {}
    notifications.image_now("image.prepare", plan.image_id, **named)


def missed(plan: Plan, store_id: str) -> None:
    """Write down that a store which need not succeed has not.

    Raises:
        Abandoned: another worker has the task.
    """
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        statuses.hold_image(session, plan.image_id)
        _cross_off(session, plan, [store_id], failed=True)


def _cross_off(
    session: orm.Session, plan: Plan, store_ids: list[str] | None, *, failed: bool
) -> None:
    """Take stores (or all) from the list of those to come, and put them on the other if they `failed`."""
    rows = models.ImageProperty
    query = sa.select(rows).where(
        rows.image_id == plan.image_id, rows.name.in_((IMPORTING_TO, FAILED))
    )
    marks = {row.name: row for row in session.scalars(query)}
    if len(marks) < 2:  # noqa: PLR2004 - the image was deleted, and purged
        return
    coming, lost = (
        set(filter(None, (marks[n].value or "").split(","))) for n in (IMPORTING_TO, FAILED)
    )
    done = coming if store_ids is None else set(store_ids)
    marks[IMPORTING_TO].value = stores.listed(coming - done)
    # A store that has taken the bytes now may be one that has failed for an earlier worker.
    marks[FAILED].value = stores.listed(lost | done if failed else lost - done)


def _make_active(session: orm.Session, plan: Plan, staged: dict[str, Any], **seen: Any) -> bool:
    """`importing` → `active`, with the formats of what was stored, and what its source said of it."""
    seen |= {"disk_format": staged["disk_format"], "container_format": staged["container_format"]}
    moved = statuses.move_image(session, plan.image_id, "importing", "active", lost_ok=True, **seen)
    if moved and (adopted := staged.get("properties")):
        image = session.get_one(
            models.Image, plan.image_id, options=[orm.selectinload(models.Image.property_rows)]
        )
        before = set(image.properties)
        for name, value in adopted.items():
            image.set_property(name, value)
        if not adopted.keys() <= before:  # the quota may be lower than it was
            properties.check_quota(image.properties)
    return moved


def activate(plan: Plan, staged: dict[str, Any]) -> None:
    """End an import well: image `active`, lock gone, task `success`, in one transaction.

    `staged` is what `stored` was told.

    Raises:
        LimitExceeded: with the properties that come along there would be too many.
        Gone: the image was deleted; nothing is changed.
        Abandoned: another worker has the task; nothing is changed.
    """
    size = staged["size"]
    with db.transaction() as session:
        leases.release(session, plan.lease, leases.Progress("store", size, size))
        alive = (
            _make_active(session, plan, staged)
            if plan.must_succeed and plan.kind != COPY
            else statuses.keep_image(session, plan.image_id, *USABLE)
        )
        if not alive:
            raise errors.Gone("The image was deleted while it was imported")
        message = f"Copied {size >> 20} MiB"
        _end(session, plan, "success", message, {"image_id": plan.image_id})


def _end(
    session: orm.Session,
    plan: Plan,
    status: str,
    message: str,
    result: dict[str, str] | None = None,
) -> None:
    unlock(session, plan, failed=status == "failure")
    statuses.end_task(session, plan.lease.task_id, status, message, result)
    if plan.has_secret:
        secret = models.TaskSecret
        session.execute(sa.delete(secret).where(secret.task_id == plan.lease.task_id))


def fail(plan: Plan, cause: str) -> None:
    """End an import badly: image back to `queued`, lock gone, task `failure` with the cause in words.

    What an import that must succeed everywhere has stored so far goes before that: the rows, then the bytes,
    and only then the image, whose next import will store under the same name. An image that is active
    already stays so; one that a legacy task has made is deleted. An image that was deleted is left alone.

    Raises:
        Abandoned: another worker has the task; nothing is changed.
    """
    if plan.must_succeed:
        _forget_locations(plan)
    _discard(plan)
    with db.transaction() as session:
        leases.release(session, plan.lease)
        statuses.hold_image(session, plan.image_id)
        _end(session, plan, "failure", cause)
        _give_back(session, plan)


def _discard(plan: Plan) -> None:
    """Remove what a store has taken for this task and no record points at: its worker died in between.

    A store that is out of reach must not keep the task from ending; what is there waits for upkeep.
    """
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        recorded = _meant(session, plan.image_id)
    for store_id in plan.stores:
        if store_id not in recorded:
            leases.check(plan.lease)
            try:
                stores.discard(store_id, plan.image_id, plan.lease.attempt)
            except errors.GantryError as error:
                LOG.warning("Image %s may be left over: %s", plan.image_id, error)
            except Exception:  # a driver's own
                LOG.exception("Image %s may be left over", plan.image_id)


def _give_back(session: orm.Session, plan: Plan) -> None:
    if plan.kind == COPY:
        return
    to = "queued"
    values: dict[str, Any] = {"checksum": None, "os_hash_algo": None, "os_hash_value": None}
    if plan.kind == "import":
        to, values = "deleted", {"deleted": True, "deleted_at": db.now()}
    statuses.move_image(session, plan.image_id, "importing", to, lost_ok=True, **values)


def _forget_locations(plan: Plan) -> None:
    """Take back what this task has stored; data that another location means as well stay."""
    with db.transaction() as session:
        leases.hold(session, plan.lease)
        places = _places(session, plan.image_id)
        kept = {row.value for store_id, row in places.items() if store_id not in plan.stores}
        taken = [row for store_id, row in places.items() if store_id in plan.stores]
        doomed = [row for row in taken if row.value not in kept]
        for row in taken:
            row.status = "pending_delete"
            if row.value in kept:
                row.status, row.deleted, row.deleted_at = "deleted", True, db.now()
    for row in doomed:
        leases.check(plan.lease)  # else it may be what a successor has stored
        removal.delete_data(row.id, row.value, row.meta_data)


def is_wanted(plan: Plan) -> bool:
    """Whether the work is still to be done: the image may have been deleted."""
    columns = orm.load_only(models.Image.status, models.Image.deleted)
    with db.reading() as session:
        image = session.get(models.Image, plan.image_id, options=[columns])
    # A legacy task makes its image itself: there is none at first.
    return image is None or _is_wanted(image)


def _is_wanted(image: models.Image) -> bool:
    return not image.deleted and image.status in ("queued", "importing", *USABLE)


def is_recorded(image_id: str, url: str) -> bool:
    """Whether a live image's record points at these bytes, so that they must not be removed."""
    query = sa.select(models.ImageLocation.id).where(
        models.ImageLocation.image_id == image_id,
        models.ImageLocation.value == url,
        models.ImageLocation.deleted.is_(False),
    )
    with db.reading() as session:
        return session.scalars(query.limit(1)).first() is not None


def is_stored(plan: Plan, store_id: str) -> bool:
    """Whether an earlier attempt has written this store down already; the first one need not ask."""
    return store_id in original_of(plan).places


def forget_other_data(plan: Plan, checksum: str) -> None:
    """Take back what an earlier attempt has stored, if these are other data: all stores hold the same.

    qemu-img converts no image to the same bytes twice, and a web server may have another file by now. Nobody
    has read what was stored, for the image is not active; one that is is copied, and not brought in again.
    """
    original = original_of(plan)
    if original.places and original.digest.get("checksum") != checksum:
        _forget_locations(plan)


def original_of(plan: Plan) -> Original:
    """The data that an image has, and where."""
    with db.reading() as session:
        image = session.get_one(models.Image, plan.image_id)
        columns = ("checksum", "os_hash_algo", "os_hash_value")
        digest = {name: value for name in columns if (value := getattr(image, name))}
        return Original(image.size or 0, digest, _places(session, plan.image_id))


def _places(session: orm.Session, image_id: str) -> dict[str, models.ImageLocation]:
    rows = models.ImageLocation
    query = sa.select(rows).where(
        rows.image_id == image_id, rows.status == "active", rows.deleted.is_(False)
    )
    found = session.scalars(query.order_by(rows.id))
    return {stores.id_of(row.value, row.meta_data): row for row in found}


def _meant(session: orm.Session, image_id: str) -> set[str]:
    """The stores that an image's record points at, also where its data wait to be scrubbed."""
    rows = models.ImageLocation
    query = sa.select(rows.value, rows.meta_data).where(
        rows.image_id == image_id, rows.status.in_(("active", "pending_delete"))
    )
    return {stores.id_of(row.value, row.meta_data) for row in session.execute(query)}


def unlock(session: orm.Session, plan: Plan, *, failed: bool) -> None:
    """Take a task's lock from its image; no store is still to come, those that were may have `failed`."""
    rows = models.ImageProperty
    session.execute(
        sa.delete(rows).where(
            rows.image_id == plan.image_id,
            rows.name == LOCK,
            rows.value == plan.lease.task_id,
        ),
        execution_options={"synchronize_session": False},
    )
    row, image = models.Reservation, models.Image
    # That of a task for a location is an upload's, if one has been quicker.
    theirs = sa.exists().where(image.id == row.image_id, image.status.in_(("saving", "uploading")))
    reserved = sa.delete(row).where(row.image_id == plan.image_id, ~theirs)
    session.execute(reserved, execution_options={"synchronize_session": False})
    if stores.multi():  # one store has no name to show
        _cross_off(session, plan, plan.stores if plan.must_succeed else None, failed=failed)
