"""A machine with a whole service on it, whose power can be cut."""

import contextlib
import dataclasses
import datetime
import os
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

import psutil
import sqlalchemy as sa

from images import db
from tests import service
from tests.integration import databases
from tests.system.long import loopback

_OPTIONS = """
[database]
connection = {database}
[gantry]
lease_seconds = 3
heartbeat_seconds = 0.2
sweep_seconds = 1
upkeep_seconds = 1
# So that each step is remembered, and the one behind it must cope with what it left.
remember_seconds = 0
"""
_STATUSES = sa.text("SELECT id, status FROM images WHERE NOT deleted")
#: Uploads that nobody goes on with.
_AGE = sa.text("UPDATE images SET updated_at = :then WHERE status IN ('saving', 'uploading')")
#: The second disk has neither database nor broker, whose fsync could cover for a store's. The store there
#: links its files from staging, the other one must copy.
_TWO_STORES = """
[DEFAULT]
enabled_backends = fast:file,cheap:file
[glance_store]
default_backend = fast
[fast]
filesystem_store_datadir = {second}/fast
[cheap]
filesystem_store_datadir = {first}/cheap
[os_glance_staging_store]
filesystem_store_datadir = {second}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {first}/tasks
"""


@dataclasses.dataclass(frozen=True, slots=True)
class Layout:
    """What the machine is made of."""

    #: The database's name in `databases`.
    database: str
    #: MiB of each disk. The second one has staging, and the default one of two stores.
    disks: tuple[int, ...]


class Machine:
    """It is off at first; `boot` and `cut` take turns."""

    service: service.Service
    #: Statuses of the images by their ids, as the disk had them before the service was started.
    found: dict[str, str]

    def __init__(self, layout: Layout, disks: list[loopback.Disk]) -> None:
        self._layout, self.disks = layout, disks
        #: Processes that do not hang on its power.
        self._bystanders = psutil.Process().children(recursive=True)
        self._running = contextlib.ExitStack()
        self._url = ""
        first, last = disks[0].path, disks[-1].path
        #: Directories of the stores, by their ids; a single store has no name.
        self.stores = {"": first / "images"}
        self._staging = last / "staging"
        self._options = _OPTIONS
        if len(disks) > 1:
            self.stores = {"fast": last / "fast", "cheap": first / "cheap"}
            self._options += _TWO_STORES.format(first=first, second=last)

    def install(self) -> None:
        """Make the tables, in peace: a new MariaDB needs one orderly end before it outlives a crash."""
        for disk in self.disks:
            disk.mount()
        with self._database():
            self.service.sync()
        for disk in self.disks:
            disk.unmount()

    def boot(self) -> None:
        """Mount the disks and start everything."""
        for disk in self.disks:
            disk.mount()
        self._running.enter_context(self._database())
        self._running.callback(self.service.stop_all)
        with self._transaction() as connection:
            self.found = {row.id: row.status for row in connection.execute(_STATUSES)}
        self.service.start("broker", "api", "worker", "beat")

    @contextlib.contextmanager
    def _database(self) -> Iterator[None]:
        """The database's server, and a service that is told to use it."""
        state = self.disks[0].path
        with getattr(databases, self._layout.database)(state / "sql", durable=True) as url:
            self._url = url
            self.service = service.Service(state, options=self._options.format(database=url))
            yield

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        engine = db.create_engine(self._url)
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()

    def let_time_pass(self) -> None:
        """Let uploads that nobody goes on with look as old as those that upkeep gives back."""
        age = datetime.timedelta(hours=2)
        with self._transaction() as connection:
            connection.execute(_AGE, {"then": db.now() - age})
        then = time.time() - age.total_seconds()
        for file in self._staging.iterdir():
            with contextlib.suppress(FileNotFoundError):  # upkeep was here first
                os.utime(file, (then, then))

    def cut(self) -> None:
        """Cut the power: of the disks first, so that nobody's death throes are written down."""
        for disk in self.disks:
            disk.cut()
        self.kill()
        for disk in self.disks:
            disk.unmount()

    def kill(self) -> None:
        """kill -9 of every process that the machine runs."""
        family = psutil.Process().children(recursive=True)
        service.end([one for one in family if one not in self._bystanders])
        self._running.close()


@contextlib.contextmanager
def machine(layout: Layout) -> Iterator[Machine]:
    """A machine that is on; no process, mount or file of it is left when the block ends."""
    room = pathlib.Path(tempfile.mkdtemp(prefix="power-", dir="/tmp"))
    room.chmod(0o755)  # PostgreSQL runs as a user of its own
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, room)
        made = Machine(layout, stack.enter_context(loopback.disks(room, *layout.disks)))
        stack.callback(made.kill)
        made.install()
        made.boot()
        yield made
