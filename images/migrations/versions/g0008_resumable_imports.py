"""Ours: what an import that cannot be lost has to remember."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "g0008"
down_revision = "g0007"
branch_labels = None
depends_on = None

_BYTES = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
#: TEXT of MySQL takes 64 KiB.
_LONG_TEXT = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


def upgrade() -> None:
    """Add columns to the runs, and the table of the flows' states."""
    with op.batch_alter_table("gantry_task_runs") as runs:
        for name in ("deaths", "retries"):
            runs.add_column(sa.Column(name, sa.Integer(), nullable=False, server_default="0"))
        runs.add_column(sa.Column("rate", _BYTES, nullable=True))
    op.create_table(
        "gantry_flow_states",
        sa.Column("task_id", sa.String(length=36), nullable=False),
        sa.Column("state", _LONG_TEXT, nullable=False),
        sa.PrimaryKeyConstraint("task_id"),
        mysql_charset="utf8mb3",
        mysql_engine="InnoDB",
    )
