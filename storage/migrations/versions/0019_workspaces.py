"""Names of workspaces, and when they were removed

Revision: 0019, after 0018.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("workspaces", sa.Column("display_name", Characters, server_default=sa.text("''"), nullable=False))
    op.add_column("workspaces", sa.Column("deleted_us", sa.BigInteger(), nullable=True))
