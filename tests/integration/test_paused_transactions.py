"""A process that stands still in the middle of a transaction does not hold up the others for ever."""

import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from images import db, outages
from tests.integration import databases


@pytest.fixture(params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with getattr(databases, request.param)() as made:
        yield made


def test_its_locks_are_taken_away(url: str) -> None:
    """And it is told what any outage is told."""
    paused, other = db.create_engine(url, 2), db.create_engine(url, 2)
    rows = sa.Table("rows", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True))
    rows.create(paused)
    with other.begin() as connection:
        connection.execute(rows.insert().values(id=1))
    with paused.connect() as stands:
        stands.execute(rows.update().values(id=2))
        begun = time.monotonic()
        with other.begin() as connection:
            connection.execute(rows.update().values(id=3))
        assert 1 < time.monotonic() - begun < 8
        with pytest.raises(sa.exc.DBAPIError) as told:
            stands.execute(rows.update().values(id=4))
        assert outages.meaning(told.value)
    with other.connect() as connection:
        assert connection.scalars(sa.select(rows.c.id)).all() == [3]
    paused.dispose()
    other.dispose()
