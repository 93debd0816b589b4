"""Offers of records to sellers

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("records", sa.Column("offered_to", Characters, server_default=sa.text("('')"), nullable=False))
    op.create_table(
        "offers",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("record_id", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("rule_id", Characters, server_default=sa.text("('')"), nullable=False),
        sa.Column("state", Characters, server_default=sa.text("('')"), nullable=False),
        sa.Column("start_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("remind_us", sa.BigInteger(), nullable=True),
        sa.Column("end_us", sa.BigInteger(), nullable=True),
        sa.Column("ends_as", Characters, server_default=sa.text("('')"), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "record_id", "seller_id", name=op.f("pk_offers")),
    )
    op.create_index(op.f("ix_offers_workspace_next_us"), "offers", ["workspace", "next_us"])
    op.create_index(op.f("ix_offers_workspace_seller_id"), "offers", ["workspace", "seller_id"])
    op.create_table(
        "unanswered",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("offers", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "seller_id", name=op.f("pk_unanswered")),
    )
