"""The database: an engine for each process, and transactions as `with` blocks.

No transaction stays open while bytes move (design section 7): open one, say what changed, leave it.
"""

import contextlib
import datetime
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import exc, orm

from images import config, driver_sql, errors, mariadb, outages

LOG = logging.getLogger(__name__)

_T = TypeVar("_T")

_engine: sa.Engine | None = None
#: For single statements that only read: no transaction is begun, checked before or rolled back after them.
_reader: sa.Engine | None = None
#: Seconds for which an outage is waited out; 0: not at all (`abandon_on_outage`).
_patience = 0.0
#: Seconds between two looks at a database that is away.
_PAUSE = 0.5
_sessions: orm.sessionmaker[orm.Session] = orm.sessionmaker(expire_on_commit=False)

#: Seconds that a transaction of ours may stand still, at least and by default. A process that was paused in
#: the middle of one (SIGSTOP, a machine that is moved) holds its locks: the server takes them away then.
_IDLE = 10
_IDLE_DEFAULT = 30
#: Connections that a process keeps of each kind, opened when they are first needed. More threads than these
#: wait for their turn: a connection that is opened for one statement costs several of those.
_POOL: dict[str, Any] = {
    "pool_size": 15,
    "max_overflow": 0,
    "pool_use_lifo": True,
    "pool_recycle": 3600,
}


def _connect(backend: str, idle: int) -> dict[str, Any]:
    """What a driver is told besides the URL, in seconds; pymysql waits 10 s for a silent host by itself."""
    if backend == "sqlite":
        return {"timeout": 30}  # how long a writer waits for another one
    if backend == "postgresql":
        # A prepared statement is planned for any owner and filter, and takes seconds for some of them.
        still = f"-c idle_in_transaction_session_timeout={idle}s"
        return {"connect_timeout": 10, "prepare_threshold": None, "options": still}
    return mariadb.arguments(idle)


def now() -> datetime.datetime:
    """The time in UTC without a zone, as Glance's tables keep it."""
    return datetime.datetime.now(datetime.UTC).replace(tzinfo=None)


class Json(sa.types.TypeDecorator[Any]):
    """A JSON value in a TEXT column, as Glance writes it on every database."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str | None:
        """To the column: JSON, or NULL for None."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> Any:
        """From the column: the value, or None."""
        return None if value is None else json.loads(value)


def engine() -> sa.Engine:
    """This process's engine, made when it is first needed; sockets must not cross a fork."""
    global _engine  # noqa: PLW0603 - one pool for a process is what a pool is
    if _engine is None:
        idle = max(_IDLE, config.CONF.gantry.lease_seconds)
        _engine = create_engine(config.CONF.database.connection, idle)
    return _engine


def _url(url: str) -> sa.URL:
    """With the driver that we have."""
    made = sa.make_url(url)
    if made.drivername == "postgresql":
        return made.set(drivername="postgresql+psycopg")
    return made.set(drivername="mysql+pymysql") if made.drivername == "mysql" else made


def create_engine(url: str, idle: int = _IDLE_DEFAULT) -> sa.Engine:
    """An engine for `url`, with what SQLite needs to serve several processes at once.

    A transaction that stands still for `idle` seconds is rolled back by the server, and its connection
    closed; SQLite has no server to do that.
    """
    made = _url(url)
    if made.get_backend_name() != "sqlite":
        # PostgreSQL's default; under MariaDB's own, inserts into the same gap of an index would deadlock.
        made_engine = sa.create_engine(
            made,
            isolation_level="READ COMMITTED",
            pool_pre_ping=True,
            **_POOL,
            connect_args=_unless_named(made, _connect(made.get_backend_name(), idle)),
        )
        mariadb.quicken(made_engine)
        return made_engine
    made_engine = sa.create_engine(made, connect_args=_unless_named(made, _connect("sqlite", idle)))
    sa.event.listen(made_engine, "connect", _prepare_sqlite)
    sa.event.listen(made_engine, "begin", _begin_sqlite)
    return made_engine


def reader() -> sa.Engine:
    """This process's engine for `fetch`, made when it is first needed."""
    global _reader  # noqa: PLW0603
    if _reader is None:
        _reader = _create_reader(config.CONF.database.connection)
    return _reader


def _create_reader(url: str) -> sa.Engine:
    """An engine whose connections are in no transaction, and are not looked at before they are used."""
    made = _url(url)
    backend = made.get_backend_name()
    engine_made = sa.create_engine(
        made,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        **_POOL,
        connect_args=_unless_named(made, _connect(backend, _IDLE_DEFAULT)),
    )
    mariadb.quicken(engine_made)
    if backend == "sqlite":
        sa.event.listen(engine_made, "connect", _prepare_sqlite)
    return engine_made


def _unless_named(url: sa.URL, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the URL says itself counts."""
    return {name: value for name, value in arguments.items() if name not in url.query}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver must not begin transactions on its own
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Take the write lock at once: a reader that becomes a writer later is refused without waiting."""
    reads = connection.get_execution_options().get("gantry_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def abandon_on_outage() -> None:
    """From now on an outage is waited out, and one that lasts raises `Abandoned`; for processes of workers.

    In the API it is the caller who tries again. A worker's import has nobody to ask for it again: it must not
    fail because of the database, but go on when that is back, here or elsewhere.
    """
    global _patience  # noqa: PLW0603 - what a process is does not change
    _patience = float(config.CONF.gantry.lease_seconds)


@contextlib.contextmanager
def transaction() -> Iterator[orm.Session]:
    """A session that is committed when the block ends well, and rolled back when it raises.

    Raises:
        Unavailable: the database does not serve us at present (`abandon_on_outage`: Abandoned).
    """
    try:
        if _patience:
            _wait_for_server()
        with _sessions(bind=_engine or engine()) as session, session.begin():
            yield session
    except exc.SQLAlchemyError as error:
        _translate(error)
        raise


@contextlib.contextmanager
def reading() -> Iterator[orm.Session]:
    """A session that only reads; it never waits for a writer.

    Raises:
        Unavailable, Abandoned: as `transaction` does.
    """
    try:
        if _patience:
            _wait_for_server()
        with _sessions(bind=engine().execution_options(gantry_reads=True)) as session:
            yield session
    except exc.SQLAlchemyError as error:
        _translate(error)
        raise


def fetch(statement: sa.Select[Any] | sa.CompoundSelect[Any]) -> Sequence[sa.Row[*tuple[Any, ...]]]:
    """The rows of one statement that only reads.

    Raises:
        Unavailable, Abandoned: as `transaction` does.
    """
    return _read(lambda made: made.execute(statement).all())


def fetch_kept(
    statement: driver_sql.Statement, values: Mapping[str, Any]
) -> Sequence[tuple[Any, ...]]:
    """`fetch` for a statement that is kept, of texts and whole numbers; `values` are its parameters'.

    It is compiled once, and what a driver says is taken as it is: that is half of what a small one costs.

    Raises:
        Unavailable, Abandoned: as `transaction` does.
    """

    def run(made: sa.Connection) -> Sequence[tuple[Any, ...]]:
        sql = driver_sql.of(statement, made.dialect)
        return made.exec_driver_sql(sql.text, sql.arguments(values)).cursor.fetchall()

    return _read(run)


def _read(run: Callable[[sa.Connection], _T]) -> _T:
    try:
        try:
            with reader().connect() as made:
                return run(made)
        except exc.DBAPIError as error:
            if not error.connection_invalidated:
                raise
        # It was one that the server had closed; the pool has none of those any more.
        with reader().connect() as made:
            return run(made)
    except exc.SQLAlchemyError as error:
        _translate(error)
        raise


@contextlib.contextmanager
def connection() -> Iterator[sa.Connection]:
    """A connection in a transaction of its own, for what is not about records: the tables themselves.

    Raises:
        Unavailable: as `transaction` does.
    """
    try:
        with engine().begin() as made:
            yield made
    except exc.SQLAlchemyError as error:
        _translate(error)
        raise


def _translate(error: exc.SQLAlchemyError) -> None:
    """Raise what the database's complaint means (`images.outages`), unless it is a fault of ours."""
    if outage := outages.meaning(error):
        raise errors.Abandoned(str(outage)) if _patience else outage from error
    if isinstance(error, exc.DataError):
        LOG.warning("The database cannot hold what it was given: %s", error.orig)
        raise errors.Invalid(
            "The database cannot hold this: a text is too long, or a number too large"
        ) from error


def _wait_for_server() -> None:
    """Wait until the database can be connected to, for as long as a lease lasts at most."""
    end = time.monotonic() + _patience
    while True:
        try:
            with engine().connect():
                return
        except exc.SQLAlchemyError as error:
            if outages.meaning(error) is None or time.monotonic() > end:
                raise
            time.sleep(_PAUSE)


def dispose() -> None:
    """Close this process's connections; the next use makes new ones."""
    _forget(close=True)


def _forget(*, close: bool) -> None:
    global _engine, _reader  # noqa: PLW0603
    for made in (_engine, _reader):
        if made is not None:
            made.dispose(close=close)
    _engine = _reader = None


os.register_at_fork(after_in_child=lambda: _forget(close=False))
