"""Why previewed moves were not made

Revision: 0021, after 0020.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("previews", sa.Column("dropped", Characters, server_default=sa.text("''"), nullable=False))
