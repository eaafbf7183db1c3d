"""Glance's tables of the image cache, of its release 2024.1."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "g0010"
down_revision = "g0009"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb3", "mysql_engine": "InnoDB"}


def upgrade() -> None:
    """Add the tables, unless Glance has made them."""
    there = sa.inspect(op.get_bind()).get_table_names()
    if "node_reference" not in there:
        _create_nodes()
    if "cached_images" not in there:
        _create_images()


def _create_nodes() -> None:
    op.create_table(
        "node_reference",
        sa.Column("node_reference_id", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("node_reference_url", sa.String(255), nullable=False),
        sa.PrimaryKeyConstraint("node_reference_id"),
        sa.UniqueConstraint("node_reference_url", name="uq_node_reference_node_reference_url"),
        **_OPTIONS,
    )


def _create_images() -> None:
    op.create_table(
        "cached_images",
        sa.Column("id", _NUMBER, nullable=False, autoincrement=True),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("last_accessed", sa.DateTime(), nullable=False),
        sa.Column("last_modified", sa.DateTime(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("checksum", sa.String(32), nullable=True),
        sa.Column("node_reference_id", _NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.ForeignKeyConstraint(["node_reference_id"], ["node_reference.node_reference_id"]),
        sa.UniqueConstraint(
            "image_id", "node_reference_id", name="ix_cached_images_image_id_node_reference_id"
        ),
        **_OPTIONS,
    )
