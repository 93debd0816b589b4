"""References by what they refer to, and changes that are to be passed on along them

Revision: 0005, after 0004.
"""

import json

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
expands = True

PART = 1_000
"""Records that are read at once."""
_STORED = sa.text(
    "SELECT workspace, record_id, related FROM records WHERE related <> '{}' AND "
    "(workspace > :workspace OR (workspace = :workspace AND record_id > :record_id)) ORDER BY workspace, record_id LIMIT :part"
)
_KEPT = sa.text(
    "INSERT INTO record_references (workspace, target_id, record_id, roles) VALUES (:workspace, :target_id, :record_id, :roles)"
)


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "record_references",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("target_id", Characters, nullable=False),
        sa.Column("record_id", Characters, nullable=False),
        sa.Column("roles", Characters, server_default=sa.text("'[]'"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "target_id", "record_id", name=op.f("pk_record_references")),
    )
    op.create_table(
        "fanouts",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("target_id", Characters, nullable=False),
        sa.Column("record_type", Characters, server_default=sa.text("''"), nullable=False),
        sa.Column("since_us", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("cause", Characters, server_default=sa.text("'{}'"), nullable=False),
        sa.Column("next_cause", Characters, server_default=sa.text("'null'"), nullable=False),
        sa.Column("after_id", Characters, server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "target_id", name=op.f("pk_fanouts")),
    )
    _keep_stored()


def _keep_stored() -> None:
    """Write down what the stored records refer to."""
    connection, workspace, record_id = op.get_bind(), "", ""
    while rows := connection.execute(_STORED, {"workspace": workspace, "record_id": record_id, "part": PART}).all():
        workspace, record_id = rows[-1][:2]
        found = [
            {"workspace": place, "target_id": target, "record_id": name, "roles": json.dumps(roles, separators=(",", ":"))}
            for place, name, related in rows
            for target, roles in _roles_by_target(json.loads(related)).items()
        ]
        connection.execute(_KEPT, found)


def _roles_by_target(related: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for role, target in sorted(related.items()):
        found.setdefault(target, []).append(role)
    return found
