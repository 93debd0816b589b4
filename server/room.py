"""The loop that has waiting records tried again when the clock gives a seller more room, or brings somebody back.

That is when what was given leaves a rolling window, when the maximum of a newcomer grows, and when somebody whom a record may go to
begins to work or to stand in for somebody else.
"""

from collections.abc import Iterable, Sequence

from reallot.server.convert.sellers import grows_us
from reallot.server.due import DueLoop
from reallot.server.runtime import ABSENCE, NEXT_TRY, request_rerun
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import DAY_US, WIDEST_BUCKET
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Seller, TimeOff

BATCH = 1_000
"""Most sellers that one commit deals with."""


class RoomLoop(DueLoop):
    """Asks for reruns for the sake of sellers who have more room, and of records that are due."""

    TOPIC = "timers"

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return the first instant at which a seller of each workspace may have more room, or a record is due."""
        found: dict[str, int] = {}
        for workspace, due_us in (*tx.sellers.windows.next_due(), *tx.tries.next_due()):
            found[workspace] = min(due_us, found.get(workspace, due_us))
        return sorted(found.items(), key=lambda item: item[1])

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Ask for a rerun for a part of the sellers who are due, and for all records that are."""
        due = tx.sellers.windows.take_due(config.workspace, tx.now_us, BATCH)
        set_growth_timers(tx, config, tx.sellers.get(config.workspace, due).values())
        request_rerun(tx, config, "CAPACITY_FREED", due)
        if tx.tries.take_due(config.workspace, tx.now_us) and "SELLER_AVAILABLE" in config.rerun_on:
            tx.reruns.request(config.workspace, NEXT_TRY, tx.now_us, ())
            tx.signal(config.workspace, "runs")
        return len(due) == BATCH


def set_growth_timers(tx: WriteTransaction, config: WorkspaceConfig, sellers: Iterable[Seller]) -> None:
    """Have those of the sellers who are newcomers looked at when their maximum grows next."""
    found = ((seller.seller_id, grows_us(seller, config, tx.now_us)) for seller in sellers if seller.ramp_up is not None)
    due = {name: due_us for name, due_us in found if due_us is not None}
    if due:
        tx.sellers.windows.set_timers(config.workspace, due)
        tx.signal(config.workspace, "timers")


def expect_anew(tx: WriteTransaction, config: WorkspaceConfig, absences: Sequence[TimeOff]) -> None:
    """Have records looked at again that wait for somebody to begin to work who will be absent then: their next try is another."""
    foreseen = (
        RecordFilter(owned=False, active=True, next_try_from_us=row.start_us - WIDEST_BUCKET * DAY_US, next_try_upto_us=row.end_us)
        for row in absences
    )
    if "SELLER_AVAILABLE" in config.rerun_on and any(tx.records.page(config.workspace, wanted, limit=1) for wanted in foreseen):
        tx.reruns.request(config.workspace, ABSENCE, tx.now_us, [row.seller_id for row in absences])
        tx.signal(config.workspace, "runs")
