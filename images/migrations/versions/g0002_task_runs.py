"""Ours: who runs a task, and how far it has come."""

import sqlalchemy as sa
from alembic import op

revision = "g0002"
down_revision = "g0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables, each after those that it refers to."""
    _create_gantry_task_runs()


def _create_gantry_task_runs() -> None:
    op.create_table(
        "gantry_task_runs",
        sa.Column("task_id", sa.String(length=36), nullable=False),
        sa.Column("queue", sa.String(length=64), nullable=False),
        sa.Column("roles", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker", sa.String(length=255), nullable=True),
        sa.Column("expires", sa.Float(precision=53), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=True),
        sa.Column(
            "bytes_done", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column(
            "bytes_total", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.ForeignKeyConstraint(
            ["task_id"],
            ["tasks.id"],
        ),
        sa.PrimaryKeyConstraint("task_id"),
        mysql_charset="utf8mb3",
        mysql_engine="InnoDB",
    )
    op.create_index(
        op.f("ix_gantry_task_runs_expires"), "gantry_task_runs", ["expires"], unique=False
    )
