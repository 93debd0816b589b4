"""The loop that has records segmented again when an answer about them can change with the clock, as that of "in the last 30 days".

The instants stand in the database, written with the pass that found them.
"""

from reallot.server.due import DueLoop
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import PendingMark

BATCH = 1_000
"""Most records that one commit puts back."""
CAUSE = {"kind": "TIME", "resegment": True}


class RecheckLoop(DueLoop):
    """Puts back what is due."""

    TOPIC = "rechecks"

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return when the first record of each workspace is due."""
        return tx.rechecks.next_due()

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Put back a part of what is due."""
        return put_back(tx, config.workspace) == BATCH


def put_back(tx: WriteTransaction, workspace: str) -> int:
    """Have up to BATCH records that are due segmented again; return how many were due."""
    due, active = tx.rechecks.take(workspace, tx.now_us, BATCH)
    if active:
        tx.pending.mark(workspace, [PendingMark(record_id, tx.now_us, CAUSE) for record_id in active])
        tx.signal(workspace, "pending")
    return due
