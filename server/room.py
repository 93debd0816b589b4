"""The loop that has waiting records tried again when the clock gives a seller more room: what was given leaves a rolling window."""

from reallot.server.due import DueLoop
from reallot.server.runtime import request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction

BATCH = 1_000
"""Most sellers that one commit deals with."""


class RoomLoop(DueLoop):
    """Asks for reruns for the sake of sellers who have more room."""

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return the first instant at which a seller of each workspace may have more room."""
        return tx.sellers.windows.next_due()

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Ask for a rerun for a part of the sellers who are due."""
        due = tx.sellers.windows.take_due(config.workspace, tx.now_us, BATCH)
        request_rerun(tx, config, "CAPACITY_FREED", due)
        return len(due) == BATCH
