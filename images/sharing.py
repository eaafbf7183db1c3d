"""Members: the projects that an image is shared with, and what each has said to it (contract section 2.8).

Whether the image may be seen was decided by `catalog.get`, who may do what by the policy of the view; what
remains is which of an image's members the asker gets to know of: an image's owner of all, a member of itself.
"""

import sqlalchemy as sa
from sqlalchemy import orm

from images import config, context, db, errors, filters, models, notifications

_M = models.ImageMember
STATUSES = ("pending", "accepted", "rejected")
_ID_LENGTH = 255


def add(session: orm.Session, image: models.Image, member_id: str) -> models.ImageMember:
    """Share an image, which `catalog.get` has locked, with one more project; it has not answered yet.

    The lock is what keeps two callers from adding the same member: the table's own constraint does not,
    because a row that lives has no `deleted_at`, and no database takes two NULLs for the same. The row of
    a member that was removed is used again, as by Glance: it has one row however often it comes and goes.

    Raises:
        Forbidden: the image is not `shared`.
        LimitExceeded: it has as many members as it may have.
        Duplicate: it is shared with that project already.
    """
    _check_shared(image)
    query = sa.select(_M).where(
        _M.image_id == image.id, sa.or_(_M.deleted.is_(False), _M.member == member_id)
    )
    rows = list(session.scalars(query.order_by(_M.id)))
    quota = config.CONF.image_member_quota
    if 0 <= quota <= sum(not row.deleted for row in rows):
        raise errors.LimitExceeded(
            f"The limit has been exceeded on the number of image members: {quota}"
        )
    own = [row for row in rows if row.member == member_id]  # MariaDB's `=` knows no case
    if any(not row.deleted for row in own):
        raise errors.Duplicate(f"Member {member_id} is duplicated for image {image.id}")
    row = own[-1] if own else _M(image_id=image.id, member=member_id)
    row.status, row.can_share, row.deleted, row.deleted_at = "pending", False, False, None
    row.created_at = row.updated_at = db.now()
    session.add(row)
    session.flush()
    if notifications.enabled:
        notifications.member(session, "image.member.create", row)
    return row


def get(
    session: orm.Session,
    asker: context.Context,
    image: models.Image,
    member_id: str,
) -> models.ImageMember:
    """One member of an image that the asker gets to know of; to be changed if the image is locked.

    Raises:
        Forbidden: the image is not `shared`.
        NotFound: there is no such member, or the asker is neither it nor the image's owner.
    """
    _check_shared(image)
    row = None
    if len(member_id) <= _ID_LENGTH and not filters.UNSTORABLE.search(member_id):
        query = _known(asker, image).where(_M.member == member_id)
        rows = session.scalars(query)
        row = next((row for row in rows if row.member == member_id), None)
    if row is None:
        raise errors.NotFound(f"{member_id} not found in the member list of the image {image.id}.")
    return row


def of(
    session: orm.Session, asker: context.Context, image: models.Image
) -> list[models.ImageMember]:
    """Those members of an image that the asker gets to know of, the oldest first.

    Raises:
        Forbidden: the image is not `shared`.
    """
    _check_shared(image)
    return list(session.scalars(_known(asker, image)))


def answer(
    session: orm.Session,
    asker: context.Context,
    image: models.Image,
    row: models.ImageMember,
    status: str,
) -> None:
    """Say for a member what it thinks of the image: only its lists depend on that.

    Whatever the operator's rule says, an owner does not answer for others: it would put its image into
    their lists.

    Raises:
        Forbidden: the asker owns the image, and is no administrator.
        Invalid: there is no such status.
    """
    if _owns(asker, image) and not asker.is_admin:
        raise errors.Forbidden("You are not permitted to modify 'status' on this image member.")
    if status not in STATUSES:
        raise errors.Invalid('Status must be "pending", "accepted" or "rejected".')
    row.status, row.updated_at = status, db.now()
    if notifications.enabled:
        notifications.member(session, "image.member.update", row)


def remove(session: orm.Session, row: models.ImageMember) -> None:
    """Share an image no longer with a project; the row stays, to be used again."""
    row.deleted, row.deleted_at = True, db.now()
    if notifications.enabled:
        notifications.member(session, "image.member.delete", row)


def check_id(member_id: object) -> str:
    """A member's id as a caller names it: 1 to 255 characters, of which Keystone is not asked.

    Raises:
        Invalid: it is no such text.
    """
    if not isinstance(member_id, str) or not 0 < len(member_id) <= _ID_LENGTH:
        raise errors.Invalid(f"A member is named by a text of 1 to {_ID_LENGTH} characters")
    return member_id


def _check_shared(image: models.Image) -> None:
    if image.visibility != "shared":
        raise errors.Forbidden("Only shared images have members.")


def _known(asker: context.Context, image: models.Image) -> sa.Select[models.ImageMember]:
    query = sa.select(_M).where(_M.image_id == image.id, _M.deleted.is_(False)).order_by(_M.id)
    if not (asker.is_admin or _owns(asker, image)):
        query = query.where(_M.member == asker.owner)
    return query


def _owns(asker: context.Context, image: models.Image) -> bool:
    return bool(asker.owner) and asker.owner == image.owner
