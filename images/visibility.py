"""Who sees what: the one rule, for images asked by id and for lists (contract sections 3.5 and 2.1.3).

Administrators see everything; whoever asks on their behalf leaves these conditions out or says so below.
"""

import sqlalchemy as sa

from images import context, errors, models

Condition = sa.ColumnElement[bool]

_I = models.Image
#: Visibilities that need no more than being asked for.
_OPEN = ("public", "community")
_VISIBILITIES = ("public", "private", "shared", "community", "all")
_MEMBER_STATUSES = ("pending", "accepted", "rejected", "all")


def me(asker: context.Context) -> sa.BindParameter[str]:
    """The asker's project in a statement; one that is built once can be asked for others by this name."""
    return sa.bindparam("asker", asker.owner, sa.String())


def ways(asker: context.Context, member_status: str = "all") -> list[Condition]:
    """How an image comes to be among the asker's, apart from being an administrator: any one is enough.

    The memberships that count are those of `member_status`. Who has no project (a caller without a token)
    owns nothing and is nobody's member.
    """
    found: list[Condition] = [_I.visibility.in_(_OPEN)]
    if asker.owner:
        found += [_I.owner == me(asker), shared_with(asker, member_status)]
    return found


def seen(asker: context.Context) -> Condition:
    """Whether an image that is asked for by its id exists for the asker.

    Whatever a member has said of its membership, and images that belong to nobody, which no list
    holds for that reason alone.
    """
    return sa.true() if asker.is_admin else sa.or_(*ways(asker), _I.owner.is_(None))


def listed(asker: context.Context, visibility: str | None, member_status: str) -> list[Condition]:
    """Whether an image belongs into a list that was asked for with these two parameters.

    Without a `visibility` others' community images are left out, an administrator's list included.

    Raises:
        Invalid: one of the parameters has a value that it cannot have.
    """
    if member_status not in _MEMBER_STATUSES:
        raise errors.Invalid(f"member_status must be one of {', '.join(_MEMBER_STATUSES)}")
    if visibility and visibility not in _VISIBILITIES:
        raise errors.Invalid(f"visibility must be one of {', '.join(_VISIBILITIES)}")
    found: list[Condition] = []
    if visibility is None:
        own = [_I.owner == me(asker)] if asker.owner else []
        found.append(sa.or_(_I.visibility != "community", *own))
    elif visibility != "all":  # an empty one is no visibility that an image has
        found.append(_I.visibility == visibility if visibility else sa.false())
    if not asker.is_admin:
        found.append(sa.or_(*ways(asker, member_status)))
    return found


def shared_with(asker: context.Context, member_status: str = "all") -> Condition:
    """Whether an image is shared with the asker's project, which has said so to it.

    Only while it is `shared`: members of an image that became private stay, without effect.
    """
    rows = models.ImageMember
    found = [
        rows.image_id == _I.id,
        rows.member == me(asker),
        rows.deleted.is_(False),
        _I.visibility == "shared",
    ]
    if member_status != "all":
        found.append(rows.status == member_status)
    return sa.exists().where(*found)
