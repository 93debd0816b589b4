"""The audit log, which the database itself only lets be added to

Revision: 0011, after 0010.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import AutoId, Characters

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
expands = True

_REFUSAL = "the audit log is only added to"
_SQLITE = "CREATE TRIGGER audit_no_{name} BEFORE {event} ON audit BEGIN SELECT RAISE(ABORT, '" + _REFUSAL + "'); END"
_FUNCTION = "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '" + _REFUSAL + "'; END $$"
_POSTGRESQL = (
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"
)


def upgrade() -> None:
    """Bring the schema forward."""
    texts = ("principal", "origin", "method", "on_behalf_of", "remark", "kind", "id", "before", "after")
    op.create_table(
        "audit",
        sa.Column("number", AutoId, autoincrement=True, nullable=False),
        sa.Column("workspace", Characters, server_default=sa.text("''"), nullable=False),
        sa.Column("time_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        *(sa.Column(name, Characters, server_default=sa.text("''"), nullable=False) for name in texts),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_workspace_number"), "audit", ["workspace", "number"])
    if op.get_bind().dialect.name == "sqlite":
        for event in ("UPDATE", "DELETE"):
            op.execute(_SQLITE.format(name=event.lower(), event=event))
    else:
        op.execute(_FUNCTION)
        op.execute(_POSTGRESQL)
