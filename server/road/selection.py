"""Stop "claim": which records a batch takes. Reads, decides nothing about them."""

from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np

from reallot.server.convert.records import assignment_name
from reallot.server.road.batch import Place, Task
from reallot.server.road.joined import with_related
from reallot.server.road.work import Work
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import evaluate, frame_from_json
from reallot.storage import ReadTransaction, RecordColumns, RecordFilter, RecordPart
from reallot.v1 import config_pb2, run_pb2

UNASSIGNED = (
    *("WAITING", "NO_RULE_IN_SEGMENT", "NO_RULE_MATCHED", "NO_SELLER_MATCHED", "NO_AVAILABILITY", "NO_CAPACITY"),
    *("SELLER_NOT_ELIGIBLE", "RECORD_TOO_OLD", "SEVERAL_TEAMS", "NO_TEAM", "SEVERAL_QUEUES", "NO_QUEUE"),
    *("SEGMENTATION_FAILED", "RULES_NOT_RUN_ON_MOVE", "INTERNAL_ERROR", ""),
)
"""Statuses of records without an owner."""
NOT_RUN = "RULES_NOT_RUN_ON_MOVE"


def select(tx: ReadTransaction, config: WorkspaceConfig, task: Task, parts: Sequence[RecordPart] | None = None) -> Work:
    """Return the records of a task, by id, ready to be worked on; of what waits, an event run reads only `parts`, None = all."""
    next_after = None
    if task.kind == "INTAKE":
        records = tx.records.snapshot(task.workspace, RecordFilter(record_ids=task.record_ids, active=True))
    else:
        records, next_after = _of_run(tx, config, task, parts)
    records = _only(records, [i for i, kind in enumerate(records.record_type) if kind in config.record_types])
    n = len(records)
    return Work(
        task=task,
        config=config,
        records=records,
        segment=np.array(records.segment_id, dtype=object),
        segmentation=np.full(n, "", dtype=object),
        moved=np.zeros(n, dtype=np.bool_),
        released=np.zeros(n, dtype=np.bool_),
        assign=np.zeros(n, dtype=np.bool_),
        keep=np.zeros(n, dtype=np.bool_),
        status=np.full(n, "", dtype=object),
        only_ineligible=np.zeros(n, dtype=np.bool_),
        kept_by=np.full(n, "", dtype=object),
        next_after=next_after,
    )


def named_by(selection: run_pb2.RunSelection) -> RecordFilter:
    """Return the active records that a selection names, whoever owns them and whatever its condition says."""
    return RecordFilter(
        record_ids=list(selection.record_ids) or None,
        record_types=[selection.record_type] if selection.record_type else None,
        segment_ids=list(selection.segment_ids) or None,
        rule_ids=list(selection.rule_ids) or None,
        active=True,
    )


def statuses_of(selection: run_pb2.RunSelection, kind: str) -> list[str]:
    """Return the statuses of the records without an owner that a run of a kind takes."""
    # An event never wakes what waits for a run.
    named = [assignment_name(status) for status in selection.statuses]
    return named or [status for status in UNASSIGNED if kind != "EVENT" or status not in ("WAITING", NOT_RUN)]


def _of_run(
    tx: ReadTransaction, config: WorkspaceConfig, task: Task, reached: Sequence[RecordPart] | None
) -> tuple[RecordColumns, Place | None]:
    """Return the records of a run's batch, and the last of them if there are more."""
    selection = run_pb2.RunSelection.FromString(task.selection)
    statuses = [assignment_name(s) for s in selection.statuses]
    base = replace(
        named_by(selection),
        waiting_before_us=task.now_us - selection.waiting_at_least.ToMicroseconds() if selection.HasField("waiting_at_least") else None,
        # A run that is taken up again leaves alone what it has handled.
        not_run_id=task.run_id,
        next_try_upto_us=task.now_us if selection.due and not selection.seller_ids else None,
    )
    unassigned = replace(base, owned=False, statuses=statuses_of(selection, task.kind))
    moved = replace(base, owned=True, statuses=[NOT_RUN])
    filters = [replace(unassigned, parts=reached)]
    if reached is not None and selection.due:
        filters.append(replace(unassigned, next_try_upto_us=task.now_us))
    if not statuses and (selection.owned_but_ineligible or selection.resegment):
        # An offer stands and falls as an owner does.
        filters.append(replace(base, owned=False, statuses=["OFFERED"]))
    if task.kind != "EVENT" and (not statuses or NOT_RUN in statuses):
        filters.append(moved)
    if selection.owned_but_ineligible:
        filters.append(replace(base, owned=True))
    if task.reopens:
        filters.append(replace(base, owned_by_seller=True))
    if selection.resegment:
        # Those with an owner are looked at, too; nothing but a move touches them.
        filters.append(replace(base, owned=True, statuses=statuses or None))
    if selection.HasField("rebalance"):
        # Owners may change; whoever has none gets none by this.
        filters = [replace(base, owned_by_seller=True)]
    batch, next_after = _batch(tx, config, task, filters)
    parts = [tx.records.snapshot(task.workspace, replace(f, record_ids=batch) if batch is not None else f) for f in filters]
    if moved in filters:
        waits = parts[filters.index(moved)]
        runs_now = [i for i, s in enumerate(waits.segment_id) if s in config.segments and config.segments[s].message.assign_on_move]
        parts[filters.index(moved)] = _only(waits, runs_now)
    if reached is not None and batch is None:
        # Those of one key go to one owner, or to nobody.
        keys = {key for part in parts for key in part.group_key} - {""}
        parts += [tx.records.snapshot(task.workspace, replace(unassigned, group_keys=sorted(keys)))] if keys else []
    records = _joined(parts)
    # Pending records are on their way through intake.
    ready = [row for row in range(len(records)) if not records.pending_generation[row]]
    return _filtered(tx, _only(records, ready), config, selection, task.now_us), next_after


def _batch(tx: ReadTransaction, config: WorkspaceConfig, task: Task, filters: list[RecordFilter]) -> tuple[list[str] | None, Place | None]:
    """Return the records of the batch, None = all of the filters', and the last of them if there are more."""
    few = not task.most or sum(tx.records.count(task.workspace, f) for f in filters) <= task.most
    if task.after is None and few:
        return None, None
    by_waiting = config.settings.age_by == config_pb2.AGE_BY_WAITING
    found = {p for f in filters for p in tx.records.places(task.workspace, f, task.after, task.most + 1, by_waiting=by_waiting)}
    ordered = sorted(found, key=lambda place: (-place[0], *place[1:]))
    taken = ordered[: task.most]
    return [record_id for _, _, record_id in taken], taken[-1] if len(ordered) > task.most else None


def _filtered(
    tx: ReadTransaction, records: RecordColumns, config: WorkspaceConfig, selection: run_pb2.RunSelection, now_us: int
) -> RecordColumns:
    if not selection.filter:
        return records
    schema = config.record_types[selection.record_type].schema
    condition = config.filter_of(selection.record_type, selection.filter)
    frame = frame_from_json("record", schema, records.fields, only=condition.fields("record"))
    frame = with_related(tx, config, selection.record_type, frame, records.record_id, condition.reads)
    return _only(records, np.flatnonzero(evaluate([condition], frame, now_us=now_us)[:, 0]).tolist())


def _joined(parts: list[RecordColumns]) -> RecordColumns:
    """Return the records of all parts, each once, by id."""
    filled = [part for part in parts if len(part)]
    if len(filled) < 2:
        return filled[0] if filled else parts[0]
    columns = [[value for part in filled for value in getattr(part, f.name)] for f in fields(RecordColumns)]
    whole = RecordColumns(*columns)
    places = {record_id: row for row, record_id in reversed(list(enumerate(whole.record_id)))}
    return _only(whole, [places[record_id] for record_id in sorted(places)])


def _only(records: RecordColumns, rows: list[int]) -> RecordColumns:
    if len(rows) == len(records) and all(row == place for place, row in enumerate(rows)):
        return records
    return RecordColumns(*([column[row] for row in rows] for column in (getattr(records, f.name) for f in fields(RecordColumns))))
