"""Turns by the rule that gave them

Revision: 0018, after 0017.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward. Which rule gave the turns until now is not known: they count for every rule."""
    op.create_table(
        "rule_turns",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("record_type", Characters, nullable=False),
        sa.Column("rule_id", Characters, nullable=False),
        sa.Column("order", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "seller_id", "record_type", "rule_id", name=op.f("pk_rule_turns")),
    )
    old = sa.table("turns", *(sa.column(name) for name in ("workspace", "seller_id", "record_type", "order"))).c
    new = sa.table("rule_turns", *(sa.column(name) for name in ("workspace", "seller_id", "record_type", "rule_id", "order")))
    op.execute(
        new.insert().from_select(
            ["workspace", "seller_id", "record_type", "rule_id", "order"],
            sa.select(old.workspace, old.seller_id, old.record_type, sa.literal(""), old.order),
        )
    )
