"""What a complaint of SQLite's becomes; what servers say is met in tests/integration/test_outages.py."""

import pathlib
import sqlite3

import pytest
import sqlalchemy as sa

from images import db, errors, models
from tests.conftest import Configure


def file_of(configure: Configure) -> pathlib.Path:
    """The database of the configuration."""
    configure("")
    path = db.engine().url.database
    assert path
    return pathlib.Path(path)


def write() -> None:
    """Any change."""
    with db.transaction() as session:
        session.execute(sa.update(models.Image).values(name="x"))


def read() -> None:
    """Any look."""
    with db.reading() as session:
        session.execute(sa.select(models.Image.id)).all()


def test_a_database_without_tables_names_the_cure(configure: Configure) -> None:
    file_of(configure)
    for ask in (read, write):
        with pytest.raises(errors.Unavailable, match="gantry db sync"):
            ask()


def test_a_file_that_is_no_database(configure: Configure) -> None:
    file_of(configure).write_bytes(b"x" * 5000)
    with pytest.raises(errors.Unavailable, match="does not answer"):
        read()


def test_a_directory_that_is_gone(configure: Configure) -> None:
    configure("[database]\nconnection = sqlite:////nowhere/at/all.sqlite")
    with pytest.raises(errors.Unavailable, match="does not answer"):
        read()


@pytest.mark.usefixtures("database")
def test_a_database_that_can_only_be_read(configure: Configure) -> None:
    file = file_of(configure)
    configure(f"[database]\nconnection = sqlite:///file:{file}?mode=ro&uri=true")
    read()
    with pytest.raises(errors.Unavailable, match="only be read"):
        write()


@pytest.mark.usefixtures("database")
def test_a_full_disk(configure: Configure) -> None:
    """The pages that a file may have stand for the disk: SQLite meets both in the same way."""
    file_of(configure)
    with db.engine().connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    image = models.Image(id="x", status="queued")
    image.property_rows = {"n": models.ImageProperty(name="n", value="x" * 1_000_000)}
    with pytest.raises(errors.Unavailable, match="no room"), db.transaction() as session:
        session.add(image)


@pytest.mark.usefixtures("database")
def test_a_writer_that_does_not_end(configure: Configure) -> None:
    file = file_of(configure)
    configure(f"[database]\nconnection = sqlite:///{file}?timeout=0.2")
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        read()  # readers wait for nobody
        with pytest.raises(errors.Unavailable, match="busy"):
            write()
        other.execute("COMMIT")
    write()


@pytest.mark.usefixtures("database")
def test_a_fault_of_ours_stays_one() -> None:
    with pytest.raises(sa.exc.OperationalError), db.reading() as session:
        session.execute(sa.text("SELEKT 1"))
    with pytest.raises(sa.exc.IntegrityError), db.transaction() as session:
        session.add(models.Image(id="x", status=None))
