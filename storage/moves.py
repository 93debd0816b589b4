"""Changes of records written up for the tables: the one path through which every change of a record goes.

A `Move` is one record's change, whole or not at all, as the values that the tables take. A transition is written up here, in its
transaction; the moves of a plan come written up from the worker that made it, so that committing many is little more than the
statements themselves.
"""

from collections.abc import Mapping, Sequence, Set
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from reallot.storage import capacity
from reallot.storage.among import among
from reallot.storage.capacity import Weight, weight_of
from reallot.storage.dialect import delete_rows, insert_rows, update_rows, upsert
from reallot.storage.documents import dump, owner_pair
from reallot.storage.entities import (
    Decision,
    EnrollmentChange,
    Json,
    Limits,
    Outcome,
    OwnerKind,
    PendingMark,
    Record,
    Standing,
    Transition,
    Turn,
)
from reallot.storage.numbering import NOW, EventBuffer, EventText, draw, event_text
from reallot.storage.pending import PendingRepository
from reallot.storage.sellers import SellerRepository
from reallot.storage.tables import decisions, enrollments, graves, pending, records

WRITTEN = ("record_type", "fields", "related", "active", "priority", "value_units", "effort", "created_us", "created_by", "group_key")
"""Columns that only callers write."""
STATE = (
    *("owner_kind", "owner_id", "previous_owner_kind", "previous_owner_id", "segment_id", "previous_segment_id", "segmentation"),
    *("assignment", "connection", "reason", "rule_id", "run_id", "attempts", "next_try_us"),
    *("enrollment_id", "sequence_id", "sequence_version", "step"),
)
"""Columns that the road writes."""
STAMPS = ("last_attempt_us", "overdue_us", "waiting_since_us")
_KEY = ("workspace", "record_id")
_ENROLLMENT = ("workspace", "enrollment_id", "record_id", "sequence_id", "sequence_version", "step", "state", "start_us", "end_us")


class DecisionText(NamedTuple):
    """A line of a record's log; documents as texts. `time_us` may be NOW."""

    time_us: int
    record_id: str
    cause: str
    status: str
    reason: str
    before: str
    after: str
    rule_id: str
    run_id: str
    considered: str


_DECISION = ("workspace", *DecisionText._fields)


class EnrollmentEnd(NamedTuple):
    """What becomes of the open enrollment: it ends, or goes on at another step (state ACTIVE, no reason)."""

    enrollment_id: str
    step: int
    state: str
    end_reason: str


class EnrollmentStart(NamedTuple):
    """An enrollment that begins."""

    enrollment_id: str
    record_id: str
    sequence_id: str
    sequence_version: int
    step: int


class Taken(NamedTuple):
    """A turn that a seller takes; `place` is its position, from 0, among those of its plan, in whatever order moves are committed."""

    seller_id: str
    record_type: str
    place: int = 0


class Move(NamedTuple):
    """One record's change, written up.

    Attributes:
        record_id: The record.
        version: Version that must be stored; None = it must not exist.
        next_version: Version that will be stored.
        weight: Where it weighs before.
        weight_after: Where it weighs after.
        written: Values of WRITTEN; None = they stay.
        state: Values of STATE; empty = the record is deleted.
        stamps: Values of STAMPS, NOW = the instant of the commit.
        turn: Turn that its new owner takes.
        ends: End of its enrollment.
        starts: Its new enrollment.
        event: What is told.
        decision: What is logged.
        mark: Pending mark to be added.
        generation: Generation of the mark that is cleared, 0 = none.
        cause: Why, as a document.
        binding: The maxima of the new owner hold.
        frees: Somebody may have more room than before.
        counted: Names of the counters that it raises by one.
    """

    record_id: str
    version: int | None
    next_version: int
    weight: Weight | None
    weight_after: Weight | None
    written: tuple[Any, ...] | None
    state: tuple[Any, ...]
    stamps: tuple[int | None, ...]
    turn: Taken | None = None
    ends: EnrollmentEnd | None = None
    starts: EnrollmentStart | None = None
    event: EventText | None = None
    decision: DecisionText | None = None
    mark: PendingMark | None = None
    generation: int = 0
    cause: Json = None
    binding: bool = False
    frees: bool = False
    counted: tuple[str, ...] = ()


def decision_text(line: Decision) -> DecisionText:
    """Return a line with its documents as texts."""
    documents = (dump(line.before), dump(line.after))
    return DecisionText(
        line.time_us,
        line.record_id,
        dump(line.cause),
        line.status,
        line.reason,
        *documents,
        line.rule_id,
        line.run_id,
        dump(line.considered),
    )


def move_of(transition: Transition, now_us: int, last_versions: Mapping[str, int]) -> Move:
    """Write up a transition; storage itself keeps version, waiting time and enrollment on the row."""
    before, after, change = transition.before, transition.after, transition.enrollment
    subject = after or before
    assert subject is not None
    version = (before.version if before else last_versions.get(subject.record_id, 0)) + 1
    ends, starts, enrolled = enrollment_of(before, after, change, version)
    owner = after.owner if after and transition.counts_turn else None
    return Move(
        record_id=subject.record_id,
        version=before.version if before else None,
        next_version=version,
        weight=weight_of(before),
        weight_after=weight_of(after),
        written=_written(after) if after else None,
        state=state_of(after, enrolled) if after else (),
        stamps=(after.last_attempt_us, after.overdue_us, _waiting_since(after, now_us)) if after else (),
        turn=Taken(owner.id, subject.record_type) if owner and owner.kind is OwnerKind.SELLER else None,
        ends=ends,
        starts=starts,
        event=event_text(transition.event) if transition.event else None,
        decision=decision_text(transition.decision) if transition.decision else None,
        mark=transition.mark if after else None,
        generation=transition.clear_generation or 0,
    )


def _waiting_since(after: Record, now_us: int) -> int | None:
    return (after.waiting_since_us or now_us) if after.active and after.owner is None else None


def _written(after: Record) -> tuple[Any, ...]:
    documents = (dump(dict(after.fields)), dump(dict(after.related)))
    plain = (after.active, after.priority, after.value_units, after.effort, after.created_us, after.created_by, after.group_key)
    return (after.record_type, *documents, *plain)


def state_of(after: Record | Standing, enrolled: tuple[str, str, int, int]) -> tuple[Any, ...]:
    """Return the values of STATE; `enrolled` are those of the enrollment."""
    return (
        *owner_pair(after.owner),
        *owner_pair(after.previous_owner),
        *(after.segment_id, after.previous_segment_id, after.segmentation),
        *(after.assignment, after.connection, after.reason, after.rule_id, after.run_id, after.attempts, after.next_try_us),
        *enrolled,
    )


def enrollment_of(
    before: Any, after: Any, change: EnrollmentChange | None, version: int
) -> tuple[EnrollmentEnd | None, EnrollmentStart | None, tuple[str, str, int, int]]:
    """Return how the open enrollment ends, which begins, and the columns of the record: enrollment, sequence, version, step.

    `before` and `after` have the enrollment's columns as attributes; None = the record does not exist.
    """
    open_ = (before.enrollment_id, before.sequence_id, before.sequence_version, before.step) if before else ("", "", 0, 0)
    if after is None and open_[0] and change is None:
        change = EnrollmentChange("RECORD_DELETED")
    if change is None:
        return None, None, open_
    ends = starts = None
    if open_[0] and (change.end_reason or change.move_to_step):
        state = "ACTIVE" if not change.end_reason else "COMPLETED" if change.end_reason == "COMPLETED" else "ENDED"
        ends = EnrollmentEnd(open_[0], change.move_to_step or open_[3], state, change.end_reason)
        open_ = ("", "", 0, 0) if change.end_reason else (*open_[:3], change.move_to_step)
    if change.start_sequence_id and after is not None:
        sequence = (change.start_sequence_id, change.start_sequence_version, change.start_step)
        open_ = (f"{after.record_id}/{version}", *sequence)
        starts = EnrollmentStart(open_[0], after.record_id, *sequence)
    return ends, starts, open_


class MoveWriter:
    """Carries out moves of one workspace within one transaction."""

    def __init__(self, connection: Connection, buffer: EventBuffer, marks: PendingRepository, sellers: SellerRepository) -> None:
        self._connection = connection
        self._buffer = buffer
        self._marks = marks
        self._sellers = sellers

    def versions(self, workspace: str, moves: Sequence[Move]) -> dict[str, int]:
        """Return the stored versions of the records that exist, by id."""
        c = records.c
        wanted = among(c.record_id, [move.record_id for move in moves])
        return {row[0]: row[1] for row in self._connection.execute(select(c.record_id, c.version).where(c.workspace == workspace, wanted))}

    def carry_out(
        self,
        workspace: str,
        moves: Sequence[Move],
        claims: Sequence[Limits | None],
        now_us: int,
        first_turn: int | None = None,
        untold: Set[str] = frozenset(),
    ) -> list[Outcome]:
        """Carry out moves of different records at their versions; those whose claim does not fit leave their record as it was.

        Turns are numbered from `first_turn`, drawn before, by their places; None = drawn here, in the order of the moves. The sellers
        `untold` get no notices.
        """
        burdened = {weight.place[0] for move in moves for weight in (move.weight, move.weight_after) if weight is not None}
        account = capacity.open_account(self._connection, workspace, burdened)
        outcomes = capacity.settle(account, [(m.weight, m.weight_after, claim) for m, claim in zip(moves, claims, strict=True)])
        capacity.store(self._connection, workspace, account)
        made = [move for move, outcome in zip(moves, outcomes, strict=True) if outcome is Outcome.COMMITTED]
        self._store_rows(workspace, made, now_us)
        self._store_enrollments(workspace, made, now_us)
        self._store_turns(workspace, [move.turn for move in made if move.turn is not None], now_us, first_turn)
        self._marks.clear(workspace, [(move.record_id, move.generation) for move in made if move.generation])
        self._marks.mark(workspace, [move.mark for move in made if move.mark is not None])
        told = [(move.decision, now_us if move.decision.time_us == NOW else move.decision.time_us) for move in made if move.decision]
        lines = [(workspace, time_us, *decision[1:]) for decision, time_us in told]
        insert_rows(self._connection, decisions, _DECISION, lines)
        self._buffer.add_texts(workspace, now_us, [move.event for move in made if move.event is not None], untold)
        return outcomes

    def _store_rows(self, workspace: str, made: Sequence[Move], now_us: int) -> None:
        created: list[tuple[Any, ...]] = []
        changed: list[tuple[Any, ...]] = []
        moved: list[tuple[Any, ...]] = []
        gone: list[Move] = []
        for m in made:
            if not m.state:
                gone.append(m)
                continue
            road = (*m.state, *[now_us if stamp == NOW else stamp for stamp in m.stamps], m.next_version, now_us)
            if m.version is None:
                created.append((workspace, m.record_id, now_us, *(m.written or ()), *road))
            elif m.written is not None:
                changed.append((*m.written, *road, workspace, m.record_id))
            else:
                moved.append((*road, workspace, m.record_id))
        road_columns = (*STATE, *STAMPS, "version", "update_us")
        insert_rows(self._connection, records, (*_KEY, "create_us", *WRITTEN, *road_columns), created)
        update_rows(self._connection, records, _KEY, (*WRITTEN, *road_columns), changed)
        update_rows(self._connection, records, _KEY, road_columns, moved)
        self._delete(workspace, gone)

    def _delete(self, workspace: str, gone: Sequence[Move]) -> None:
        upsert(self._connection, graves, [{"workspace": workspace, "record_id": m.record_id, "version": m.version} for m in gone])
        keys = [(workspace, move.record_id) for move in gone]
        delete_rows(self._connection, records, _KEY, keys)
        delete_rows(self._connection, pending, _KEY, keys)

    def _store_enrollments(self, workspace: str, made: Sequence[Move], now_us: int) -> None:
        ended = [
            (e.step, e.state, now_us if e.end_reason else None, e.end_reason, workspace, e.enrollment_id) for m in made if (e := m.ends)
        ]
        update_rows(self._connection, enrollments, ("workspace", "enrollment_id"), ("step", "state", "end_us", "end_reason"), ended)
        begun = [(workspace, *m.starts, "ACTIVE", now_us, None) for m in made if m.starts is not None]
        insert_rows(self._connection, enrollments, _ENROLLMENT, begun)

    def _store_turns(self, workspace: str, taken: Sequence[Taken], now_us: int, first: int | None) -> None:
        if first is None:
            first = draw(self._connection, workspace, "turn_number", len(taken)) if taken else 0
            taken = [turn._replace(place=place) for place, turn in enumerate(taken)]
        latest = {(turn.seller_id, turn.record_type): first + turn.place for turn in sorted(taken, key=lambda turn: turn.place)}
        self._sellers.take_turns(workspace, [Turn(*taker, order, now_us) for taker, order in latest.items()])
