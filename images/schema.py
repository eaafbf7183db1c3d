"""Creating and upgrading the tables (`gantry db sync`), and taking Glance's over (`gantry db adopt`)."""

import pathlib

import sqlalchemy as sa
from alembic import command, script, util
from alembic import config as alembic_config
from alembic.runtime import migration

from images import config, db, errors, models
from images.metadefs import models as _metadefs  # noqa: F401 - they register with the others

VERSION_TABLE = "gantry_version"
#: The oldest revision.
FIRST = "g0001"
#: Where Glance keeps its own revision; it is read, and never written to.
GLANCE_VERSION_TABLE = "alembic_version"
#: What the names of our own tables begin with; all others are Glance's.
_OURS = "gantry_"


def sync(to: str = "head") -> str:
    """Create the tables, or bring them up to a revision; the one that they are at then.

    Does nothing where they are already; two that run at once wait for each other on SQLite.

    Raises:
        Conflict: the database is Glance's.
        Invalid: there is no such revision.
        Unavailable: the database does not serve us at present.
    """
    _make_directory()
    if glance_revision() and not revision():
        raise errors.Conflict(
            "This is a database of Glance's: stop Glance, and take it over with `gantry db adopt`"
        )
    _upgrade(to)
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
        context = migration.MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE}
        )
        context.stamp(script.ScriptDirectory.from_config(settings), wanted)
    return revision()


def adopt() -> str:
    """Add what is ours beside the tables of Glance, which stay as they are; the revision they are at then.

    Does nothing where it is there already. One that was interrupted goes on where it was.

    Raises:
        NotFound: the database is not Glance's.
        Conflict: it is that of an older release of Glance's.
        Unavailable: the database does not serve us at present.
    """
    at = glance_revision()
    if not at:
        raise errors.NotFound(
            "This is no database of Glance's; `gantry db sync` makes the tables of a new one"
        )
    if lacking := _lacking():
        raise errors.Conflict(
            f"This database, at Glance's revision {at}, lacks {', '.join(lacking)}: bring it up to "
            "Glance's release 2024.1 or later first, with `glance-manage db_sync`"
        )
    _upgrade()
    return revision()


def revision() -> str:
    """The revision that the database is at, or '' where it has no tables yet."""
    return _revision(VERSION_TABLE)


def glance_revision() -> str:
    """The revision that Glance has brought the database to, or '' where it is none of Glance's."""
    return _revision(GLANCE_VERSION_TABLE)


def is_current() -> bool:
    """Whether the tables are those of this release."""
    return revision() == script.ScriptDirectory.from_config(_settings()).get_current_head()


def _revision(table: str) -> str:
    """Glance has had branches: its heads, where there are several, are all named."""
    url = db.engine().url
    if url.get_backend_name() == "sqlite" and not pathlib.Path(url.database or "").exists():
        return ""  # to connect would make an empty one
    with db.connection() as connection:
        at = migration.MigrationContext.configure(connection, opts={"version_table": table})
        return ", ".join(sorted(at.get_current_heads()))


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


def _upgrade(to: str = "head") -> None:
    settings = _settings()
    wanted = _known(settings, to)
    with db.connection() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, wanted)


def _lacking() -> list[str]:
    """Tables, and columns of them, that Glance's database should have and has not."""
    lacking = []
    with db.connection() as connection:
        inspector = sa.inspect(connection)
        for table in models.Base.metadata.sorted_tables:
            if table.name.startswith(_OURS):
                continue
            if not inspector.has_table(table.name):
                lacking.append(table.name)
                continue
            there = {column["name"] for column in inspector.get_columns(table.name)}
            lacking += [
                f"{table.name}.{one.name}" for one in table.columns if one.name not in there
            ]
    return sorted(lacking)


def _make_directory() -> None:
    """The embedded default's database lies in a directory that the first start must make."""
    url = db.engine().url
    if url.get_backend_name() == "sqlite" and url.database:
        pathlib.Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(config.CONF.gantry.state_path).mkdir(parents=True, exist_ok=True)
