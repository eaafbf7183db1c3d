"""What Alembic runs to upgrade: on the connection that `images.schema` hands over."""

from alembic import context

from images import models
from images.migrations import repeatable  # noqa: F401 - it replaces operations of Alembic

VERSION_TABLE = "gantry_version"

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by copying it
)

with context.begin_transaction():
    context.run_migrations()
