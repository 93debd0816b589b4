"""Personal data may be taken out of the audit log, and the line says so; anything else is refused as before

Revision: 0017, after 0016.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
expands = True

_REFUSAL = "the audit log is only added to"
_LASTING = ("number", "workspace", "time_us", "principal", "origin", "method", "kind", "id")
_SQLITE = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit WHEN NEW.redacted_us IS NULL OR {moved} BEGIN SELECT RAISE(ABORT, '{why}'); END"
)
_FUNCTION = """
CREATE FUNCTION audit_only_redacts() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.redacted_us IS NULL OR {moved} THEN
        RAISE EXCEPTION '{why}';
    END IF;
    RETURN NEW;
END $$
"""


def upgrade() -> None:
    """Bring the schema forward."""
    op.add_column("audit", sa.Column("redacted_us", sa.BigInteger(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        moved = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in _LASTING)
        op.execute("DROP TRIGGER audit_no_update")
        op.execute(_SQLITE.format(moved=moved, why=_REFUSAL))
        return
    moved = " OR ".join(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in _LASTING)
    op.execute("DROP TRIGGER audit_no_change ON audit")
    op.execute("CREATE TRIGGER audit_no_change BEFORE DELETE OR TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()")
    op.execute(_FUNCTION.format(moved=moved, why=_REFUSAL))
    op.execute("CREATE TRIGGER audit_no_rewriting BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION audit_only_redacts()")
