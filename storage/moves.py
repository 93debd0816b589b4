"""Changes of records written up for the tables: the one path through which every change of a record goes.

A `Move` is one record's change, whole or not at all, as the values that the tables take. A transition is written up here, in its
transaction; the moves of a plan come written up from the worker that made it, so that committing many is little more than the
statements themselves. What moves have in common, of records that stand alike, is written up once: their pattern.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence, Set
from functools import reduce
from operator import itemgetter, or_
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from reallot.storage import capacity
from reallot.storage.among import named, these
from reallot.storage.capacity import Place, Weight, weight_of
from reallot.storage.dialect import delete_rows, fetched, insert_rows, update_rows, upsert
from reallot.storage.documents import dump, owner_pair
from reallot.storage.entities import (
    Decision,
    EnrollmentChange,
    Gain,
    Json,
    Limits,
    Outcome,
    OwnerKind,
    PendingMark,
    Record,
    Standing,
    Transition,
    Turn,
    open_offer,
)
from reallot.storage.numbering import NOW, EventBuffer, EventText, draw, event_text
from reallot.storage.offers import OfferRepository, OfferStep
from reallot.storage.pending import PendingRepository
from reallot.storage.sellers import SellerRepository
from reallot.storage.steps import StepLook, StepRepository
from reallot.storage.tables import decisions, enrollments, graves, pending, records

WRITTEN = ("record_type", "fields", "related", "active", "priority", "value_units", "effort", "created_us", "created_by", "group_key")
"""Columns that only callers write."""
STATE = (
    *("owner_kind", "owner_id", "previous_owner_kind", "previous_owner_id", "offered_to"),
    *("segment_id", "previous_segment_id", "segmentation"),
    *("assignment", "connection", "reason", "rule_id", "run_id", "attempts", "next_try_us"),
    *("enrollment_id", "sequence_id", "sequence_version", "step"),
)
"""Columns that the road writes."""
STAMPS = ("last_attempt_us", "overdue_us", "waiting_since_us")
ALL = (1 << len(STATE)) - 1
"""All columns of STATE."""
_KEY = ("workspace", "record_id")
_ENROLLMENT = ("workspace", "enrollment_id", "record_id", "sequence_id", "sequence_version", "step", "state", "start_us", "end_us")


class DecisionText(NamedTuple):
    """A line of a record's log, without the record and what was considered; documents as texts. `time_us` may be NOW.

    `version` is that of the record as the decision leaves it.
    """

    time_us: int
    cause: str
    status: str
    reason: str
    before: str
    after: str
    rule_id: str
    run_id: str
    version: int


_DECISION = ("workspace", "record_id", "considered", *DecisionText._fields)


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
    """A turn that a seller takes, by a rule or, "", by what else counts."""

    seller_id: str
    record_type: str
    rule_id: str = ""


class Pattern(NamedTuple):
    """What moves of records that stand alike have in common; those of one plan share it.

    Attributes:
        version: Version that must be stored; None = the record must not exist.
        next_version: Version that will be stored.
        weight: Where it weighs before.
        weight_after: Where it weighs after.
        written: Values of WRITTEN; None = they stay.
        state: Values of STATE; empty = the record is deleted.
        stamps: Values of STAMPS but the last.
        changes: Which values of STATE differ from those at `version`, a bit for each from the lowest on; ALL = not known.
        turn: Turn that its new owner takes.
        offer: What becomes of its offers.
        ends: End of its enrollment.
        starts: Its new enrollment.
        event: What is told, without the sentence.
        decision: What is logged, without what was considered.
        cause: Why, as a document.
        binding: The maxima of the new owner hold.
        frees: Somebody may have more room than before.
        counted: Names of the counters that it raises by one.
        looks: Its steps are to be looked at.
        closes: It is worked no more.
        parties: Sellers whom the old owner and whom the new owner concerns.
        pool: Position, among the pools of its plan, of that from which it is given by shares; -1 = none.
    """

    version: int | None
    next_version: int
    weight: Weight | None
    weight_after: Weight | None
    written: tuple[Any, ...] | None
    state: tuple[Any, ...]
    stamps: tuple[int | None, ...]
    changes: int = ALL
    turn: Taken | None = None
    offer: OfferStep | None = None
    ends: EnrollmentEnd | None = None
    starts: EnrollmentStart | None = None
    event: EventText | None = None
    decision: DecisionText | None = None
    cause: Json = None
    binding: bool = False
    frees: bool = False
    counted: tuple[str, ...] = ()
    looks: bool = False
    closes: str = ""
    parties: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    pool: int = -1

    @property
    def given_to(self) -> str:
        """The seller in whose windows the record counts if it comes to the seller by this; "" = it counts in none."""
        if self.turn is not None:
            return self.turn.seller_id
        starts = self.offer.starts if self.offer is not None else None
        return starts.seller_id if starts is not None else ""


class Move(NamedTuple):
    """One record's change, written up.

    Attributes:
        record_id: The record.
        pattern: All that it may share with others.
        waiting_since_us: Last value of STAMPS.
        place: Position of its turn, from 0, among those of its plan, in whatever order moves are committed.
        sentence: The event's sentence, as JSON.
        considered: What the rules made of it, as JSON.
        generation: Generation of the pending mark that is cleared, 0 = none.
        mark: Pending mark to be added.
        amount: How much of what its rule shares out it is.
    """

    record_id: str
    pattern: Pattern
    waiting_since_us: int | None = None
    place: int = 0
    sentence: str = "null"
    considered: str = "null"
    generation: int = 0
    mark: PendingMark | None = None
    amount: int = 1


def decision_text(line: Decision, version: int) -> DecisionText:
    """Return the line of a decision that leaves its record at a version, with its documents as texts."""
    documents = (dump(line.before), dump(line.after))
    return DecisionText(line.time_us, dump(line.cause), line.status, line.reason, *documents, line.rule_id, line.run_id, version)


def move_of(transition: Transition, now_us: int, last_versions: Mapping[str, int]) -> Move:
    """Write up a transition; storage itself keeps version, waiting time and enrollment on the row."""
    before, after, change = transition.before, transition.after, transition.enrollment
    event, decision = transition.event, transition.decision
    subject = transition.subject
    version = (before.version if before else last_versions.get(subject.record_id, 0)) + 1
    ends, starts, enrolled = enrollment_of(before, after, change, version)
    owner = after.owner if after and transition.counts_turn else None
    pattern = Pattern(
        version=before.version if before else None,
        next_version=version,
        weight=weight_of(before),
        weight_after=weight_of(after),
        written=_written(after) if after else None,
        state=state_of(after, enrolled) if after else (),
        stamps=(after.last_attempt_us, after.overdue_us) if after else (),
        turn=Taken(owner.id, subject.record_type) if owner and owner.kind is OwnerKind.SELLER else None,
        offer=_offer_step(before, after, transition),
        ends=ends,
        starts=starts,
        event=event_text(event) if event else None,
        decision=decision_text(decision, version) if decision else None,
        looks=transition.looks or looks(before, after, change),
        closes=closes(before, after),
    )
    return Move(
        record_id=subject.record_id,
        pattern=pattern,
        waiting_since_us=_waiting_since(after, now_us) if after else None,
        sentence=dump(event.sentence) if event else "null",
        considered=dump(decision.considered) if decision else "null",
        generation=transition.clear_generation or 0,
        mark=transition.mark if after else None,
    )


def _offer_step(before: Record | None, after: Record | None, transition: Transition) -> OfferStep | None:
    held, starts = open_offer(before), transition.offer_start
    ends = held if held != open_offer(after) else ""
    return OfferStep(ends, transition.offer_end, starts) if ends or starts is not None else None


def looks(before: Record | Standing | None, after: Record | Standing | None, change: EnrollmentChange | None) -> bool:
    """Tell whether the steps of a record are to be looked at: its enrollment goes another way, or it has another owner."""
    if after is None or not after.active:
        return False
    return change is not None or (before is not None and bool(before.enrollment_id) and before.owner != after.owner)


def closes(before: Record | Standing | None, after: Record | Standing | None) -> str:
    """Return why a record is worked no more after a change; "" if it still is, or was not before."""
    if before is None or (after is not None and (after.active or not before.active)):
        return ""
    return "RECORD_DELETED" if after is None else "RECORD_CLOSED"


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
        open_offer(after),
        *(after.segment_id, after.previous_segment_id, after.segmentation),
        *(after.assignment, after.connection, after.reason, after.rule_id, after.run_id, after.attempts, after.next_try_us),
        *enrolled,
    )


def changes_between(before: tuple[Any, ...], after: tuple[Any, ...]) -> int:
    """Return which values of STATE differ, a bit for each."""
    return sum(1 << place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old != new)


def enrollment_columns(record: Any) -> tuple[str, str, int, int]:
    """Return a record's enrollment, sequence, its version, and step; None = the record does not exist."""
    return (record.enrollment_id, record.sequence_id, record.sequence_version, record.step) if record else ("", "", 0, 0)


def enrollment_of(
    before: Any, after: Any, change: EnrollmentChange | None, version: int
) -> tuple[EnrollmentEnd | None, EnrollmentStart | None, tuple[str, str, int, int]]:
    """Return how the open enrollment ends, which begins, and the columns of the record: enrollment, sequence, version, step.

    `before` and `after` have the enrollment's columns as attributes; None = the record does not exist.
    """
    open_ = enrollment_columns(before)
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


_VERSIONS = select(records.c.record_id, records.c.version).where(named(records, "record_id"))


def stored_versions(connection: Connection, workspace: str, record_ids: Collection[str]) -> dict[str, int]:
    """Return the versions of the records that exist, by id."""
    if not record_ids:
        return {}
    return dict(fetched(connection, _VERSIONS, these(workspace, record_ids)))


class MoveWriter:
    """Carries out moves of one workspace within one transaction."""

    def __init__(
        self, connection: Connection, buffer: EventBuffer, marks: PendingRepository, sellers: SellerRepository, steps: StepRepository
    ) -> None:
        self._connection = connection
        self._buffer = buffer
        self._marks = marks
        self._sellers = sellers
        self._steps = steps

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
        patterns = {id(move.pattern): move.pattern for move in moves}.values()
        burdened = {weight.place[0] for p in patterns for weight in (p.weight, p.weight_after) if weight is not None}
        windows = self._sellers.windows.of(workspace, {taker for p in patterns if (taker := p.given_to)})
        account = capacity.open_account(self._connection, workspace, burdened, windows, now_us)
        shifts = [(move.pattern.weight, move.pattern.weight_after, claim) for move, claim in zip(moves, claims, strict=True)]
        outcomes = capacity.settle(account, shifts)
        capacity.store(self._connection, workspace, account)
        made = [move for move, outcome in zip(moves, outcomes, strict=True) if outcome is Outcome.COMMITTED]
        # Neighbours in the tables are written one after the other; events come in the order of the moves.
        by_id = sorted(made, key=itemgetter(0))
        self._store_rows(workspace, by_id, now_us)
        self._store_enrollments(workspace, by_id, now_us)
        if windows:
            self._sellers.windows.add(workspace, windows, _given([m.pattern for m in made if m.pattern.given_to]), now_us)
        self._take_back(workspace, by_id)
        steps = [(move.record_id, step) for move in by_id if (step := move.pattern.offer) is not None]
        OfferRepository(self._connection).step(workspace, steps, now_us)
        self._store_turns(workspace, [(m.place, m.pattern.turn) for m in made if m.pattern.turn is not None], now_us, first_turn)
        self._marks.clear(workspace, [(move.record_id, move.generation) for move in made if move.generation])
        self._marks.mark(workspace, [move.mark for move in made if move.mark is not None])
        logged = [(move, move.pattern.decision) for move in by_id if move.pattern.decision is not None]
        lines = [(workspace, m.record_id, m.considered, now_us if line[0] == NOW else line[0], *line[1:]) for m, line in logged]
        insert_rows(self._connection, decisions, _DECISION, lines)
        told = [(move.pattern.event, move.record_id, move.sentence) for move in made if move.pattern.event is not None]
        self._buffer.add_texts(workspace, now_us, told, untold)
        return outcomes

    def _take_back(self, workspace: str, made: Sequence[Move]) -> None:
        """Take out of windows what was offered to sellers, or claimed by them, and has not become theirs."""
        ended = {(m.record_id, step.ends): m.pattern for m in made if (step := m.pattern.offer) is not None and step.ends}
        lost = {key: p.weight for key, p in ended.items() if p.weight_after is None or p.weight_after.place[0] != key[1]}
        windows = self._sellers.windows.of(workspace, {seller for _, seller in lost}) if lost else {}
        if not windows:
            return
        begun = OfferRepository(self._connection).begun(workspace, [record_id for record_id, _ in lost])
        back = [
            Gain(key[1], begun[key].start_us, *weight.place[1:], weight.effort)
            for key, weight in lost.items()
            if weight is not None and key[1] in windows and key in begun
        ]
        self._sellers.windows.take_back(workspace, back)

    def _store_rows(self, workspace: str, made: Sequence[Move], now_us: int) -> None:
        created, changed = [m for m in made if m.pattern.version is None], [m for m in made if m.pattern.version is not None]
        road = (*STATE, *STAMPS, "version", "update_us")
        rows = [(workspace, m.record_id, now_us, *(m.pattern.written or ()), *_road(m, now_us)) for m in created]
        insert_rows(self._connection, records, (*_KEY, "create_us", *WRITTEN, *road), rows)
        written = [m for m in changed if m.pattern.written is not None]
        rows = [(*(m.pattern.written or ()), *_road(m, now_us), workspace, m.record_id) for m in written]
        update_rows(self._connection, records, _KEY, (*WRITTEN, *road), rows)
        self._store_moved(workspace, [m for m in changed if m.pattern.written is None and m.pattern.state], now_us)
        self._delete(workspace, [m for m in changed if not m.pattern.state])

    def _store_moved(self, workspace: str, moved: Sequence[Move], now_us: int) -> None:
        """Store what the road writes, as far as it changes: a column that is named has its indexes written, too."""
        patterns = {id(move.pattern): move.pattern for move in moved}
        changes = reduce(or_, (pattern.changes for pattern in patterns.values()), 0)
        places = [place for place in range(len(STATE)) if changes >> place & 1]
        shared = {key: (*(p.state[place] for place in places), *p.stamps, p.next_version, now_us) for key, p in patterns.items()}
        rows = [(*shared[id(m.pattern)], m.waiting_since_us, workspace, m.record_id) for m in moved]
        columns = (*(STATE[place] for place in places), *STAMPS[:-1], "version", "update_us", STAMPS[-1])
        update_rows(self._connection, records, _KEY, columns, rows)

    def _delete(self, workspace: str, gone: Sequence[Move]) -> None:
        upsert(self._connection, graves, [{"workspace": workspace, "record_id": m.record_id, "version": m.pattern.version} for m in gone])
        keys = [(workspace, move.record_id) for move in gone]
        delete_rows(self._connection, records, _KEY, keys)
        delete_rows(self._connection, pending, _KEY, keys)
        OfferRepository(self._connection).forget_records(workspace, [move.record_id for move in gone])

    def _store_enrollments(self, workspace: str, made: Sequence[Move], now_us: int) -> None:
        ends = [end for m in made if (end := m.pattern.ends) is not None]
        ended = [(e.step, e.state, now_us if e.end_reason else None, e.end_reason, workspace, e.enrollment_id) for e in ends]
        update_rows(self._connection, enrollments, ("workspace", "enrollment_id"), ("step", "state", "end_us", "end_reason"), ended)
        begun = [(workspace, *start, "ACTIVE", now_us, None) for m in made if (start := m.pattern.starts) is not None]
        insert_rows(self._connection, enrollments, _ENROLLMENT, begun)
        # What becomes of the steps of a record that has moved is the sequence's to say, and found by the look.
        gone = {e.enrollment_id: e.end_reason for e in ends if e.end_reason not in ("", "RESEGMENTED")}
        if gone:
            self._steps.cancel(workspace, gone, now_us)
        for reason in sorted({m.pattern.closes for m in made} - {""}):
            self._steps.cancel_all(workspace, [m.record_id for m in made if m.pattern.closes == reason], reason, now_us)
        self._steps.ask(workspace, step_looks_of(made), now_us)

    def _store_turns(self, workspace: str, taken: Sequence[tuple[int, Taken]], now_us: int, first: int | None) -> None:
        if first is None:
            first = draw(self._connection, workspace, "turn_number", len(taken)) if taken else 0
            taken = [(place, turn) for place, (_, turn) in enumerate(taken)]
        latest = {turn: first + place for place, turn in sorted(taken, key=itemgetter(0))}
        self._sellers.take_turns(workspace, [Turn(t.seller_id, t.record_type, order, now_us, t.rule_id) for t, order in latest.items()])


def step_looks_of(moves: Sequence[Move]) -> list[StepLook]:
    """Return which records' steps are to be looked at after moves."""
    found = ((move.record_id, move.pattern) for move in moves if move.pattern.looks)
    return [StepLook(record_id, pattern.event is not None and bool(pattern.event.notify)) for record_id, pattern in found]


def _given(patterns: Sequence[Pattern]) -> Counter[Place]:
    """Return the efforts that come to sellers who did not have them."""
    given: Counter[Place] = Counter()
    for pattern in patterns:
        if pattern.weight_after is not None and capacity.gains(pattern.weight, pattern.weight_after):
            given[pattern.weight_after.place] += pattern.weight_after.effort
    return given


def _road(move: Move, now_us: int) -> tuple[Any, ...]:
    """Return what the road writes to the row: STATE, STAMPS, version, instant."""
    pattern = move.pattern
    return (*pattern.state, *pattern.stamps, move.waiting_since_us, pattern.next_version, now_us)
