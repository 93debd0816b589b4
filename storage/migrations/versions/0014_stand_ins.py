"""Stand-ins of sellers who are away

Revision: 0014, after 0013.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("sellers", sa.Column("stand_in_id", Characters, server_default=sa.text("('')"), nullable=False))
