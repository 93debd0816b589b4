"""The loop that tells sellers, when they begin to work, what was held back for them in their quiet hours."""

from collections.abc import Mapping, Sequence

from reallot.server.convert.sellers import calendar_of
from reallot.server.due import DueLoop
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import DAY_US, Calendar, next_working, working_intervals
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.quiet import Stretch

BATCH = 1_000
"""Most notices that one commit deals with."""
ALWAYS = Stretch(0, 2**62)


class QuietLoop(DueLoop):
    """Tells what is due of what was held back."""

    TOPIC = "quiet"

    @staticmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return when the first notice of each workspace is due."""
        return tx.quiet.next_due()

    @staticmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Tell a part of what is due; of sellers who do not work yet, note when they will."""
        workspace, held = config.workspace, tx.quiet.due(config.workspace, tx.now_us, BATCH)
        stretches = stretches_of(tx, config, sorted({notice.seller_id for notice in held}))
        if config.settings.quiet_hours:
            tx.quiet.note(workspace, stretches)
        told = [notice for notice in held if stretches[notice.seller_id].from_us <= tx.now_us]
        tx.events.append(workspace, tx.quiet.release(workspace, told, tx.now_us))
        return len(held) == BATCH


def stretches_of(tx: WriteTransaction, config: WorkspaceConfig, seller_ids: Sequence[str]) -> Mapping[str, Stretch]:
    """Return when sellers may be told, now or next: in their working time, where notices wait for that."""
    now_us = tx.now_us
    if not config.settings.quiet_hours:
        return dict.fromkeys(seller_ids, ALWAYS)
    sellers = tx.sellers.get(config.workspace, seller_ids)
    away: dict[str, list[tuple[int, int]]] = {}
    for absence in tx.sellers.time_off(config.workspace, now_us, seller_ids):
        away.setdefault(absence.seller_id, []).append((absence.start_us, absence.end_us))
    calendars = {name: calendar_of(seller.calendar, tuple(away.get(name, ()))) for name, seller in sellers.items()}
    return {name: stretch_of(calendars.get(name), now_us) for name in seller_ids}


def stretch_of(calendar: Calendar | None, now_us: int) -> Stretch:
    """Return when somebody works, now or next. Who has no working time at all has none to wait for."""
    from_us = next_working(calendar, now_us) if calendar is not None else -1
    if calendar is None or from_us < 0:
        return ALWAYS
    return Stretch(from_us, int(working_intervals(calendar, from_us, from_us + DAY_US)[0, 1]))
