"""Runs that wait or work are found without looking at those that have ended

Revision: 0007, after 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
expands = True

_UNFINISHED = sa.text("state IN ('PENDING', 'RUNNING')")


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_index("ix_runs_unfinished", "runs", ["workspace"], sqlite_where=_UNFINISHED, postgresql_where=_UNFINISHED)
    op.drop_index(op.f("ix_runs_workspace_state"), table_name="runs")
