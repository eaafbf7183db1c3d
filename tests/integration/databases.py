"""PostgreSQL and MariaDB, each on a private directory and a unix socket; gone when the block ends.

A directory that the caller names stays, and is gone on with if there is a database in it. By default nothing
waits for the disk, which makes tests quick; what a `durable` server has committed outlives a power cut.
"""

import contextlib
import getpass
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence

import psycopg
import pymysql  # type: ignore[import-untyped]
import pytest

from tests import service

#: Seconds that a server may take to stop before it is killed.
_MERCY = 20


@contextlib.contextmanager
def postgresql(directory: pathlib.Path | None = None, *, durable: bool = False) -> Iterator[str]:
    """SQLAlchemy's URL of a database `gantry` of PostgreSQL, empty if it is new."""
    programs = _postgresql_programs()
    with _directory(directory) as room:
        # The server refuses to run as root, so root hands the directory to the packages' user.
        other: list[str] = []
        if os.geteuid() == 0:
            other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
            shutil.chown(room, "postgres", "postgres")
        data = str(room / "data")
        if not (room / "data").exists():
            initdb = [*other, str(programs / "initdb"), "-D", data, "-U", "gantry", "-A", "trust"]
            _run([*initdb, "-E", "UTF8", "--no-locale", *([] if durable else ["--no-sync"])])
        options = ["-c", "shared_buffers=128MB", "-c", "max_wal_size=4GB"]
        if not durable:
            options += ["-c", "fsync=off", "-c", "full_page_writes=off"]
            options += ["-c", "synchronous_commit=off"]
        where = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={room}"]
        command = [*other, str(programs / "postgres"), "-D", data, *where, *options]
        with _server(command, room, signal.SIGINT):  # which does not wait for its clients to go
            service.wait_for(lambda: _postgresql_answers(room), "PostgreSQL to answer")
            yield f"postgresql://gantry@/gantry?host={room}"


def _postgresql_programs() -> pathlib.Path:
    """Debian keeps them out of PATH, one directory a version."""
    places = sorted(
        pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda one: float(one.parent.name)
    )
    for place in reversed(places):
        if (place / "initdb").exists():
            return place
    return pathlib.Path(_program("initdb")).parent


def _postgresql_answers(room: pathlib.Path) -> bool:
    """Whether the server is up; makes the database on the way, if it is not there."""
    try:
        with (
            psycopg.connect(
                f"host={room} user=gantry dbname=postgres", autocommit=True
            ) as connection,
            contextlib.suppress(psycopg.errors.DuplicateDatabase),
        ):
            connection.execute("CREATE DATABASE gantry")
    except psycopg.OperationalError:
        return False
    return True


@contextlib.contextmanager
def mariadb(directory: pathlib.Path | None = None, *, durable: bool = False) -> Iterator[str]:
    """SQLAlchemy's URL of a database `gantry` of MariaDB, empty if it is new."""
    with _directory(directory) as room:
        data, place = room / "data", room / "sql.sock"
        data.mkdir(exist_ok=True)
        # Without grant tables it needs none of the system tables that a set-up would make.
        who = [
            "--no-defaults",
            f"--datadir={data}",
            f"--user={getpass.getuser()}",
            "--skip-grant-tables",
        ]
        # In a temporary directory of all, a server that starts would remove the tables of others.
        data.with_name("tmp").mkdir(exist_ok=True)
        where = [f"--socket={place}", f"--pid-file={room}/sql.pid", "--skip-networking"]
        where += [f"--tmpdir={room}/tmp", "--innodb-buffer-pool-size=512M"]
        if durable:
            options = ["--innodb-flush-log-at-trx-commit=1", "--innodb-doublewrite=1"]
        else:
            options = ["--innodb-flush-log-at-trx-commit=0", "--skip-innodb-doublewrite"]
            options += ["--innodb-log-file-size=512M"]
        with _server([_program("mariadbd"), *who, *where, *options], room, signal.SIGTERM):
            service.wait_for(lambda: _listens(place), "MariaDB to answer")
            _make_database(place)
            yield f"mysql+pymysql://root@localhost/gantry?unix_socket={place}"


def _listens(place: pathlib.Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(place)) == 0


def _make_database(place: pathlib.Path) -> None:
    with (
        pymysql.connect(user="root", unix_socket=str(place)) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("CREATE DATABASE IF NOT EXISTS gantry CHARACTER SET utf8mb3")


def _program(name: str) -> str:
    """Path of a program; where it is missing the test fails, and says what to do."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.fail(
            f"{name} is not installed: run `deploy/setup.sh integration`, or `make integration`, which does",
            pytrace=False,
        )
    return found


@contextlib.contextmanager
def _directory(named: pathlib.Path | None = None) -> Iterator[pathlib.Path]:
    """A directory that another user may be let into, with a path short enough for a socket; or `named`."""
    if named:
        named.mkdir(exist_ok=True)
        yield named
        return
    room = pathlib.Path(tempfile.mkdtemp(prefix="gantry-", dir="/tmp"))
    try:
        yield room
    finally:
        shutil.rmtree(room)


def _run(command: Sequence[str]) -> None:
    ended = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@contextlib.contextmanager
def _server(command: Sequence[str], room: pathlib.Path, stop: signal.Signals) -> Iterator[None]:
    with (room / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        process.send_signal(stop)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_MERCY)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
