"""Ours: indexes that hold images in the orders of a list, and find shared and tagged ones."""

import sqlalchemy as sa
from alembic import op

revision = "g0003"
down_revision = "g0002"
branch_labels = None
depends_on = None

#: Every list names both of these; a walk along the index passes nothing that was deleted.
_LISTED = ["deleted", "os_hidden"]
_LENGTH = {"value": 64}


def upgrade() -> None:
    """Add the indexes; Glance, started again on these tables, keeps them up to date without knowing them."""
    for column in ("owner", "visibility"):
        for name, order in (("created", []), ("name", ["name"])):
            columns = [column, *_LISTED, *order, "created_at", "id"]
            op.create_index(f"gantry_images_{column}_{name}", "images", columns)
    columns = ["member", "deleted", "status", "image_id"]
    op.create_index("gantry_image_members_member", "image_members", columns)
    op.create_index("gantry_image_tags_value", "image_tags", ["value", "image_id"])
    _index_values()


def _index_values() -> None:
    """How a property's value begins: of 64 KiB only SQLite's indexes hold all."""
    name, table = "gantry_image_properties_value", "image_properties"
    if op.get_bind().dialect.name != "postgresql":
        op.create_index(
            name, table, ["name", "value"], mysql_length=_LENGTH, mariadb_length=_LENGTH
        )
    else:
        op.create_index(name, table, ["name", sa.text("substr(value, 1, 64)")])
