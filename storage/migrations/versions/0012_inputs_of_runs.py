"""What runs were planned from, so that they can be replayed

Revision: 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "run_inputs",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("run_id", Characters, nullable=False),
        sa.Column("batch", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("time_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "run_id", "batch", name=op.f("pk_run_inputs")),
    )
    op.create_index(op.f("ix_run_inputs_workspace_time_us"), "run_inputs", ["workspace", "time_us"])
