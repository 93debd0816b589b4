"""The loop that has waiting records tried again when the clock gives a seller more room: what was given leaves a rolling window."""

from reallot.server.due import BATCH, DueLoop
from reallot.server.runtime import request_rerun
from reallot.storage import ReadTransaction, WriteTransaction


class RoomLoop(DueLoop):
    """Asks for reruns for the sake of sellers who have more room."""

    def next_due(self, tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return the first instant at which a seller of each workspace may have more room."""
        return tx.sellers.windows.next_due()

    def deal(self, tx: WriteTransaction, workspace: str) -> int:
        """Ask for a rerun for up to BATCH sellers; return how many were due."""
        due = tx.sellers.windows.take_due(workspace, tx.now_us, BATCH)
        request_rerun(tx, self._runtime.configs.of(tx, workspace), "CAPACITY_FREED", due)
        return len(due)
