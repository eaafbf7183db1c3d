"""Creating and upgrading the tables: the one command behind `gantry db sync`."""

import pathlib

from alembic import command
from alembic import config as alembic_config
from alembic.runtime import migration

from images import config, db

VERSION_TABLE = "gantry_version"


def sync() -> str:
    """Create the tables, or bring them up to this release; the revision they are at then.

    Does nothing where they are already; two that run at once wait for each other on SQLite.

    Raises:
        Unavailable: the database does not serve us at present.
    """
    _make_directory()
    settings = alembic_config.Config()
    settings.set_main_option("script_location", str(pathlib.Path(__file__).with_name("migrations")))
    with db.connection() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "head")
    return revision()


def revision() -> str:
    """The revision that the database is at, or '' where it has no tables yet."""
    with db.connection() as connection:
        at = migration.MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        return at.get_current_revision() or ""


def _make_directory() -> None:
    """The embedded default's database lies in a directory that the first start must make."""
    url = db.engine().url
    if url.get_backend_name() == "sqlite" and url.database:
        pathlib.Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(config.CONF.gantry.state_path).mkdir(parents=True, exist_ok=True)
