"""The loop that carries enrollments on: steps fall due or are overdue, pauses end, forks are decided, records and owners have changed.

When a record's steps are to be looked at is written with what makes that necessary; a look and what follows from it are one commit.
"""

import structlog

from reallot.server.clock import MICROSECONDS
from reallot.server.due import DueLoop
from reallot.server.passages import attend
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.errors import StorageError
from reallot.storage.steps import StepLook

log = structlog.get_logger("reallot.steps")

BATCH = 200
"""Most records that one commit looks at."""
SET_ASIDE_US = 300 * MICROSECONDS
"""When a record is looked at again whose look has failed."""


class StepLoop(DueLoop):
    """Looks at what is due."""

    TOPIC = "steps"

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return when the first record of each workspace is to be looked at."""
        return tx.steps.next_due()

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Look at a part of what is due."""
        looks = tx.steps.due(config.workspace, tx.now_us, BATCH)
        attend(tx, config, looks, on_fault=lambda look, error: set_aside(tx, config, look, error))
        return len(looks) == BATCH


def set_aside(tx: WriteTransaction, config: WorkspaceConfig, look: StepLook, error: Exception) -> None:
    """Have a record looked at later whose look has failed, so that it does not keep the others waiting."""
    if isinstance(error, StorageError):
        raise error
    log.error("the steps of a record cannot be looked at", workspace=config.workspace, record=look.record_id, exc_info=error)
    tx.steps.plan(config.workspace, {look.record_id: tx.now_us + SET_ASIDE_US})
