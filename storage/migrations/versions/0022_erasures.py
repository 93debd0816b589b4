"""Removals that are finished whatever happens

Revision: 0022, after 0021.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "erasures",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("subject", Characters, nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("state", Characters, server_default=sa.text("'null'"), nullable=False),
        sa.Column("replica", Characters, server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "subject", name=op.f("pk_erasures")),
    )
