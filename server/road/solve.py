"""Stops "segment", "plan", "solve" and "check" of one batch, in a worker process: a snapshot in, a `Plan` with its moves out.

Nothing is written here. What the batch reads is one snapshot; the commit checks every record's version and every claim again.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.group_config import GROUP_KINDS
from reallot.server.road.batch import Piece, Plan, Task
from reallot.server.road.groups import GroupTargets
from reallot.server.road.joined import with_related
from reallot.server.road.outcome import Decisions, Frame, Given
from reallot.server.road.plan import Candidates, Chained, Planner, RuleTargets
from reallot.server.road.pool import Pool
from reallot.server.road.reach import parts_for
from reallot.server.road.rebalancing import owners_of
from reallot.server.road.replaying import digest_of, names_of, packed, solved_of
from reallot.server.road.segment import Segmented, segment_records
from reallot.server.road.selection import NOT_RUN, select
from reallot.server.road.shares import counted_value
from reallot.server.road.showing import as_shown
from reallot.server.road.traits import note_steps, subjects_of, together, with_traits
from reallot.server.road.tries import due_rows
from reallot.server.road.work import Work
from reallot.server.road.writing import Writing
from reallot.server.workspace_config import SegmentConfig, WorkspaceConfig
from reallot.solver import assignment
from reallot.solver.assignment.problem import Ints
from reallot.solver.segmentation import NEVER, frame_from_json, next_change
from reallot.storage import ReadTransaction, RecordPart
from reallot.storage.entities import Load
from reallot.storage.rechecks import Recheck
from reallot.v1 import config_pb2, run_pb2, segment_pb2

Progress = Callable[[str], None]
NO_SEGMENT, FOREIGN_SEGMENT = -1, -2
CONNECTED = ("CONNECTED", "SEQUENCE_UNCHANGED")
"""How a record is connected that joined its segment's sequence."""


class Drafted(NamedTuple):
    """A task up to the problem that is to be solved, with the columns of the records by type, and their rows."""

    work: Work
    planner: Planner
    problem: assignment.Problem
    frames: dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]


def drafted(
    tx: ReadTransaction,
    config: WorkspaceConfig,
    task: Task,
    stage: Progress,
    *,
    changed: Callable[[Pool], Pool] = lambda pool: pool,
    keep_full: bool = False,
) -> Drafted:
    """Return the problem of a task on a snapshot.

    Args:
        tx: The snapshot.
        config: The configuration that decides.
        task: What is to be planned.
        stage: Told of each stage as it begins.
        changed: What is to be supposed of the sellers.
        keep_full: Sellers without free capacity stay among the options, for questions about them; the plan is the same.

    Raises:
        TooManyPairs: a target would be evaluated on more pairs than allowed.
    """
    stage("read")
    pool = changed(Pool.read(tx, config, task.now_us))
    work = select(tx, config, task, _reached(config, task, pool))
    stage("segment")
    frames = _segment(tx, work)
    _route(work)
    stage("plan")
    # Who owns a record is not looked at as one who would get it now: an owner who is away stays.
    _drop_eligible_owners(work, Planner(config, replace(pool, stands_in=False), task.now_us, task.seed), frames)
    planner = Planner(config, replace(pool, loads=_given_back(work, pool)), task.now_us, task.seed, keep_full=keep_full)
    _add_candidates(work, planner, frames)
    values = _column([counted_value(value) for value in work.records.value_units])
    return Drafted(work, planner, planner.problem(_column(work.records.priority), _ages(work), values), frames)


def _reached(config: WorkspaceConfig, task: Task, pool: Pool) -> tuple[RecordPart, ...] | None:
    """Return which records that wait an event run reads; None = all: it is for everybody's sake."""
    wanted = _wanted_sellers(task, pool) if task.kind == "EVENT" else None
    return parts_for(config, pool, wanted, _selection(task).record_type) if wanted is not None else None


def solve_task(tx: ReadTransaction, config: WorkspaceConfig, task: Task, progress: Progress) -> tuple[Plan, Iterator[Piece]]:
    """Return the plan of a task on a snapshot, and its moves in pieces, each written up when it is asked for.

    Raises:
        CheckFailed: the solver's plan did not pass the independent check.
        TooManyPairs: a target would be evaluated on more pairs than allowed.
    """
    clock = _Stopwatch(progress)
    decisions = decided(tx, config, task, clock.stage)
    writing = Writing(decisions)
    plan = _plan(decisions, writing)
    clock.stage("commit")
    return replace(plan, seconds=clock.seconds), writing.pieces()


def decided(
    tx: ReadTransaction, config: WorkspaceConfig, task: Task, stage: Progress, changed: Callable[[Pool], Pool] = lambda pool: pool
) -> Decisions:
    """Return what is decided about the records of a task on a snapshot; `changed` is what is to be supposed of the sellers.

    Raises:
        CheckFailed: the solver's plan did not pass the independent check.
        TooManyPairs: a target would be evaluated on more pairs than allowed.
    """
    work, planner, problem, frames = drafted(tx, config, task, stage, changed=changed)
    stage("solve")
    if task.applies:
        problem = as_shown(tx, work, planner, problem)
    given = _given(work, planner, problem)
    solved = solved_of(given, stage)
    if given.frame.rebalances:
        # Who keeps a record is not touched.
        work.assign[np.setdiff1d(given.rows, solved.rows)] = False
    decisions = Decisions(work, planner, solved, given)
    note_steps(work, np.flatnonzero(work.assign & (decisions.takers < 0)).tolist(), frames, _takers(planner.pool))
    return decisions


def _given(work: Work, planner: Planner, problem: assignment.Problem) -> Given:
    """Return what the plan of a task is made from."""
    task, wanted = work.task, _selection(work.task)
    names = _names(work, planner.pool) if task.is_kept else ""
    if task.applies or not wanted.HasField("rebalance"):
        return Given(problem, planner.rows(), Frame(task.sequential, task.limit, names))
    most = wanted.rebalance.most_changes if wanted.rebalance.HasField("most_changes") else None
    frame = Frame(sequential=False, limit=0, names=names, rebalances=True, most_changes=most)
    return Given(problem, planner.rows(), frame, owners_of(work, planner))


def _takers(pool: Pool) -> dict[str, Callable[[], pl.DataFrame]]:
    """Return how to get the columns of those who may take records, by what conditions call them."""
    return {"seller": lambda: pool.frame(()), **{kind: partial(pool.group_frame, kind) for kind in GROUP_KINDS}}


def _names(work: Work, pool: Pool) -> str:
    takers = [pool.owner_at(place).id for place in range(len(pool.sellers) + len(pool.groups))]
    return names_of(work.records.record_id, takers)


def _plan(decisions: Decisions, writing: Writing) -> Plan:
    work, problem, solution = decisions.work, decisions.solved.problem, decisions.solved.solution
    return Plan(
        work.config.version,
        len(decisions.rows),
        turns=len(decisions.turn_places),
        undecided=frozenset(work.task.record_ids).difference(work.records.record_id),
        flooded=writing.flooded(),
        levels=tuple((level.level_id, level.value, level.bound) for level in solution.levels),
        termination=(str(solution.termination.reason), str(solution.termination.limit)),
        solver={"version": assignment.SOLVER_VERSION, "classes": problem.classes, "pairs": problem.options},
        digest=digest_of(decisions.solved, decisions.given.frame) if decisions.given.frame.names else "",
        input=packed(decisions.given) if decisions.given.frame.names else b"",
        rechecks=tuple(work.rechecks),
        tries=decisions.tried_again_us,
        next_after=work.next_after,
    )


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


def _segment(tx: ReadTransaction, work: Work) -> dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]:
    """Segment what is to be segmented; return the columns that rules will read, by record type, with their rows."""
    frames = {}
    types = np.array(work.records.record_type, dtype=object)
    wanted = np.array([_resegments(work, i) for i in range(len(work.records))], dtype=np.bool_)
    for record_type in sorted(set(work.records.record_type)):
        rows = np.flatnonzero(types == record_type)
        frame = _frame(tx, work, record_type, rows)
        frames[record_type] = (rows, frame)
        segments = work.config.segments_by_type.get(record_type, ())
        again = wanted[rows] if segments else np.zeros(len(rows), dtype=np.bool_)
        if not segments:
            work.segmentation[rows[wanted[rows]]] = "NO_SEGMENT"
        if again.any():
            place = {s.id: i for i, s in enumerate(segments)}
            here = [place.get(s, NO_SEGMENT if _is_gone(work, s) else FOREIGN_SEGMENT) for s in work.segment[rows[again]]]
            present = np.array(here, dtype=np.int32)
            left = np.array([_has_left(work, row) for row in rows[again].tolist()], dtype=np.bool_)
            found = segment_records(segments, frame.filter(pl.Series(again)), present, now_us=work.task.now_us, left=left)
            _take(work, rows[again], [s.id for s in segments], found)
            _note_rechecks(work, rows[again], segments, frame.filter(pl.Series(again)))
    _note_passed(tx, work)
    return frames


def _resegments(work: Work, row: int) -> bool:
    """Tell whether a record is segmented: when its cause says so, and by runs also while it is in no segment and has no owner."""
    if (work.cause(row) or {}).get("resegment"):
        return True
    return work.task.kind != "INTAKE" and not work.records.owner_kind[row] and _is_gone(work, work.records.segment_id[row])


def _is_gone(work: Work, segment_id: str) -> bool:
    """Tell whether there is no such segment: none at all, or one that was deleted. Who is in it is in none."""
    return not segment_id or work.config.find("segment", segment_id) is None


def _has_left(work: Work, row: int) -> bool:
    """Tell whether a record is in no segment because the one that it was in released it."""
    if work.records.segment_id[row] or work.records.segmentation[row] != "NO_SEGMENT":
        return False
    former = work.config.segments.get(work.records.previous_segment_id[row])
    return former is not None and former.message.on_no_match == segment_pb2.ON_NO_MATCH_RELEASE


def _frame(tx: ReadTransaction, work: Work, record_type: str, rows: npt.NDArray[np.int64]) -> pl.DataFrame:
    segments = work.config.segments_by_type.get(record_type, ())
    needed = set(work.config.implied_fields.get(record_type, ())) | {name for s in segments for name in s.rule_fields}
    schema = work.config.record_types[record_type].schema
    frame = frame_from_json("record", schema, [work.records.fields[i] for i in rows], only=sorted(needed))
    reads = work.config.related_reads.get(record_type, frozenset())
    frame = with_related(tx, work.config, record_type, frame, [work.records.record_id[i] for i in rows], reads)
    return with_traits(
        tx, work.config, record_type, frame, subjects_of(work.records, rows, work.task.now_us, work.task.kind), work.task.now_us
    )


def _take(work: Work, rows: npt.NDArray[np.int64], names: Sequence[str], found: Segmented) -> None:
    named = np.array([*names, ""], dtype=object)
    # A present segment that is not active has no position: who may not move stays in it all the same.
    stays = (found.segment < 0) & ~found.released & (found.status != "NO_SEGMENT")
    work.segment[rows] = np.where(stays, work.segment[rows], named[found.segment])
    work.segmentation[rows] = found.status
    work.moved[rows] = found.moved
    work.released[rows] = found.released


def _note_rechecks(work: Work, rows: npt.NDArray[np.int64], segments: Sequence[SegmentConfig], frame: pl.DataFrame) -> None:
    rolling = [s.condition for s in segments if s.condition is not None and s.condition.crossings]
    if not rolling:
        return
    records = work.records
    for row, due_us in zip(rows.tolist(), next_change(rolling, frame, now_us=work.task.now_us).tolist(), strict=True):
        work.rechecks.append(Recheck(records.record_id[row], records.version[row], due_us if due_us != NEVER else None))


def _note_passed(tx: ReadTransaction, work: Work) -> None:
    """Note which sequences the records have passed that move to a segment with another one than they are in now."""
    records, found = work.records, {}
    for row in np.flatnonzero(work.moved).tolist():
        segment = work.config.segments.get(work.segment[row])
        wanted = segment.message.sequence_id if segment is not None else ""
        if wanted and records.connection[row] in CONNECTED and not (records.enrollment_id[row] and records.sequence_id[row] == wanted):
            found[row] = records.record_id[row]
    passed = tx.enrollments.passed(work.task.workspace, list(found.values())) if found else {}
    work.passed = {row: passed[record_id] for row, record_id in found.items() if record_id in passed}


def _route(work: Work) -> None:
    """Decide for every record whether the rules run, and what it is called where they do not."""
    records, intake = work.records, work.task.kind == "INTAKE"
    selection = run_pb2.RunSelection.FromString(work.task.selection)
    asks_owned, reopens = selection.owned_but_ineligible, work.task.reopens or selection.HasField("rebalance")
    for row in range(len(records)):
        segment = work.config.segments.get(work.segment[row])
        owned = records.owner_kind[row] != "" and not work.released[row]
        if segment is None:
            # One whose segment is not active at present stays as it is.
            work.status[row] = "" if owned or work.segment[row] else "NO_RULE_IN_SEGMENT"
        elif work.quiet(row):
            work.status[row] = "" if owned or (work.offered(row) and not work.moved[row]) else "WAITING"
        elif owned and reopens:
            work.assign[row] = True
        elif work.moved[row] and not segment.message.assign_on_move and (intake or owned):
            work.status[row] = NOT_RUN
        elif work.offered(row) and not owned and not work.moved[row]:
            _route_owned(work, row, segment.message)
        elif not owned:
            waits = segment.waits and _has_just_come(work, row)
            work.assign[row] = not waits
            work.status[row] = "WAITING" if waits else ""
        elif work.moved[row] or (not intake and (asks_owned or records.assignment[row] == NOT_RUN)):
            _route_owned(work, row, segment.message)


def _has_just_come(work: Work, row: int) -> bool:
    """Tell whether a record is on its way without having been asked for: it came, changed, or something else happened."""
    if work.task.kind == "INTAKE":
        return bool(work.moved[row]) or not work.goes_on(row)
    return work.task.kind == "EVENT" and work.segmentation[row] == "SEGMENTED"


def _route_owned(work: Work, row: int, segment: segment_pb2.Segment) -> None:
    """Have the rules decide about a record that has an owner or is offered; where it has not moved, only if that is no longer right."""
    moves = bool(work.moved[row]) or (work.records.assignment[row] == NOT_RUN and segment.assign_on_move)
    work.assign[row] = True
    work.keep[row] = not moves or segment.owner_policy == segment_pb2.OWNER_POLICY_KEEP_IF_ELIGIBLE
    work.only_ineligible[row] = not moves


def _by_segment(
    work: Work, chosen: npt.NDArray[np.bool_], frames: dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]
) -> list[Candidates]:
    found = []
    created = _column(work.records.created_us)
    for record_type, (rows, frame) in sorted(frames.items()):
        for segment in work.config.segments_by_type.get(record_type, ()):
            members = chosen[rows] & (work.segment[rows] == segment.id)
            if members.any():
                found.append(_candidates(work, segment, rows[members], frame.filter(pl.Series(members)), created))
    return found


def _candidates(
    work: Work, segment: SegmentConfig, rows: npt.NDArray[np.int64], frame: pl.DataFrame, created_us: npt.NDArray[np.int64]
) -> Candidates:
    records, places = work.records, rows.tolist()
    keys = [records.group_key[row] for row in places]
    names = together(segment, keys, frame)
    return Candidates(segment, rows, frame, created_us[rows], [records.record_id[row] for row in places], names)


def _drop_eligible_owners(work: Work, planner: Planner, frames: dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]) -> None:
    """Leave records with their owners where the owner may stay and is eligible.

    After a move any rule that is reached may keep the owner. Else it is the rule that gave the record, as long as it matches, or the
    first that does; where none does, nothing says that the owner must go.
    """
    for candidates in _by_segment(work, work.assign & work.keep, frames):
        targets = planner.targets_of(candidates)
        chain = planner.chains_of(candidates, targets)
        room = planner.pool.free_in("segment", candidates.segment.id)
        for row, own in zip(candidates.rows.tolist(), chain, strict=True):
            applying = [(t, c) for t, c in zip(targets, own.tolist(), strict=True) if c >= 0]
            if work.only_ineligible[row]:
                applying = [tc for tc in applying if tc[0].rule.key == work.records.rule_id[row]] or applying[:1]
            keeper = next((t.rule.key for t, c in applying if _may_own(work, row, planner, t, c, room)), None)
            if keeper is not None or (work.only_ineligible[row] and not applying):
                work.assign[row] = False
                if not work.only_ineligible[row]:
                    work.status[row], work.kept_by[row] = "ASSIGNED", keeper


def _may_own(work: Work, row: int, planner: Planner, target: RuleTargets | GroupTargets, combination: int, room: dict[int, int]) -> bool:
    """Tell whether a rule lets an owner keep a record; `room` is what sellers with a maximum for the segment have free there."""
    owner = (work.records.owner_kind[row], work.records.owner_id[row])
    place = planner.pool.place_of(*(("SELLER", work.holder(row)) if work.offered(row) else owner))
    if place < 0 or place not in target.matches.sellers_of(combination):
        return False
    # Of all maxima only that of the segment can be new to a record that its owner has already.
    if not target.rule.use_capacity or place not in room or work.only_ineligible[row] or not work.moved[row]:
        return True
    room[place] -= work.records.effort[row]
    if room[place] >= 0:
        return True
    room[place] += work.records.effort[row]
    return False


def _given_back(work: Work, pool: Pool) -> list[Load]:
    """Return the loads without the records whose owner is being decided anew, and with moved records where they will be."""
    records = work.records
    changes: dict[tuple[str, str, str], tuple[int, int]] = {}

    def change(key: tuple[str, str, str], effort: int, count: int) -> None:
        held = changes.get(key, (0, 0))
        changes[key] = (held[0] + effort, held[1] + count)

    for row in np.flatnonzero(work.assign | work.moved | work.released).tolist():
        owner, kind, effort = work.holder(row), records.record_type[row], records.effort[row]
        if not owner:
            continue
        change((owner, kind, records.segment_id[row]), -effort, -1)
        if not work.assign[row] and not work.released[row] and not work.offered(row):
            change((owner, kind, str(work.segment[row])), effort, 1)
    return [*pool.loads, *(Load(*key, *held) for key, held in sorted(changes.items()))]


def _add_candidates(work: Work, planner: Planner, frames: dict[str, tuple[npt.NDArray[np.int64], pl.DataFrame]]) -> None:
    effort = _column(work.records.effort)
    parts = [planner.chained(candidates) for candidates in _by_segment(work, work.assign, frames)]
    wanted = _wanted_sellers(work.task, planner.pool)
    if wanted is not None:
        kept = _kept(work, parts, wanted)
        for part, own in zip(parts, kept, strict=True):
            work.assign[part.candidates.rows[~own]] = False
        parts = [part.only(own) for part, own in zip(parts, kept, strict=True)]
    for part in parts:
        planner.add(part, effort[part.candidates.rows])


def _kept(work: Work, parts: Sequence[Chained], wanted: Ints) -> list[npt.NDArray[np.bool_]]:
    """Return for each part what a run for the sake of some sellers looks at: what they may get, what is due, and what goes with it."""
    kept = [part.fits(wanted) for part in parts]
    if _selection(work.task).due:
        due = due_rows(work.records.next_try_us, work.task.now_us)
        kept = [own | due[part.candidates.rows] for part, own in zip(parts, kept, strict=True)]
    named = {part.candidates.together[row] for part, own in zip(parts, kept, strict=True) for row in np.flatnonzero(own).tolist()} - {""}
    if named:
        mates = [np.array([name in named for name in part.candidates.together], dtype=np.bool_) for part in parts]
        kept = [own | along for own, along in zip(kept, mates, strict=True)]
    return kept


def _selection(task: Task) -> run_pb2.RunSelection:
    return run_pb2.RunSelection.FromString(task.selection)


def _wanted_sellers(task: Task, pool: Pool) -> Ints | None:
    """Return the places of the sellers for whose sake the run is, None = everybody's."""
    asked = _selection(task).seller_ids
    return np.array(sorted(pool.place[name] for name in asked if name in pool.place), dtype=np.int64) if asked else None


def _column(values: Sequence[int]) -> Ints:
    return np.array(values, dtype=np.int64)


def _ages(work: Work) -> Ints:
    created = _column(work.records.created_us)
    if work.config.settings.age_by != config_pb2.AGE_BY_WAITING:
        return created
    return np.array([w if w is not None else c for w, c in zip(work.records.waiting_since_us, created, strict=True)], dtype=np.int64)
