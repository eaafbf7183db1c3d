"""Ours: the indexes of tags and properties say by themselves which images have a value.

No row is read to see whether few or many have it, or whether an image that a list comes to is one of them.
"""

from alembic import op

revision = "g0012"
down_revision = "g0011"
branch_labels = None
depends_on = None

_LENGTH = {"value": 64}


def upgrade() -> None:
    """Make them anew, with `deleted` and the image; PostgreSQL would read a property's row all the same."""
    name = "gantry_image_tags_value"
    op.drop_index(name, "image_tags")
    op.create_index(name, "image_tags", ["value", "deleted", "image_id"])
    if op.get_bind().dialect.name != "postgresql":
        name, columns = "gantry_image_properties_value", ["name", "value", "deleted", "image_id"]
        op.drop_index(name, "image_properties")
        op.create_index(
            name, "image_properties", columns, mysql_length=_LENGTH, mariadb_length=_LENGTH
        )
