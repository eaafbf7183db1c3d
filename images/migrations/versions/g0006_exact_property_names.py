"""MariaDB and MySQL: names of properties that differ in case or accents are different names.

The table is unique by image and name, and its collation took such names for one. Glance runs on it as before:
it compares the column with nothing but values, and finds in it what it finds in PostgreSQL.
"""

import sqlalchemy as sa
from alembic import op

revision = "g0006"
down_revision = "g0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Compare the column by its bytes; the other databases do so already."""
    dialect = op.get_bind().dialect
    if dialect.name in ("mysql", "mariadb"):
        # MySQL has no collation of this character set in which a space at the end counts.
        collation = "utf8mb3_nopad_bin" if getattr(dialect, "is_mariadb", False) else "utf8mb3_bin"
        op.alter_column(
            "image_properties",
            "name",
            existing_type=sa.String(length=255),
            existing_nullable=False,
            type_=sa.String(length=255, collation=collation),
        )
