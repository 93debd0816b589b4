"""Stand-ins of sellers who are away

Revision: 0010, after 0009.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("sellers", sa.Column("stand_in_id", Characters, server_default=sa.text("('')"), nullable=False))
