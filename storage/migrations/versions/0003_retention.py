"""What a workspace's log still keeps, and decisions by their age

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    # Until now nothing was ever removed: every log begins with its first number.
    op.add_column("workspaces", sa.Column("retained_from", sa.BigInteger(), server_default=sa.text("1"), nullable=False))
    op.create_index(op.f("ix_decisions_workspace_time_us"), "decisions", ["workspace", "time_us"])
