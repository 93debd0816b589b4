"""Stand-ins of sellers who are away

Revision: 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("sellers", sa.Column("stand_in_id", Characters, server_default=sa.text("('')"), nullable=False))
