"""Creating and upgrading the tables: what is behind `gantry db sync`."""

import pathlib

import sqlalchemy as sa
from alembic import command, script, util
from alembic import config as alembic_config
from alembic.runtime import migration

from images import config, db, errors

VERSION_TABLE = "gantry_version"
#: The oldest revision.
FIRST = "g0001"


def sync(to: str = "head") -> str:
    """Create the tables, or bring them up to a revision; the one that they are at then.

    Does nothing where they are already; two that run at once wait for each other on SQLite.

    Raises:
        Invalid: there is no such revision.
        Unavailable: the database does not serve us at present.
    """
    _make_directory()
    settings = _settings()
    wanted = _known(settings, to)
    with db.connection() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, wanted)
    return revision()


def mark(at: str) -> str:
    """Write down that the tables are `at` a revision, and change none of them; the revision.

    Raises:
        Invalid: there is no such revision.
        Unavailable: the database does not serve us at present.
    """
    _make_directory()
    settings = _settings()
    wanted = _known(settings, at)
    with db.connection() as connection:
        _context(connection).stamp(script.ScriptDirectory.from_config(settings), wanted)
    return revision()


def revision() -> str:
    """The revision that the database is at, or '' where it has no tables yet."""
    url = db.engine().url
    if url.get_backend_name() == "sqlite" and not pathlib.Path(url.database or "").exists():
        return ""  # to connect would make an empty one
    with db.connection() as connection:
        return _context(connection).get_current_revision() or ""


def is_current() -> bool:
    """Whether the tables are those of this release."""
    return revision() == script.ScriptDirectory.from_config(_settings()).get_current_head()


def _context(connection: sa.Connection) -> migration.MigrationContext:
    return migration.MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})


def _settings() -> alembic_config.Config:
    settings = alembic_config.Config()
    place = str(pathlib.Path(__file__).with_name("migrations"))
    settings.set_main_option("script_location", place.replace("%", "%%"))
    return settings


def _known(settings: alembic_config.Config, named: str) -> str:
    try:
        script.ScriptDirectory.from_config(settings).get_revision(named)
    except util.CommandError as error:
        raise errors.Invalid(
            f"There is no revision {named}; without one the tables become those of this release"
        ) from error
    return named


def _make_directory() -> None:
    """The embedded default's database lies in a directory that the first start must make."""
    url = db.engine().url
    if url.get_backend_name() == "sqlite" and url.database:
        pathlib.Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(config.CONF.gantry.state_path).mkdir(parents=True, exist_ok=True)
