"""What the unit tests say of leases and turns, on the databases of production."""

from collections.abc import Iterator

import pytest

from images import db, models, schema
from tests.conftest import Configure
from tests.integration import databases
from tests.unit import test_leases, test_turns

pytestmark = pytest.mark.usefixtures("database")

for _module in (test_leases, test_turns):
    globals().update({name: one for name, one in vars(_module).items() if name[:5] == "test_"})


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of its own for this module."""
    with getattr(databases, request.param)() as made:
        yield made


@pytest.fixture
def configure(configure: Configure, url: str) -> Configure:
    """As ever, but with this database."""

    def again(lines: str) -> list[str]:
        return configure(f"{lines}\n[database]\nconnection = {url}")

    again("")
    return again


@pytest.fixture
def database(configure: Configure) -> None:
    """Tables in which nothing stands of the tests before."""
    schema.sync()
    with db.transaction() as session:
        for table in (models.TaskInfo, models.TaskRun, models.Task):
            session.query(table).delete()
