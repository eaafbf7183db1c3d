"""${message}

A step lives beside the code before it and the code after it: it adds, and leaves removing to a later one.
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take this step."""
    ${upgrades if upgrades else "pass"}
