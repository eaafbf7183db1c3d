"""The database of the service under test: none of its commits may be lost when it is killed."""

import contextlib
import os
import pathlib
import signal
import urllib.parse
from collections.abc import Callable, Iterator

import psutil

from tests.integration import databases

BROKERS = ("redis", "rabbitmq")
DATABASES = ("sqlite", "postgresql", "mariadb")


class Database:
    """A database's URL, and the command of its server; SQLite has none."""

    def __init__(self, url: str, command: list[str]) -> None:
        self.url = url
        self.command = command


@contextlib.contextmanager
def database(name: str, state: pathlib.Path) -> Iterator[Database]:
    """An empty one. Its server does not run yet: whoever is given its command starts and ends it."""
    if name == "sqlite":
        yield Database(f"sqlite:///{state}/gantry.sqlite", [])
        return
    makers: dict[str, Callable[[str], list[str]]] = {
        "postgresql": _postgresql,
        "mariadb": _mariadb,
    }
    with getattr(databases, name)() as url:
        yield Database(url, makers[name](url))


def _postgresql(url: str) -> list[str]:
    """End the quick server; the command of one whose commits outlive a kill, as in production.

    What it has written is safe in the kernel's memory, so it need not wait for the disk.
    """
    room = pathlib.Path(_query(url)["host"])
    command = _ended((room / "data" / "postmaster.pid"), signal.SIGINT)
    command += ["-c", "synchronous_commit=on", "-c", "full_page_writes=on"]
    mortal = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        mortal += ["--reuid=postgres", "--regid=postgres", "--clear-groups"]
    return [*mortal, "--", *command]


def _mariadb(url: str) -> list[str]:
    """The same for MariaDB."""
    room = pathlib.Path(_query(url)["unix_socket"]).parent
    command = _ended(room / "sql.pid", signal.SIGTERM)
    command += ["--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=1"]
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


def _query(url: str) -> dict[str, str]:
    return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))


def _ended(pid_file: pathlib.Path, stop: signal.Signals) -> list[str]:
    """End a server; the command that it was started with."""
    server = psutil.Process(int(pid_file.read_text().split()[0]))
    command = server.cmdline()
    server.send_signal(stop)
    server.wait(databases._MERCY)
    return command
