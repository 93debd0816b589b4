"""The version at which a decision left its record, so that a run can be undone where nobody has touched the record since

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("decisions", sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False))
