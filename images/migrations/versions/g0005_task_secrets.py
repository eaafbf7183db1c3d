"""Ours: what the worker of one task must know and nobody may see."""

import sqlalchemy as sa
from alembic import op

revision = "g0005"
down_revision = "g0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "gantry_task_secrets",
        sa.Column("task_id", sa.String(length=36), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_id"),
        mysql_charset="utf8mb3",
        mysql_engine="InnoDB",
    )
