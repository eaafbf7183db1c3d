"""Ours: bytes that are reserved under a limit, and the owners' rows that are locked to decide."""

import sqlalchemy as sa
from alembic import op

revision = "g0004"
down_revision = "g0003"
branch_labels = None
depends_on = None

_BYTES = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the two tables."""
    op.create_table(
        "gantry_reservations",
        sa.Column("image_id", sa.String(length=36), nullable=False),
        sa.Column("store_bytes", _BYTES, nullable=False),
        sa.Column("stage_bytes", _BYTES, nullable=False),
        sa.PrimaryKeyConstraint("image_id"),
        mysql_charset="utf8mb3",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "gantry_owners",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("owner"),
        mysql_charset="utf8mb3",
        mysql_engine="InnoDB",
    )
