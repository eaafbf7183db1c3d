"""Ours: runs refer to Glance's tasks by value alone.

Glance, started again on this database, purges its tasks without knowing our tables; a foreign key would
stop it.
"""

import sqlalchemy as sa
from alembic import op

revision = "g0011"
down_revision = "g0010"
branch_labels = None
depends_on = None

_TABLE = "gantry_task_runs"
#: SQLite does not name its foreign keys; this names the one that is meant.
_NAMES = {"fk": "fk_%(table_name)s"}


def upgrade() -> None:
    """Drop the foreign key, if it is still there."""
    keys = sa.inspect(op.get_bind()).get_foreign_keys(_TABLE)
    for key in keys:
        name = key["name"] or f"fk_{_TABLE}"
        with op.batch_alter_table(_TABLE, naming_convention=_NAMES) as runs:
            runs.drop_constraint(name, type_="foreignkey")
