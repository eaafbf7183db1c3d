"""What both services stand on: a directory, a database server, Keystone, memcached, and a file to import."""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterator

import psutil
import sqlalchemy as sa

from tests import keystone, service
from tests.bench.trouble import Trouble
from tests.chaos import source
from tests.integration import databases

#: An ordinary user's project.
PROJECT = "measured"
_MIB = 1 << 20
#: Programs that are started or asked, and where Debian keeps some of them.
_PROGRAMS = ("memcached", "wrk", "qemu-img", "setpriv")
_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"


@dataclasses.dataclass(frozen=True)
class Ground:
    """What runs beneath the services."""

    room: pathlib.Path
    identity: keystone.Keystone
    #: SQLAlchemy's URL of the database `gantry`; those of the server's others differ in the name alone.
    database: str
    database_top: psutil.Process
    memcached_port: int
    #: Where `file` can be downloaded from.
    web: str
    #: Random bytes that no format inspector takes for anything but a raw image.
    file: pathlib.Path

    @property
    def member_token(self) -> str:
        """An ordinary user's, in `PROJECT`."""
        return self.identity.token("member", project=PROJECT)

    def database_url(self, name: str) -> str:
        """SQLAlchemy's URL of a database of the server; it is made where it is not there."""
        base = sa.make_url(self.database)
        if base.get_backend_name() == "mysql":
            engine = sa.create_engine(base)
            with engine.begin() as connection:
                connection.exec_driver_sql(
                    f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3"
                )
            engine.dispose()
        return base.set(database=name).render_as_string(hide_password=False)

    def engine(self, name: str) -> sa.Engine:
        """The door to a database for the bench itself."""
        url = sa.make_url(self.database_url(name))
        mysql = url.get_backend_name() == "mysql"
        return sa.create_engine(url, connect_args={"local_infile": True} if mysql else {})

    def options(self, name: str, state: pathlib.Path) -> str:
        """The configuration that both services have in common, under the names that both know."""
        methods = "enabled_import_methods = [glance-direct,web-download]"
        return f"""{self.identity.options("enabled_backends = fast:file", methods)}
[keystone_authtoken]
memcached_servers = 127.0.0.1:{self.memcached_port}
[database]
connection = {self.database_url(name)}
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {state}/fast
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[import_filtering_opts]
allowed_hosts = [127.0.0.1]
allowed_ports = [{urllib.parse.urlsplit(self.web).port}]
"""


def require(*environments: str) -> None:
    """Look for everything that is needed.

    Raises:
        Trouble: something is missing.
    """
    missing = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    missing += [one for one in environments if not (service.ROOT / one / "bin/uwsgi").exists()]
    if missing:
        raise Trouble(
            f"missing here: {', '.join(missing)}\n`make bench` installs what it needs; by hand: "
            "deploy/setup.sh bench, deploy/setup.sh keystone, deploy/setup.sh glance"
        )


@contextlib.contextmanager
def laid(database: str, place: pathlib.Path, mib: int, *, files: int) -> Iterator[Ground]:
    """Everything beneath the services, on a directory of its own under `place`; nothing is left of it.

    `database` is mariadb or postgresql; the file to import has so many MiB, and `files` of it fit in.

    Raises:
        Trouble: the disk is too full.
    """
    with contextlib.ExitStack() as stack:
        room = stack.enter_context(_room(place, mib, files))
        file = random_file(room / "files" / "random.raw", mib)
        url = stack.enter_context(getattr(databases, database)(room / database, durable=True))
        (room / "keystone").mkdir()
        identity = stack.enter_context(keystone.running(room / "keystone"))
        identity.user("member", PROJECT, "member")
        yield Ground(
            room=room,
            identity=identity,
            database=url,
            database_top=_database_top(url),
            memcached_port=stack.enter_context(_memcached(room)),
            web=stack.enter_context(source.serving(file.parent, room / "web.log")),
            file=file,
        )


@contextlib.contextmanager
def _room(place: pathlib.Path, mib: int, files: int) -> Iterator[pathlib.Path]:
    """A directory into which a database's own user may look, with room for so many files."""
    needed = files * mib * _MIB
    if shutil.disk_usage(place).free < needed:
        raise Trouble(
            f"{place} has less than {needed >> 30} GiB free; choose another directory: --place DIR"
        )
    room = pathlib.Path(tempfile.mkdtemp(prefix="gantry-bench-", dir=place))
    room.chmod(0o711)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def random_file(file: pathlib.Path, mib: int) -> pathlib.Path:
    """A file of random bytes behind an empty boot sector."""
    file.parent.mkdir(exist_ok=True)
    print(f"writing {mib} MiB of random bytes", flush=True)
    with file.open("wb") as sink:
        for number in range(mib):
            piece = os.urandom(_MIB)
            sink.write(piece if number else bytes(512) + piece[512:])
    return file


@contextlib.contextmanager
def _memcached(room: pathlib.Path) -> Iterator[int]:
    """The port of a memcached, for tokens that Keystone has confirmed."""
    port = service.free_port()
    program = shutil.which("memcached", path=_PATH) or "memcached"
    # Started by root, it wants to be told whose rights to take.
    user = ["-u", "root"] if os.geteuid() == 0 else []
    with running([program, *user, "-l", "127.0.0.1", "-p", str(port)], room / "memcached.log"):
        yield port


@contextlib.contextmanager
def running(
    command: list[str], log: pathlib.Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that ends with the block, and with the bench should that be killed."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command],
            env=os.environ | (environment or {}),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and its children."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.kill()
    process.wait()


@contextlib.contextmanager
def unbroken_end() -> Iterator[None]:
    """After this block nothing interrupts what stops and removes everything."""
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


def _database_top(url: str) -> psutil.Process:
    """The server's first process, which has written its number beside its socket."""
    query = sa.make_url(url).query
    if "unix_socket" in query:
        file = pathlib.Path(str(query["unix_socket"])).parent / "sql.pid"
    else:
        file = pathlib.Path(str(query["host"])) / "data" / "postmaster.pid"
    service.wait_for(file.exists, f"{file} to be written")
    return psutil.Process(int(file.read_text().split()[0]))
