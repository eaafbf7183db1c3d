"""What hypothesis makes up, asked on PostgreSQL and MariaDB, which take other texts and numbers than SQLite.

Each request is answered by what it deserves, as in `tests/security/test_hostile_requests.py`: never 500, and
nothing of the database is told.
"""

import pathlib
from collections.abc import Callable, Iterator

import pytest

from api import app
from images import db, policy, schema, stores
from tests.functional.conftest import Api
from tests.integration import databases
from tests.security import making

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[making.Target]:
    """The service for an administrator, on that database."""
    room: pathlib.Path = tmp_path_factory.mktemp(request.param)
    with getattr(databases, request.param)() as url:
        file = room / "gantry.conf"
        file.write_text(
            f"[DEFAULT]\n{making.OPTIONS.format(room=room)}"
            "[noauth]\nroles = admin,member,reader,service\n"
            f"[database]\nconnection = {url}\n"
            f"[gantry]\nstate_path = {room}\nbroker_url = memory://\n"
        )
        stores.reset()
        policy.reset()
        db.dispose()
        application = app.create_app([str(file)])
        schema.sync()
        yield making.Target(Api(application), room)
        db.dispose()
        policy.reset()
        stores.reset()


@pytest.mark.parametrize("ask", making.ALL)
def test_what_hypothesis_makes_up(
    target: making.Target, ask: Callable[[making.Target], None]
) -> None:
    ask(target)


@pytest.mark.parametrize("text", making.MARKUP)
def test_markup_goes_through_unchanged(target: making.Target, text: str) -> None:
    making.check_markup(target, text)
