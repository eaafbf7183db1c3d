"""rocky r47: a password that is quoted in the database's URL (RFC 1738) is unquoted before it is used."""

import contextlib
import getpass
import pathlib
import signal
from collections.abc import Callable, Iterator

import pymysql  # type: ignore[import-untyped]
import pytest
import sqlalchemy as sa

from images import db
from tests import service
from tests.integration import databases

PASSWORD, QUOTED = "p@ss/w%25", "p%40ss%2Fw%2525"


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a database whose user `careful` must say a password; `{}` stands for it."""
    with databases.postgresql() as url:
        engine = db.create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql(
                f"CREATE ROLE careful SUPERUSER LOGIN PASSWORD '{PASSWORD}'".replace("%", "%%")
            )
            rules = pathlib.Path(connection.exec_driver_sql("SHOW hba_file").scalar_one())
            rules.write_text(f"local all careful scram-sha-256\n{rules.read_text()}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        engine.dispose()
        yield url.replace("gantry@", "careful:{}@", 1)


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """The same; the server has its grant tables, which other tests do without."""
    with databases._directory() as room:
        data, place, me = room / "data", room / "sql.sock", getpass.getuser()
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={me}"]
        whole = [*install, "--auth-root-authentication-method=normal", "--skip-test-db"]
        databases._run(whole)
        server = [
            databases._program("mariadbd"),
            "--no-defaults",
            f"--datadir={data}",
            f"--user={me}",
        ]
        where = [
            f"--socket={place}",
            f"--tmpdir={room}",
            f"--pid-file={room}/pid",
            "--skip-networking",
        ]
        with databases._server([*server, *where], room, signal.SIGTERM):
            service.wait_for(lambda: databases._listens(place), "MariaDB to answer")
            databases._make_database(place)
            with (
                pymysql.connect(user="root", unix_socket=str(place)) as root,
                root.cursor() as cursor,
            ):
                cursor.execute(
                    "GRANT ALL ON *.* TO careful@localhost IDENTIFIED BY %s", (PASSWORD,)
                )
            yield f"mysql+pymysql://careful:{{}}@localhost/gantry?unix_socket={place}"


@pytest.mark.parametrize("server", [postgresql, mariadb])
def test_r47_quoted_passwords(
    server: Callable[[], contextlib.AbstractContextManager[str]], tmp_path: pathlib.Path
) -> None:
    with server() as url:
        wrong = db.create_engine(url.format("p%40ss"))
        with pytest.raises(sa.exc.OperationalError):
            wrong.connect()
        options = f"[database]\nconnection = {url.format(QUOTED)}\n"
        with service.running(tmp_path, "api", "worker", "beat", options=options) as running:
            image_id = running.create(disk_format="raw")
            running.stage(image_id, b"x")
            running.begin_import(image_id)
            assert running.wait_for_task(image_id)["status"] == "success"
            # `db sync` has made the tables; so do all commands log in.
            for line in ("db check", "db purge", "imports list --all", "scrubber"):
                ended = running.gantry(*line.split())
                assert (ended.returncode, ended.stderr) == (0, "")
