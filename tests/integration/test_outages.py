"""A database that is away, or full of others: 503 with a clear text, and all is well when it is back."""

import contextlib
import pathlib
import time
from collections.abc import Callable, Iterator

import pymysql  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa
import urllib3

from images import db
from tests import service
from tests.integration import databases

_KILL = {
    "postgresql": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    " AND backend_type = 'client backend'",
    "mysql": "SELECT id FROM information_schema.processlist WHERE id <> connection_id()"
    " AND user <> 'system user'",
}


class Server:
    """A real server whose clients can be cut off."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = db.create_engine(url)
        query = self.engine.url.query
        room = query.get("host")
        self.socket = pathlib.Path(str(query.get("unix_socket") or f"{room}/.s.PGSQL.5432"))

    def drop_clients(self) -> None:
        """End all connections, as a restart does."""
        with self.engine.connect() as connection:
            self._drop(connection)

    def _drop(self, connection: sa.Connection) -> None:
        found = connection.exec_driver_sql(_KILL[self.engine.dialect.name]).all()
        if self.engine.dialect.name == "mysql":
            for row in found:
                with contextlib.suppress(sa.exc.OperationalError):  # gone by itself
                    connection.exec_driver_sql(f"KILL {row[0]}")

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """No connection is left and none can be made."""
        hidden = self.socket.with_name("hidden")
        with self.engine.connect() as connection:
            self.socket.rename(hidden)
            self._drop(connection)
        try:
            yield
        finally:
            hidden.rename(self.socket)


@pytest.fixture(scope="module", params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An empty database's server."""
    with getattr(databases, request.param)() as url:
        made = Server(url)
        yield made
        made.engine.dispose()


@pytest.fixture(scope="module")
def running(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    """API, worker and beat on it."""
    options = (
        f"[database]\nconnection = {server.url}\n[gantry]\nsweep_seconds = 1\nupkeep_seconds = 1\n"
    )
    state = tmp_path_factory.mktemp("gantry")
    with service.running(state, "api", "worker", "beat", options=options) as whole:
        yield whole


def requests_of(running: service.Service) -> list[Callable[[], urllib3.BaseHTTPResponse]]:
    """One of each kind that needs the database."""
    image_id = running.create(disk_format="raw")
    path = f"/v2/images/{image_id}"
    patch = [{"op": "add", "path": "/a", "value": "b"}]
    kind = "application/openstack-images-v2.1-json-patch"
    return [
        lambda: running.ask("GET", "/v2/images"),
        lambda: running.ask("GET", path),
        lambda: running.ask("POST", "/v2/images", {}),
        lambda: running.ask("PATCH", path, patch, Content_Type=kind),
        lambda: running.ask("PUT", f"{path}/tags/x"),
        lambda: running.ask("PUT", f"{path}/stage", b"x" * 1000),
        lambda: running.ask("PUT", f"{path}/file", b"x" * 1000),
        lambda: running.ask("GET", f"{path}/file"),
        lambda: running.ask("POST", f"{path}/import", {"method": {"name": "glance-direct"}}),
        lambda: running.ask("GET", f"{path}/tasks"),
        lambda: running.ask("GET", "/v2/tasks"),
        lambda: running.ask("DELETE", path),
    ]


def pids(running: service.Service) -> dict[str, list[int]]:
    """Of the processes that must not be replaced."""
    return {name: [one.pid for one in running.family(name)] for name in ("api", "worker", "beat")}


def test_503_while_it_is_away_and_all_is_well_when_it_is_back(
    server: Server, running: service.Service
) -> None:
    asked, before = requests_of(running), pids(running)
    with server.away():
        for ask in asked:
            begin = time.monotonic()
            answer = ask()
            assert answer.status == 503, answer.data
            assert b"The database does not answer" in answer.data
            assert str(server.socket.parent).encode() not in answer.data
            assert time.monotonic() - begin < 15
        time.sleep(3)  # the worker sweeps and tidies up in vain
    image_id = running.create(disk_format="raw")
    running.stage(image_id, b"x" * 5000)
    running.begin_import(image_id)
    assert running.wait_for_task(image_id)["status"] == "success"
    assert pids(running) == before
    for name in ("api", "worker", "beat"):
        assert b"Traceback" not in running.log(name), running.log(name).decode()


def test_a_restart_between_two_requests_is_not_noticed(
    server: Server, running: service.Service
) -> None:
    for _ in range(3):
        assert running.ask("GET", "/v2/images").status == 200
        server.drop_clients()
        assert running.ask("GET", "/v2/images").status == 200


def test_no_connection_left(server: Server, running: service.Service) -> None:
    if server.engine.dialect.name != "mysql":
        pytest.skip(
            "PostgreSQL's limit cannot be changed while it runs; its error has the same class"
        )
    with contextlib.ExitStack() as stack:
        mine = stack.enter_context(server.engine.connect())
        mine.exec_driver_sql("SET GLOBAL max_connections = 10")
        server._drop(mine)
        for _ in range(20):
            with contextlib.suppress(pymysql.OperationalError):
                taken = pymysql.connect(user="root", unix_socket=str(server.socket))
                stack.callback(taken.close)
        assert running.ask("GET", "/v2/images").status == 503
        mine.exec_driver_sql("SET GLOBAL max_connections = 150")
    assert running.ask("GET", "/v2/images").status == 200


def test_tables_that_are_missing_name_the_cure(server: Server, running: service.Service) -> None:
    with server.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE image_tags RENAME TO image_tags_away")
    answer = running.ask("POST", "/v2/images", {"tags": ["a"]})
    with server.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE image_tags_away RENAME TO image_tags")
    assert answer.status == 503
    assert b"gantry db sync" in answer.data
