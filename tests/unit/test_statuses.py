"""The table of legal moves, and the compare-and-set that makes them."""

import pytest

from images import db, errors, models, statuses

pytestmark = pytest.mark.usefixtures("database")


def new_image(status: str) -> models.Image:
    """An image's row."""
    with db.transaction() as session:
        image = models.Image(status=status, size=7, virtual_size=7)
        session.add(image)
    return image


def test_every_status_is_one_that_the_schema_knows() -> None:
    """Contract section 3.3."""
    known = {"queued", "saving", "uploading", "importing", "active", "deactivated"}
    known |= {"killed", "deleted", "pending_delete"}
    assert {status for move in statuses.IMAGE_MOVES for status in move} == known


def test_a_legal_move_is_made() -> None:
    """The record says so."""
    image = new_image("queued")
    with db.transaction() as session:
        statuses.move_image(session, image.id, "queued", "uploading")
    with db.reading() as session:
        assert session.get_one(models.Image, image.id).status == "uploading"


def test_going_back_to_queued_forgets_the_sizes() -> None:
    """They described bytes that are gone."""
    image = new_image("importing")
    with db.transaction() as session:
        assert statuses.move_image(session, image.id, "importing", "queued")
    with db.reading() as session:
        row = session.get_one(models.Image, image.id)
        assert (row.status, row.size, row.virtual_size) == ("queued", None, None)


@pytest.mark.parametrize(
    ("was", "to"), [("active", "queued"), ("queued", "queued"), ("deleted", "active")]
)
def test_an_illegal_move_is_refused(was: str, to: str) -> None:
    """Whatever the row says."""
    image = new_image(was)
    with db.transaction() as session, pytest.raises(errors.Conflict):
        statuses.move_image(session, image.id, was, to)


def test_of_two_that_race_one_gets_a_conflict() -> None:
    """Both read `queued`; the second finds it moved."""
    image = new_image("queued")
    with db.transaction() as session:
        statuses.move_image(session, image.id, "queued", "uploading")
    with db.transaction() as session, pytest.raises(errors.Conflict):
        statuses.move_image(session, image.id, "queued", "saving")


def test_a_deleted_image_does_not_move() -> None:
    """The row is there until it is purged, but it is nobody's any more."""
    image = new_image("importing")
    with db.transaction() as session:
        session.merge(models.Image(id=image.id, deleted=True))
    with db.transaction() as session:
        assert not statuses.move_image(session, image.id, "importing", "active", lost_ok=True)
