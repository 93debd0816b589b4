"""Stops "segment", "plan", "solve" and "check" of one batch, in a worker process: a snapshot in, a `Plan` out.

Nothing is written here. What the batch reads is one snapshot; the commit checks every record's version and every claim again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import fields, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.road.batch import Plan, Task
from reallot.server.road.plan import Candidates, Planner
from reallot.server.road.pool import Pool
from reallot.server.road.reasons import sentence, shown_status
from reallot.server.road.segment import Segmented, segment_records
from reallot.server.road.selection import select
from reallot.server.road.work import Work
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver import assignment
from reallot.solver.assignment.problem import Ints
from reallot.solver.segmentation import frame_from_json
from reallot.storage import ReadTransaction
from reallot.storage.entities import Load
from reallot.v1 import config_pb2, segment_pb2

Progress = Callable[[str], None]
NO_SEGMENT, FOREIGN_SEGMENT = -1, -2


def solve_task(tx: ReadTransaction, config: WorkspaceConfig, task: Task, progress: Progress) -> Plan:
    """Return the plan of a task on a snapshot.

    Raises:
        CheckFailed: the solver's plan did not pass the independent check.
        TooManyPairs: a target would be evaluated on more pairs than allowed.
    """
    clock = _Stopwatch(progress)
    clock.stage("read")
    work = select(tx, config, task)
    clock.stage("segment")
    frames = _segment(work)
    _route(work)
    clock.stage("plan")
    pool = _pool(tx, work)
    planner = Planner(config, pool, task.now_us)
    _drop_eligible_owners(work, planner, frames)
    pool = replace(pool, loads=_given_back(work, pool))
    planner = Planner(config, pool, task.now_us)
    _add_candidates(work, planner, frames)
    problem = planner.problem(_column(work.records.priority), _ages(work))
    clock.stage("solve")
    solution = assignment.solve(problem, sequential=task.sequential)
    rows = planner.rows()
    beyond: frozenset[int] = frozenset()
    if task.limit and int(solution.assigned.sum()) > task.limit:
        problem, solution, rows, beyond = _limited(problem, solution, rows, task)
    clock.stage("check")
    assignment.check(problem, solution)
    return _plan(work, planner, problem, solution, rows, beyond, clock)


class _Stopwatch:
    """Tells stages as they begin and keeps their seconds."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._last: tuple[str, float] | None = None
        self.seconds: dict[str, float] = {}

    def stage(self, name: str) -> None:
        """Begin a stage."""
        now = time.perf_counter()
        if self._last is not None:
            self.seconds[self._last[0]] = self.seconds.get(self._last[0], 0.0) + now - self._last[1]
        self._last = (name, now)
        self._progress(name)


def _segment(work: Work) -> dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]:
    """Segment what is to be segmented; return the columns that rules will read, by record type, with their rows."""
    frames = {}
    types = np.array(work.records.record_type, dtype=object)
    wanted = np.array([_resegments(work, i) for i in range(len(work.records))], dtype=np.bool_)
    for record_type in sorted(set(work.records.record_type)):
        rows = np.flatnonzero(types == record_type)
        frame = _frame(work, record_type, rows)
        frames[record_type] = (rows, frame)
        segments = work.config.segments_by_type.get(record_type, ())
        again = wanted[rows] if segments else np.zeros(len(rows), dtype=np.bool_)
        if not segments:
            work.segmentation[rows[wanted[rows]]] = "NO_SEGMENT"
        if again.any():
            place = {s.id: i for i, s in enumerate(segments)} | {"": NO_SEGMENT}
            present = np.array([place.get(s, FOREIGN_SEGMENT) for s in work.segment[rows[again]]], dtype=np.int32)
            found = segment_records(segments, frame.filter(pl.Series(again)), present, now_us=work.task.now_us)
            _take(work, rows[again], [s.id for s in segments], found)
    return frames


def _resegments(work: Work, row: int) -> bool:
    cause = work.records.pending_cause[row]
    if work.task.kind != "INTAKE":
        return bool((work.task.cause or {}).get("resegment"))
    return bool(cause and cause.get("resegment"))


def _frame(work: Work, record_type: str, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
    segments = work.config.segments_by_type.get(record_type, ())
    needed = set(work.config.implied_fields.get(record_type, ())) | {name for s in segments for name in s.rule_fields}
    schema = work.config.record_types[record_type].schema
    return frame_from_json("record", schema, [work.records.fields[i] for i in rows], only=sorted(needed))


def _take(work: Work, rows: npt.NDArray[np.int64], names: Sequence[str], found: Segmented) -> None:
    named = np.array([*names, ""], dtype=object)
    stays = (found.segment < 0) & ~found.released & (found.status == "UNCHANGED")
    work.segment[rows] = np.where(stays, work.segment[rows], named[found.segment])
    work.segmentation[rows] = found.status
    work.moved[rows] = found.moved
    work.released[rows] = found.released


def _route(work: Work) -> None:
    """Decide for every record whether the rules run, and what it is called where they do not."""
    records, config = work.records, work.config
    intake = work.task.kind == "INTAKE"
    for row in range(len(records)):
        segment = config.segments.get(work.segment[row])
        owned = records.owner_kind[row] != ""
        if segment is None:
            if not owned and not work.released[row]:
                work.status[row] = "" if work.segment[row] else "NO_RULE_IN_SEGMENT"
            continue
        quiet = bool((records.pending_cause[row] or {}).get("quiet")) if intake else False
        if quiet:
            work.status[row] = "" if owned else "WAITING"
        elif work.moved[row] and not segment.message.assign_on_move:
            work.status[row] = "RULES_NOT_RUN_ON_MOVE"
        elif work.moved[row] and owned:
            work.assign[row] = True
            work.keep[row] = segment.message.owner_policy == segment_pb2.OWNER_POLICY_KEEP_IF_ELIGIBLE
        elif intake and not owned and segment.waits:
            work.status[row] = "WAITING"
        elif not intake and owned:
            work.assign[row] = True
            moved_before = records.assignment[row] == "RULES_NOT_RUN_ON_MOVE" and segment.message.assign_on_move
            policy = segment.message.owner_policy
            work.keep[row] = not moved_before or policy == segment_pb2.OWNER_POLICY_KEEP_IF_ELIGIBLE
            work.only_ineligible[row] = not moved_before
        elif not owned:
            work.assign[row] = True


def _pool(tx: ReadTransaction, work: Work) -> Pool:
    workspace, now_us = work.task.workspace, work.task.now_us
    return Pool(
        config=work.config,
        sellers=list(tx.sellers.get(workspace).values()),
        loads=tx.sellers.loads(workspace),
        turns=tx.sellers.turns(workspace),
        time_off=tx.sellers.time_off(workspace, now_us),
        now_us=now_us,
    )


def _by_segment(
    work: Work, chosen: npt.NDArray[np.bool_], frames: dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]
) -> list[Candidates]:
    found = []
    created = _column(work.records.created_us)
    for record_type, (rows, frame) in sorted(frames.items()):
        for segment in work.config.segments_by_type.get(record_type, ()):
            members = chosen[rows] & (work.segment[rows] == segment.id)
            if members.any():
                found.append(Candidates(segment, rows[members], frame.filter(pl.Series(members)), created[rows[members]]))
    return found


def _drop_eligible_owners(work: Work, planner: Planner, frames: dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]) -> None:
    """Leave records with their owners where the owner may stay and is eligible under the first rule that applies."""
    place = planner.pool.place
    able = planner.pool.assignable & planner.pool.roles_ok
    for candidates in _by_segment(work, work.assign & work.keep, frames):
        targets = planner.targets_of(candidates)
        chain = planner.chains_of(candidates, targets)
        for row, own in zip(candidates.rows.tolist(), chain, strict=True):
            owner = place.get(work.records.owner_id[row], -1) if work.records.owner_kind[row] == "SELLER" else -1
            applying = [(t, c) for t, c in zip(targets, own.tolist(), strict=True) if c >= 0]
            allowed = applying if not work.only_ineligible[row] else applying[:1]
            stays = owner >= 0 and bool(able[owner]) and any(owner in t.matches.sellers_of(c) for t, c in allowed)
            if stays:
                work.assign[row] = False
                work.status[row] = "" if work.only_ineligible[row] else "ASSIGNED"


def _given_back(work: Work, pool: Pool) -> list[Load]:
    """Return the loads without the records whose owner is being decided anew, and with moved records where they will be."""
    records, changes = work.records, {}
    for row in np.flatnonzero(work.assign | work.moved | work.released).tolist():
        if records.owner_kind[row] != "SELLER":
            continue
        owner, kind, effort = records.owner_id[row], records.record_type[row], records.effort[row]
        key = (owner, kind, records.segment_id[row])
        changes[key] = changes.get(key, 0) - effort
        if not work.assign[row] and not work.released[row]:
            there = (owner, kind, str(work.segment[row]))
            changes[there] = changes.get(there, 0) + effort
    return [*pool.loads, *(Load(owner, kind, segment, effort, 0) for (owner, kind, segment), effort in sorted(changes.items()))]


def _add_candidates(work: Work, planner: Planner, frames: dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]) -> None:
    effort = _column(work.records.effort)
    for candidates in _by_segment(work, work.assign, frames):
        planner.add(candidates, effort[candidates.rows])


def _column(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _ages(work: Work) -> Ints:
    created = _column(work.records.created_us)
    if work.config.settings.age_by != config_pb2.AGE_BY_WAITING:
        return created
    return np.array([w if w is not None else c for w, c in zip(work.records.waiting_since_us, created, strict=True)], dtype=np.int64)


def _limited(
    problem: assignment.Problem, solution: assignment.Solution, rows: npt.NDArray[np.int64], task: Task
) -> tuple[assignment.Problem, assignment.Solution, npt.NDArray[np.int64], frozenset[int]]:
    """Keep the most urgent, up to the size limit, of the records that can be covered together, and solve for them alone.

    Any part of a coverable set is coverable, so all that are kept get an owner. Returns also the rows that must wait for the next
    run; records that cannot be covered are neither.
    """
    urgency = problem.urgency()
    covered = urgency[solution.assigned[urgency]]
    kept = np.sort(covered[: task.limit])
    only = replace(problem, **{f: getattr(problem, f)[kept] for f in ("class_of", "priority", "age_us", "key")})
    return only, assignment.solve(only, sequential=task.sequential), rows[kept], frozenset(rows[covered[task.limit :]].tolist())


def _plan(
    work: Work,
    planner: Planner,
    problem: assignment.Problem,
    solution: assignment.Solution,
    rows: npt.NDArray[np.int64],
    beyond: frozenset[int],
    clock: _Stopwatch,
) -> Plan:
    """Put the decisions into columns: first the assigned records in the order of their turns, then the others."""
    plan = Plan(work.config.version)
    all_rows, chains = planner.rows(), planner.chain_numbers()
    chain_of = dict(zip(all_rows.tolist(), chains.tolist(), strict=True))
    option_of = dict(zip(rows.tolist(), solution.option_of.tolist(), strict=True))
    ordered = [*rows[solution.turn_order].tolist()]
    taken = set(ordered)
    ordered += [row for row in range(len(work.records)) if row not in taken and row not in beyond]
    plan.traces = [[trace.document() for trace in traces] for traces in planner.draft.traces]
    for row in ordered:
        _add_row(plan, work, planner, problem, row, option_of.get(row, -1), chain_of.get(row))
    plan.levels = [(level.level_id, level.value, level.bound) for level in solution.levels]
    plan.termination = (str(solution.termination.reason), str(solution.termination.limit))
    plan.solver = {"version": assignment.SOLVER_VERSION, "classes": problem.classes, "pairs": problem.options}
    clock.stage("commit")
    plan.seconds = clock.seconds
    return plan


def _add_row(plan: Plan, work: Work, planner: Planner, problem: assignment.Problem, row: int, option: int, chain: int | None) -> None:
    records = work.records
    segment = work.config.segments.get(work.segment[row])
    name = segment.name if segment else "none"
    seller, rule, binding = "", "", False
    if work.assign[row] and chain is not None:
        traces = planner.draft.traces[chain]
        if option >= 0:
            seller = planner.pool.sellers[int(problem.option_seller[option])].seller_id
            chosen = planner.draft.chains[chain][int(problem.option_rank[option])]
            rule, binding, status = chosen.key, chosen.use_capacity, "ASSIGNED"
            reason = f"rule {chosen.message.display_name or chosen.key} chose {seller}"
        else:
            status = shown_status(traces)
            reason = sentence(status, name, traces)
            rule = next((t.rule_id for t in traces if t.status == status), "")
    else:
        status = str(work.status[row])
        reason = sentence(status, name, ()) if status in ("WAITING", "RULES_NOT_RUN_ON_MOVE", "NO_RULE_IN_SEGMENT") else ""
        if status == "NO_RULE_IN_SEGMENT" and segment is None:
            reason = "the record is in no segment"
    tried = bool(work.assign[row])
    cause = (records.pending_cause[row] or {}) if work.task.kind == "INTAKE" else work.task.cause
    row_values = {
        "record_id": records.record_id[row],
        "version": records.version[row],
        "generation": records.pending_generation[row],
        "segment_id": str(work.segment[row]),
        "segmentation": str(work.segmentation[row]),
        "assignment": status,
        "touches_owner": tried or bool(work.released[row]),
        "seller_id": seller,
        "rule_id": rule,
        "reason": reason,
        "binding": binding,
        "tried": tried,
        "overdue": status in ("NO_AVAILABILITY", "RECORD_TOO_OLD"),
        "quiet": bool((cause or {}).get("quiet")),
        "trace": chain if tried and chain is not None else -1,
        "cause": cause,
    }
    for column in _ROW_COLUMNS:
        getattr(plan, column).append(row_values[column])


_ROW_COLUMNS = [f.name for f in fields(Plan) if f.name not in ("config_version", "traces", "levels", "termination", "solver", "seconds")]
