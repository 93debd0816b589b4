"""What rules that give by shares have given to whom

Revision: 0015, after 0014.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "shares",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("rule_id", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("weight", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("given", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("carried", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "rule_id", "seller_id", name=op.f("pk_shares")),
    )
    op.create_index(op.f("ix_shares_workspace_seller_id"), "shares", ["workspace", "seller_id"])
