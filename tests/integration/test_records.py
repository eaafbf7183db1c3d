"""Images are read as what was written, whatever stands in them, on every database."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from images import catalog, context, db, models, records, schema
from tests.conftest import Configure
from tests.integration import databases

ASKER = context.Context("user", "me", "me", (), is_admin=False, request_id="req-1")
PAGE = catalog.Query(100, None, (("created_at", "desc"), ("id", "desc")), [])
UGLY = "\"\\/'`,[]{}:\b\f\n\r\t\x01\x1f\x7f\x80\xa0\u2028\u20ac\uffff %s :x ?"


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def _database(request: pytest.FixtureRequest, configure: Configure) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        if request.param != "sqlite":
            url = stack.enter_context(getattr(databases, request.param)())
            configure(f"[database]\nconnection = {url}")
        schema.sync()
        yield
        db.dispose()


def written(**fields: Any) -> records.Record:
    """A new image, as it was written."""
    properties, tags = fields.pop("properties", {}), fields.pop("tags", [])
    image = models.Image(status="active", owner="me", visibility="private", **fields)
    image.property_rows = {}
    for name, value in properties.items():
        image.property_rows[name] = models.ImageProperty(name=name, value=value)
    image.tag_rows = [models.ImageTag(value=tag) for tag in tags]
    image.location_rows = [
        models.ImageLocation(value=f"file:///{number}", meta_data={"store": UGLY, "n": number})
        for number in range(fields.get("min_disk", 0))
    ]
    with db.transaction() as session:
        session.add(image)
    return records.of(image)


@pytest.mark.usefixtures("_database")
def test_what_was_written_is_read() -> None:
    expected = [
        written(name=None),
        written(name=UGLY, disk_format="raw", size=(1 << 63) - 1, virtual_size=0, protected=True),
        written(name="", properties={UGLY: UGLY, "empty": "", "null": None}, tags=[UGLY, "a", "A"]),
        written(name="places", min_disk=5, os_hidden=False),
        # Longer than what one row may hold: in one property, in many, and beyond what MariaDB gathers.
        written(name="long", properties={"one": UGLY * 100, "other": "x"}, tags=["t"]),
        written(name="many", properties={f"p{n}": "y" * 400 for n in range(500)}),
        written(name="vast", properties={f"p{n}": "z" * 65_535 for n in range(40)}),
    ]
    for record in expected:
        assert catalog.show(ASKER, record.id) == record
    page = catalog.page(ASKER, PAGE)
    assert sorted(page, key=lambda one: one.id) == sorted(expected, key=lambda one: one.id)
    times = [(one.created_at, one.id) for one in page]
    assert [time for time, _ in times] == sorted((time for time, _ in times), reverse=True)


@pytest.mark.usefixtures("_database")
def test_what_is_deleted_is_not_read() -> None:
    record = written(properties={"kept": "1", "gone": "2"}, tags=["kept", "gone"], min_disk=2)
    with db.transaction() as session:
        image = catalog.get(session, ASKER, record.id)
        image.property_rows["gone"].deleted = True
        image.tag_rows[0].deleted = True
        image.location_rows[1].status = "pending_delete"
        left = image.tag_rows[1].value
    found = catalog.show(ASKER, record.id)
    assert found.properties == {"kept": "1"}
    assert found.tags == [left]
    assert [one.value for one in found.locations] == ["file:///0"]
