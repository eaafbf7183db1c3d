"""Ours: indexes for the lists of administrators, who see images of all owners."""

from alembic import op

revision = "g0009"
down_revision = "g0008"
branch_labels = None
depends_on = None

_LISTED = ["deleted", "os_hidden"]


def upgrade() -> None:
    """Add the indexes: all images by date, by name, and those of one status by date."""
    op.create_index("gantry_images_all_created", "images", [*_LISTED, "created_at", "id"])
    op.create_index("gantry_images_all_name", "images", [*_LISTED, "name", "created_at", "id"])
    op.create_index(
        "gantry_images_status_created", "images", ["status", *_LISTED, "created_at", "id"]
    )
