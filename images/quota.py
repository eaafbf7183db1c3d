"""How much an owner may have: decided before bytes move, and settled after (contract section 3.7).

Two sources of ceilings, one way to hold them: `user_storage_quota`, or Keystone's unified limits
(`images.limits`). Records count by what they are; bytes that are under way count by a reservation, which is
written with the status that begins them and deleted with the status that ends them. The decisions about one
owner come one after another, so whatever runs at the same time, the total never passes a ceiling.

Ceilings may have to be fetched over HTTP: get them before a transaction, use them in it.
"""

import dataclasses
import re

import sqlalchemy as sa
from oslo_config import cfg
from sqlalchemy import orm
from sqlalchemy.dialects import mysql, postgresql

from images import catalog, config, context, db, errors, limits, models, statuses, usage

#: Whether anything is limited at all; where nothing is, nobody asks any further. Set by `configure`.
enabled = False

_MIB = 1 << 20
_UNITS = {"": 0, "B": 0, "KB": 10, "MB": 20, "GB": 30, "TB": 40}
#: What a stream of unknown length may take beyond what has arrived: an eighth of the room that is left once
#: `_CLOSE` bytes are set aside, at most `_AHEAD`. So it asks seldom while there is room, and takes nothing
#: that it may not need when there is little.
_AHEAD, _CLOSE = 64 << 20, 256 << 20
#: Bytes by which an upload of unknown length may pass a unified limit that was not passed before: one of
#: the units that these limits are counted in. Glance lets it pass by any length, and Tempest wants some.
UNSAID = _MIB

_I, _R = models.Image, models.Reservation


@dataclasses.dataclass(frozen=True, slots=True)
class Ceilings:
    """What one owner may have at most: bytes and images, by name. What is missing is not limited."""

    owner: str
    most: dict[str, int]


def configure(conf: cfg.ConfigOpts) -> None:
    """Judge the options, and remember whether anything is limited.

    Raises:
        Invalid: an option's value is impossible.
    """
    global enabled  # noqa: PLW0603 - one configuration for a process
    most = _storage_quota(conf.user_storage_quota)
    if conf.use_keystone_limits:
        limits.register_options(conf)
    enabled = bool(conf.use_keystone_limits or most)


def _storage_quota(text: str) -> int:
    """Bytes; 0 is no limit."""
    found = re.fullmatch("([0-9]{1,18})([KMGT]?B)?", text.strip(), re.ASCII)
    if not found:
        raise errors.Invalid(
            f"user_storage_quota = {text}: write a number of bytes, or one with B, KB, MB, GB or TB directly "
            "behind it"
        )
    return int(found[1]) << _UNITS[found[2] or ""]


def ceilings(owner: str | None) -> Ceilings | None:
    """What an owner may have at most; None where nothing is limited. Never call it in a transaction.

    Raises:
        Unavailable: Keystone cannot be asked.
    """
    if not enabled or not owner:
        return None
    if not config.CONF.use_keystone_limits:
        return Ceilings(owner, {usage.STORAGE: _storage_quota(config.CONF.user_storage_quota)})
    told = {name: most for name, most in limits.of(owner).items() if most >= 0}
    sizes = {name: told[name] * _MIB for name in limits.SIZES if name in told}
    return Ceilings(owner, told | sizes)


def for_asker(asker: context.Context, image_id: str) -> Ceilings | None:
    """The ceilings of an image's owner.

    Raises:
        NotFound: the asker may not see the image.
        Unavailable: Keystone cannot be asked.
    """
    if not enabled:
        return None
    with db.reading() as session:
        owner = catalog.get(session, asker, image_id, parts=()).owner
    return ceilings(owner)


def for_worker(image_id: str) -> Ceilings | None:
    """The ceilings of an image's owner, asked by a worker; None for an image that is gone, too."""
    if not enabled:
        return None
    with db.reading() as session:
        owner = session.scalars(sa.select(_I.owner).where(_I.id == image_id)).first()
    return ceilings(owner)


def report(owner: str | None) -> dict[str, dict[str, int]]:
    """What a project has of what it may have, in Keystone's units; nothing without unified limits.

    Raises:
        Unavailable: Keystone cannot be asked.
    """
    if not config.CONF.use_keystone_limits or not owner:
        return {}
    told = limits.of(owner)
    with db.reading() as session:
        used = usage.totals(session, owner, limits.NAMES, besides="")
        used[usage.UPLOADING] = session.scalars(usage.uploading(owner, admitted=False)).one()
    counted = {name: used[name] // (_MIB if name in limits.SIZES else 1) for name in limits.NAMES}
    return {name: {"usage": counted[name], "limit": told[name]} for name in limits.NAMES}


def admit_image(session: orm.Session, allowed: Ceilings) -> None:
    """Refuse an image that was just made, if the owner has too many now.

    Raises:
        LimitExceeded: so it is.
    """
    lock(session, allowed.owner)
    used = usage.totals(session, allowed.owner, (usage.COUNT,), besides="")
    _check(allowed, {usage.COUNT: used[usage.COUNT] - 1}, {usage.COUNT: 1})


def check_stored(session: orm.Session, allowed: Ceilings) -> None:
    """Refuse any import where the owner's stored bytes are over their limit already (section 2.5, row 4).

    Raises:
        LimitExceeded: they are.
    """
    if usage.SIZE in allowed.most:
        used = usage.totals(session, allowed.owner, (usage.SIZE,), besides="")
        _check(allowed, used, {usage.SIZE: 0})


def admit_data(
    session: orm.Session,
    allowed: Ceilings,
    image_id: str,
    *,
    store: int | None = None,
    stage: int | None = None,
) -> None:
    """Reserve for bytes that an upload is about to bring; in the transaction that changes the status.

    `store` and `stage` are the bytes that go there, 0 where they are not known yet, None where none will.

    Raises:
        LimitExceeded: they, or one more image under way, are too much.
    """
    used = _decide(session, allowed, image_id)
    _check(
        allowed,
        used,
        {usage.UPLOADING: 1, usage.SIZE: store, usage.STORAGE: store, usage.STAGE: stage},
    )
    _write(session, image_id, store, stage)


def admit_import(
    session: orm.Session, allowed: Ceilings, image: models.Image, *, stores: int
) -> None:
    """Reserve for an import into so many more stores what is known of it; before its status is changed.

    What does not fit is not refused here: Glance answers 202, and the task fails. The worker asks again,
    and by then there may be room.
    """
    used = _decide(session, allowed, image.id)
    copies, size = session.scalars(usage.copies(image.id)).one(), image.size or 0
    whole = size * (copies + stores)
    wanted: dict[str, int | None] = {usage.SIZE: whole, usage.STORAGE: whole}
    if image.status in statuses.BUSY:  # staged: it counts as under way already, and its bytes too
        _write(session, image.id, 0 if _over(allowed, used, wanted) else whole, 0)
    elif not _over(allowed, used, wanted | {usage.UPLOADING: 1, usage.STAGE: size}):
        _write(session, image.id, whole, size)


def claim(
    allowed: Ceilings,
    image_id: str,
    *,
    store: int | None = None,
    stage: int | None = None,
    beyond: int = 0,
) -> int:
    """Change what is reserved for an image under way to what it is known to need in all; a short transaction.

    None leaves that part as it is. `beyond` are bytes by which a unified limit may be passed. The answer is
    how many bytes more were reserved of each than were asked for: the next ones need not ask.

    Raises:
        LimitExceeded: it is too much; what was reserved before stays reserved.
        Gone: the image is no longer being filled.
    """
    wanted = {usage.SIZE: store, usage.STORAGE: store, usage.STAGE: stage}
    with db.transaction() as session:
        used = _decide(session, allowed, image_id)
        known = sa.select(_I.status, _R.image_id).outerjoin(_R, _R.image_id == _I.id)
        row = session.execute(known.where(_I.id == image_id, _I.deleted.is_(False))).first()
        if row is None or row.status == "queued":
            raise errors.Gone(f"Image {image_id} was deleted while its data arrived")
        if row.image_id is None and row.status not in ("saving", "uploading"):
            wanted[usage.UPLOADING] = (
                1  # an import for which there was no room when it was asked for
            )
        _check(allowed, used, wanted, beyond)
        ahead = _ahead(allowed, used, wanted)
        sums = (None if bytes_ is None else bytes_ + ahead for bytes_ in (store, stage))
        _write(session, image_id, *sums)
        return ahead


def settle(session: orm.Session, image_id: str) -> None:
    """Give back what is reserved for an image: its record counts from now on."""
    session.execute(
        sa.delete(_R).where(_R.image_id == image_id),
        execution_options={"synchronize_session": False},
    )


class Meter:
    """Claims for a stream while it arrives, so that it is stopped as soon as it passes a limit."""

    def __init__(
        self,
        allowed: Ceilings,
        image_id: str,
        *,
        copies: int = 0,
        staged: bool = False,
        reserved: int = -1,
        beyond: int = 0,
        beside: int = 0,
    ) -> None:
        """`copies` stores will have the bytes then; if `staged`, they count in staging, with those `beside`.

        `reserved` bytes were admitted beforehand; with -1 even the first call asks.
        """
        self._allowed, self._image_id = allowed, image_id
        self._copies, self._staged, self._beyond = copies, staged, beyond
        self._beside = beside
        self._reserved = reserved

    def arrived(self, total: int) -> None:
        """So many bytes are here, or are known to come.

        Raises:
            LimitExceeded, Gone: as `claim` does.
        """
        if total <= self._reserved:
            return
        ahead = claim(
            self._allowed,
            self._image_id,
            store=total * self._copies if self._copies else None,
            stage=total + self._beside if self._staged else None,
            beyond=self._beyond,
        )
        self._reserved = total + ahead // max(self._copies, 1)


def _ahead(allowed: Ceilings, used: dict[str, int], wanted: dict[str, int | None]) -> int:
    rooms = [
        allowed.most[name] - used[name] - bytes_
        for name, bytes_ in wanted.items()
        if bytes_ is not None and name in allowed.most and name != usage.UPLOADING
    ]
    return max(0, min([_AHEAD, *((room - _CLOSE) // 8 for room in rooms)]))


def _check(
    allowed: Ceilings, used: dict[str, int], wanted: dict[str, int | None], beyond: int = 0
) -> None:
    over = _over(allowed, used, wanted, beyond)
    if not over:
        return
    name = over[0]
    delta = wanted[name] or 0
    if name == usage.STORAGE:
        left = max(0, allowed.most[name] - used[name])
        raise errors.LimitExceeded(
            f"The size of the data {delta} bytes will exceed the limit user_storage_quota. "
            f"{left} bytes remaining."
        )
    unit = _MIB if name in limits.SIZES else 1
    most, has, more = (-(-number // unit) for number in (allowed.most[name], used[name], delta))
    raise errors.LimitExceeded(
        f"Project {allowed.owner} is over a limit for [Resource {name} is over limit of {most} due to "
        f"current usage {has} and delta {more}]"
    )


def _over(
    allowed: Ceilings, used: dict[str, int], wanted: dict[str, int | None], beyond: int = 0
) -> list[str]:
    """Names of the ceilings that would be passed, in a fixed order."""
    named = [n for n, delta in wanted.items() if delta is not None and n in allowed.most]
    extra = dict.fromkeys(limits.SIZES, beyond)
    return sorted(
        n for n in named if used[n] + (wanted[n] or 0) > allowed.most[n] + extra.get(n, 0)
    )


def _decide(session: orm.Session, allowed: Ceilings, image_id: str) -> dict[str, int]:
    """What the owner has, besides this image's reservation; nobody else decides before we are done."""
    lock(session, allowed.owner)
    names = [n for n in allowed.most if n != usage.COUNT]
    return usage.totals(session, allowed.owner, names, besides=image_id)


def lock(session: orm.Session, owner: str) -> None:
    """Wait for whoever decides about this owner; on SQLite every writing transaction has done so already."""
    dialect = session.get_bind().dialect.name
    if dialect == "sqlite":
        return
    row = sa.select(models.Owner.owner).where(models.Owner.owner == owner).with_for_update()
    if session.scalars(row).first() is None:
        session.execute(_insert_or_lock(dialect, owner))


def _insert_or_lock(dialect: str, owner: str) -> sa.Insert:
    """Of several that make the row at the same time one does; it is locked for each, one after another."""
    same = {"owner": owner}
    if dialect == "postgresql":
        insert = postgresql.insert(models.Owner).values(same)
        return insert.on_conflict_do_update(index_elements=["owner"], set_=same)
    return mysql.insert(models.Owner).values(same).on_duplicate_key_update(same)


def _write(session: orm.Session, image_id: str, store: int | None, stage: int | None) -> None:
    """Set what is reserved for an image."""
    sums = {"store_bytes": store, "stage_bytes": stage}
    values = {name: bytes_ for name, bytes_ in sums.items() if bytes_ is not None}
    changed = session.execute(
        sa.update(_R).where(_R.image_id == image_id).values(values or {"image_id": image_id}),
        execution_options={"synchronize_session": False},
    )
    if not changed.rowcount:  # type: ignore[attr-defined]
        new = {"image_id": image_id, "store_bytes": 0, "stage_bytes": 0} | values
        session.execute(sa.insert(_R), new)
