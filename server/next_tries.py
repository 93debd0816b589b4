"""When a record that nobody owns is tried again, as it is shown: the first of all that is to come."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from reallot.server.firings import next_firing
from reallot.server.road.joined import frame_of_records
from reallot.server.road.selection import named_by, statuses_of
from reallot.server.schedules import recurrence_of
from reallot.server.workspace_config import WorkspaceConfig, is_active
from reallot.solver.segmentation import evaluate
from reallot.storage import ReadTransaction
from reallot.storage.entities import Record, open_offer
from reallot.v1 import config_pb2


def next_tries(tx: ReadTransaction, config: WorkspaceConfig, records: Sequence[Record], now_us: int) -> dict[str, int]:
    """Return when those of the records that wait are tried again, by record, as far as anything is expected.

    That is the first of: somebody whom it may go to works or has room (as the last look found), an answer about it can change with the
    clock, and the next firing of a schedule that takes it.
    """
    waiting = [record for record in records if record.active and record.owner is None and not open_offer(record)]
    if not waiting:
        return {}
    found = {record.record_id: record.next_try_us for record in waiting if record.next_try_us is not None}
    for record_id, due_us in tx.rechecks.due_of(config.workspace, [record.record_id for record in waiting]).items():
        found[record_id] = min(due_us, found.get(record_id, due_us))
    schedules = [schedule for schedule in config.all("schedule") if is_active(schedule.state)]
    states = tx.schedules.all(config.workspace) if schedules else {}
    for schedule in schedules:
        state = states.get(schedule.schedule_id)
        if state is None or state.next_us is None:
            continue
        for record in _taken(tx, config, schedule, waiting, now_us):
            firing_us = _firing(schedule, state.next_us, record)
            if firing_us is not None:
                found[record.record_id] = min(firing_us, found.get(record.record_id, firing_us))
    return found


def _taken(
    tx: ReadTransaction, config: WorkspaceConfig, schedule: config_pb2.Schedule, records: Sequence[Record], now_us: int
) -> Sequence[Record]:
    """Return the records that a firing of a schedule would take; of a selection by sellers nothing is foretold."""
    wanted = schedule.selection
    if wanted.seller_ids or wanted.due or wanted.HasField("rebalance"):
        return []
    named = replace(
        named_by(wanted), owned=False, statuses=statuses_of(wanted, "SCHEDULED"), among_ids=[record.record_id for record in records]
    )
    ids = set(tx.records.ids(config.workspace, named))
    taken = [record for record in records if record.record_id in ids]
    if not wanted.filter or not taken:
        return taken
    condition = config.filter_of(wanted.record_type, wanted.filter)
    holds = evaluate([condition], frame_of_records(tx, config, taken, [condition]), now_us=now_us)[:, 0]
    return [record for record, held in zip(taken, holds, strict=True) if held]


def _firing(schedule: config_pb2.Schedule, next_us: int, record: Record) -> int | None:
    """Return the first firing at which a record has waited for as long as the schedule asks; None = there is none."""
    if not schedule.selection.HasField("waiting_at_least") or record.waiting_since_us is None:
        return next_us
    ripe_us = record.waiting_since_us + schedule.selection.waiting_at_least.ToMicroseconds() + 1
    return next_us if next_us >= ripe_us else _following(schedule.SerializeToString(deterministic=True), ripe_us)


@lru_cache(maxsize=1_000)
def _following(schedule: bytes, at_us: int) -> int | None:
    return next_firing(recurrence_of(config_pb2.Schedule.FromString(schedule)), at_us)
