"""When records are to be segmented again because of the clock, and previews of runs

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
expands = True


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "rechecks",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("record_id", Characters, nullable=False),
        sa.Column("due_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "record_id", name=op.f("pk_rechecks")),
    )
    op.create_index(op.f("ix_rechecks_workspace_due_us"), "rechecks", ["workspace", "due_us"])
    op.create_table(
        "previews",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("run_id", Characters, nullable=False),
        sa.Column("record_id", Characters, nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("before", Characters, server_default=sa.text("'null'"), nullable=False),
        sa.Column("after", Characters, server_default=sa.text("'null'"), nullable=False),
        sa.Column("effort", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("touches", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "run_id", "record_id", name=op.f("pk_previews")),
    )
