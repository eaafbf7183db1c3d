"""The service under test: API, beat, two families of workers, a broker and a database that can be killed."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

import psutil
import sqlalchemy as sa
import sqlalchemy.exc

from images import db
from tests import service
from tests.chaos import backends

WORKERS = ("worker@a", "worker@b")
#: What is started and may be killed, in this order.
NAMES = ("api", *WORKERS, "beat")
#: File stores, the default one first; what `web` holds lies on somebody else's server.
STORES = ("fast", "cheap")

_OPTIONS = """
[DEFAULT]
enabled_backends = fast:file,cheap:file,web:http
enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]
# So that limits are enforced, and reservations made.
user_storage_quota = 1TB
[fast]
filesystem_store_datadir = {state}/fast
[cheap]
filesystem_store_datadir = {state}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {state}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {state}/tasks
[glance_store]
default_backend = fast
[image_import_opts]
image_import_plugins = [no_op,image_conversion]
[import_filtering_opts]
allowed_ports = []
allowed_networks = [127.0.0.0/8]
[database]
connection = {database}
[gantry]
remote_regions = self:{url}/v2
upkeep_seconds = {upkeep}
"""
#: A lease of 3 s in place of 30 s, so that many rounds fit into few minutes.
_QUICK = "lease_seconds = 3\nheartbeat_seconds = 0.1\nsweep_seconds = 1\n"


@dataclasses.dataclass(frozen=True, slots=True)
class Settings:
    """What the service runs on, and how."""

    broker: str = "redis"
    database: str = "sqlite"
    #: Whether leases are short; else they are as the service has them by default.
    quick: bool = False
    #: Children of each of the two workers.
    concurrency: int = 2
    workers: Sequence[str] = WORKERS
    #: More lines of the section `[gantry]`.
    options: str = ""


class Cluster(service.Service):
    """A `Service` whose workers are two, whose logs go on when a process is started again."""

    def __init__(
        self, state: pathlib.Path, settings: Settings, database: backends.Database
    ) -> None:
        super().__init__(state, bus=settings.broker)
        self.settings = settings
        self.database = database
        self.engine = db.create_engine(database.url).execution_options(gantry_reads=True)
        own = state / "chaos.conf"
        own.write_text(self._options())
        self.environment["OS_GLANCE_CONFIG_FILES"] += f";{own}"
        self.environment["GANTRY_WORKER_CONCURRENCY"] = str(settings.concurrency)

    def _options(self) -> str:
        text = _OPTIONS.format(
            state=self.state,
            url=self.url,
            database=self.database.url,
            upkeep=2 if self.settings.quick else 10,
        )
        return text + (_QUICK if self.settings.quick else "") + self.settings.options

    @property
    def lease_seconds(self) -> float:
        """Seconds after which a worker that is silent has lost its task."""
        return 3.0 if self.settings.quick else 30.0

    @property
    def drain_seconds(self) -> float:
        """Seconds that a worker goes on after SIGTERM; the default of the option."""
        return 5.0

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that runs."""
        first = ("database", "broker") if self.database.command else ("broker",)
        return (*first, "api", *self.settings.workers, "beat")

    # Processes

    def command(self, name: str) -> str:
        """The Procfile's line; each worker has a name of its own in it."""
        if name in self.settings.workers:
            return super().command("worker").replace("worker@%h", name)
        return super().command(name)

    def start(self, *names: str) -> None:
        """Start processes, and wait until they do their work."""
        said = {name: self._said(name) for name in names}
        for name in names:
            if name == "database":
                self._spawn(name, self.database.command)
                service.wait_for(self.database_answers, "the database to answer")
            else:
                super().start(name)
        for name in set(names) & set(self.settings.workers):
            service.wait_for(
                lambda name=name: b" ready." in self.log(name)[said[name] :],  # type: ignore[misc]
                f"{name} to be ready",
            )

    def kill(self, name: str) -> None:
        """kill -9 of a process and its children; what a worker has started must end by itself."""
        service.end([one for one in self.family(name) if not is_tool(one)])
        self.processes.pop(name).wait(service.PATIENCE)

    def stop_all(self) -> None:
        """End everything, first those that would miss the others."""
        order = ("beat", *self.settings.workers, "api")
        for name in sorted(self.processes, key=lambda one: one not in order):
            self.kill(name)

    def owner_of(self, worker: str | None) -> str | None:
        """Which worker has the process that a lease names (`node:pid`)."""
        if not worker:
            return None
        pid = int(worker.rpartition(":")[2])
        for name in self.settings.workers:
            if name in self.processes and pid in [one.pid for one in self.family(name)]:
                return name
        return None

    def tools(self) -> list[psutil.Process]:
        """The qemu-img processes of this service, whoever started them."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_tool(one) and any(str(self.state) in word for word in one.cmdline()):
                    found.append(one)
        return found

    def database_answers(self) -> bool:
        """Whether it takes a statement."""
        try:
            with self.engine.connect() as connection:
                return bool(connection.execute(sa.text("SELECT 1")).scalar())
        except sqlalchemy.exc.SQLAlchemyError:
            return False

    def ring(self, task_id: str, queue: str, times: int) -> None:
        """Send the job of a task again, as the service itself does."""
        program = (
            "import sys; from images import queue, service; service.start()\n"
            "for _ in range(int(sys.argv[3])): queue.ring(sys.argv[1], sys.argv[2])"
        )
        command = [sys.executable, "-c", program, task_id, queue, str(times)]
        subprocess.run(command, cwd=service.ROOT, env=self.environment, check=True)

    def _said(self, name: str) -> int:
        log = self.state / f"{name}.log"
        return log.stat().st_size if log.exists() else 0

    def _spawn(self, name: str, command: list[str]) -> None:
        """As `Service` does, but the log goes on."""
        with (self.state / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                cwd="/" if name == "database" else service.ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def is_tool(one: psutil.Process) -> bool:
    """Whether a process is one that a step has started."""
    try:
        return one.name() == "qemu-img"
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def running(settings: Settings, state: pathlib.Path | None = None) -> Iterator[Cluster]:
    """A service with all its processes, in a directory that stays; nothing runs when the block ends."""
    state = state or pathlib.Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    with backends.database(settings.database, state) as database:
        cluster = Cluster(state, settings, database)
        try:
            if database.command:
                cluster.start("database")
            cluster.sync()
            cluster.start(*[name for name in cluster.names if name != "database"])
            yield cluster
        finally:
            cluster.stop_all()
            cluster.engine.dispose()


def rss(processes: Sequence[psutil.Process]) -> dict[int, int]:
    """Bytes of memory that each process holds."""
    found = {}
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found[one.pid] = one.memory_info().rss
    return found


def signal_all(processes: Sequence[psutil.Process], number: int) -> None:
    """Send a signal to each that is still there."""
    for one in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, number)
