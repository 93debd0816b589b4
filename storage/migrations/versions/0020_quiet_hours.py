"""Notices that wait for working time

Revision: 0020, after 0019.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("notices", sa.Column("of_event", sa.BigInteger(), nullable=True))
    op.create_table(
        "held_notices",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("kind", Characters, server_default=sa.text("''"), nullable=False),
        sa.Column("body", Characters, nullable=True),
        sa.Column("due_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "seller_id", "number", name=op.f("pk_held_notices")),
    )
    op.create_index(op.f("ix_held_notices_workspace_due_us"), "held_notices", ["workspace", "due_us"])
    op.create_table(
        "working_stretches",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("from_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("until_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "seller_id", name=op.f("pk_working_stretches")),
    )
