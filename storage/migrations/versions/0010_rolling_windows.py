"""What sellers were given lately, when they may have more room, and for whose sake reruns are asked for

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
    op.create_table(
        "gains",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("time_us", sa.BigInteger(), nullable=False),
        sa.Column("record_type", Characters, nullable=False),
        sa.Column("segment_id", Characters, nullable=False),
        sa.Column("effort", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "seller_id", "time_us", "record_type", "segment_id", name=op.f("pk_gains")),
    )
    op.create_table(
        "capacity_timers",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("seller_id", Characters, nullable=False),
        sa.Column("due_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "seller_id", name=op.f("pk_capacity_timers")),
    )
    op.create_index(op.f("ix_capacity_timers_workspace_due_us"), "capacity_timers", ["workspace", "due_us"])
    op.add_column("rerun_requests", sa.Column("sellers", Characters, server_default=sa.text("'null'"), nullable=False))
