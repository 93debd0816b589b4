"""The loop that has records segmented again when an answer about them can change with the clock, as that of "in the last 30 days"."""

from reallot.server.due import BATCH, DueLoop
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import PendingMark

CAUSE = {"kind": "TIME", "resegment": True}


class RecheckLoop(DueLoop):
    """Puts back what is due."""

    def next_due(self, tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return the first instant at which a record of each workspace is due."""
        return tx.rechecks.next_due()

    def deal(self, tx: WriteTransaction, workspace: str) -> int:
        """Have up to BATCH records that are due segmented again; return how many were due."""
        due, active = tx.rechecks.take(workspace, tx.now_us, BATCH)
        if active:
            tx.pending.mark(workspace, [PendingMark(record_id, tx.now_us, CAUSE) for record_id in active])
            tx.signal(workspace, "pending")
        return due
