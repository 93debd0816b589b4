"""How a claimed record stood before

Revision: 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("offers", sa.Column("status_before", Characters, server_default=sa.text("('')"), nullable=False))
