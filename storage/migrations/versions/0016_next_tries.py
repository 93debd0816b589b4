"""When records that wait are tried again because somebody works then

Revision: 0016, after 0015.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "next_tries",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("due_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "due_us", name=op.f("pk_next_tries")),
    )
