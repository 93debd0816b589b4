"""Servers that share a database, and which of them works which workspace

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
expands = False


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "leases",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("holder", Characters, server_default=sa.text("('')"), nullable=False),
        sa.Column("fence", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", name=op.f("pk_leases")),
    )
    op.create_table(
        "replicas",
        sa.Column("replica_id", Characters, nullable=False),
        sa.Column("address", Characters, server_default=sa.text("('')"), nullable=False),
        sa.Column("renewed_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("replica_id", name=op.f("pk_replicas")),
    )
