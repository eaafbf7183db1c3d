"""Glance's tables of metadata definitions, as its 2024.1 release has them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "g0007"
down_revision = "g0006"
branch_labels = None
depends_on = None

_OPTIONS: dict[str, Any] = {"mysql_charset": "utf8mb3", "mysql_engine": "InnoDB"}


def upgrade() -> None:
    """Create the tables, each after those that it refers to."""
    _create_namespaces()
    _create_resource_types()
    _create_associations()
    _create_entries(
        "metadef_objects",
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("required", sa.Text(), nullable=True),
        sa.Column("json_schema", sa.Text(), nullable=False),
    )
    _create_entries("metadef_properties", sa.Column("json_schema", sa.Text(), nullable=False))
    _create_entries("metadef_tags")


def _dates() -> tuple[sa.Column[object], sa.Column[object]]:
    return (
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=True),
    )


def _create_namespaces() -> None:
    op.create_table(
        "metadef_namespaces",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("namespace", sa.String(length=80), nullable=False),
        sa.Column("display_name", sa.String(length=80), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("visibility", sa.String(length=32), nullable=True),
        sa.Column("protected", sa.Boolean(), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=False),
        *_dates(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace", name="uq_metadef_namespaces_namespace"),
        **_OPTIONS,
    )
    op.create_index("ix_metadef_namespaces_owner", "metadef_namespaces", ["owner"])


def _create_resource_types() -> None:
    op.create_table(
        "metadef_resource_types",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("protected", sa.Boolean(), nullable=False),
        *_dates(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name", name="uq_metadef_resource_types_name"),
        **_OPTIONS,
    )


def _create_associations() -> None:
    table = "metadef_namespace_resource_types"
    op.create_table(
        table,
        sa.Column("resource_type_id", sa.Integer(), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("properties_target", sa.String(length=80), nullable=True),
        sa.Column("prefix", sa.String(length=80), nullable=True),
        *_dates(),
        sa.ForeignKeyConstraint(["namespace_id"], ["metadef_namespaces.id"]),
        sa.ForeignKeyConstraint(["resource_type_id"], ["metadef_resource_types.id"]),
        sa.PrimaryKeyConstraint("resource_type_id", "namespace_id"),
        **_OPTIONS,
    )
    op.create_index("ix_metadef_ns_res_types_namespace_id", table, ["namespace_id"])


def _create_entries(table: str, *columns: sa.Column[object]) -> None:
    op.create_table(
        table,
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("namespace_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        *columns,
        *_dates(),
        sa.ForeignKeyConstraint(["namespace_id"], ["metadef_namespaces.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("namespace_id", "name", name=f"uq_{table}_namespace_id_name"),
        **_OPTIONS,
    )
    op.create_index(f"ix_{table}_name", table, ["name"])
