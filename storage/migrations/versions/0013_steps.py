"""Versions of sequences, the steps of enrollments, and when these are to be looked at

Revision: 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

from reallot.storage.types import Characters

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
expands = True

_HISTORY = sa.text("SELECT workspace, id, after FROM config_changes WHERE kind = 'sequence' ORDER BY change_id")
_STORED = sa.text("SELECT workspace, id, version, body FROM config WHERE kind = 'sequence'")
_KEPT = sa.text("INSERT INTO sequence_versions (workspace, sequence_id, version, body) VALUES (:workspace, :sequence_id, :version, :body)")
_RUNNING = sa.text(
    "INSERT INTO step_looks (workspace, record_id, due_us, told) SELECT workspace, record_id, 0, 1 FROM records WHERE enrollment_id <> ''"
)


def _text(name: str, default: str = "") -> sa.Column[str]:
    return sa.Column(name, Characters, server_default=sa.text(f"'{default}'"), nullable=False)


def _number(name: str, default: int = 0) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text(str(default)), nullable=False)


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "sequence_versions",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("sequence_id", Characters, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        _text("body", "{}"),
        sa.PrimaryKeyConstraint("workspace", "sequence_id", "version", name=op.f("pk_sequence_versions")),
    )
    op.create_table(
        "steps",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("enrollment_id", Characters, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        *(_text("record_id"), _text("sequence_id"), _number("sequence_version"), _number("step", 1), _text("step_id"), _text("kind")),
        *(_text("state"), _text("seller_id"), _number("reached_us"), _number("not_before_us")),
        sa.Column("due_us", sa.BigInteger(), nullable=True),
        sa.Column("overdue_us", sa.BigInteger(), nullable=True),
        _number("told"),
        sa.Column("end_us", sa.BigInteger(), nullable=True),
        *(_text("outcome"), _text("end_reason")),
        sa.PrimaryKeyConstraint("workspace", "enrollment_id", "number", name=op.f("pk_steps")),
    )
    op.create_index(op.f("ix_steps_workspace_record_id"), "steps", ["workspace", "record_id"])
    op.create_index(op.f("ix_steps_workspace_sequence_id"), "steps", ["workspace", "sequence_id"])
    op.create_index(op.f("ix_steps_workspace_seller_id_state"), "steps", ["workspace", "seller_id", "state"])
    op.create_table(
        "step_looks",
        sa.Column("workspace", Characters, nullable=False),
        sa.Column("record_id", Characters, nullable=False),
        *(_number("due_us"), _number("told")),
        sa.PrimaryKeyConstraint("workspace", "record_id", name=op.f("pk_step_looks")),
    )
    op.create_index(op.f("ix_step_looks_workspace_due_us"), "step_looks", ["workspace", "due_us"])
    _keep_versions()
    op.get_bind().execute(_RUNNING)


def _keep_versions() -> None:
    """Write down the versions of sequences that the history of the configuration tells of; a sequence that was deleted began anew at 1."""
    connection = op.get_bind()
    found: dict[tuple[str, str, int], str] = {}
    latest: dict[tuple[str, str], int] = {}
    for workspace, sequence_id, after in connection.execute(_HISTORY):
        latest[workspace, sequence_id] = latest.get((workspace, sequence_id), 0) + 1 if after else 0
        if after:
            found[workspace, sequence_id, latest[workspace, sequence_id]] = after
    found |= {(workspace, sequence_id, version): body for workspace, sequence_id, version, body in connection.execute(_STORED)}
    rows = [{"workspace": w, "sequence_id": s, "version": v, "body": body} for (w, s, v), body in sorted(found.items())]
    if rows:
        connection.execute(_KEPT, rows)
