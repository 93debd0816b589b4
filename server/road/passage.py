"""What becomes of an enrollment when its steps are looked at: pure decisions about one record.

A look carries on from the present step as far as nothing has to be waited for: what somebody does, a pause, a fork with a time limit.
It is repeated when one of these instants comes, when somebody has done something, or when the record or its owner changes.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from google.protobuf import duration_pb2

from reallot.server.road.change import Change, Upsert, change_of
from reallot.server.sequence_config import AT_ONCE, CANCEL, HAND_OVER, HUMAN, SequenceConfig, kind_of_step
from reallot.server.workspace_config import WorkspaceConfig, is_active
from reallot.solver.calendars import Calendar, next_working, worked_for
from reallot.solver.segmentation import Condition, Schema, evaluate, frame_of
from reallot.storage.entities import EnrollmentChange, OwnerKind, Record
from reallot.storage.steps import CANCELLED, COMPLETED, SKIPPED, StepRow

MOST_ROUNDS = 10
"""How often a record may come to the same step that takes no time within LOOP_US: beyond that it goes round in circles."""
LOOP_US = 60_000_000
MOST_IN_A_LOOK = 200
"""Steps that one look ends; the next goes on from there."""


@dataclass(frozen=True)
class Act:
    """What somebody does with the present step: COMPLETED, with an outcome, or SKIPPED."""

    state: str
    outcome: str = ""


@dataclass(frozen=True)
class Around:
    """What a look sees beside the record.

    Attributes:
        config: The configuration.
        now_us: The present instant.
        calendar_of: Calendar of a seller; None = always at work.
        resting_of: Triggers that rest for a change of the record, and until when.
        rounds_of: How often the record has lately come to steps that take no time, by sequence and number of the step.
        last_outcome_of: Outcome of the last completed step of the record's enrollment.
    """

    config: WorkspaceConfig
    now_us: int
    calendar_of: Callable[[str], Calendar | None]
    resting_of: Callable[[Upsert], Mapping[str, int]]
    rounds_of: Callable[[Record], Mapping[tuple[str, int], int]]
    last_outcome_of: Callable[[Record], str]


class Told(NamedTuple):
    """A step that is to be told of: it has fallen due, or is overdue."""

    row: StepRow
    overdue: bool


class _Ended(NamedTuple):
    """How a step ends: state, outcome, number of the next step (0 = the sequence ends), and why the enrollment ends with it, if it does."""

    state: str
    outcome: str = ""
    following: int = 0
    change: EnrollmentChange | None = None


def holds(condition: Condition, record: Record, schema: Schema, now_us: int) -> bool:
    """Tell whether a condition holds on a record."""
    return bool(evaluate([condition], frame_of("record", schema, [record.fields]), now_us=now_us)[0, 0])


def exits(sequence: SequenceConfig, record: Record, schema: Schema, now_us: int) -> bool:
    """Tell whether a condition holds that ends the enrollments of a sequence."""
    if not sequence.exits:
        return False
    return bool(evaluate(sequence.exits, frame_of("record", schema, [record.fields]), now_us=now_us).any())


def seller_of(record: Record) -> str:
    """Return the seller who owns a record; "" for nobody, a team or a queue."""
    return record.owner.id if record.owner is not None and record.owner.kind is OwnerKind.SELLER else ""


@dataclass(frozen=True)
class Timing:
    """When a step of a version falls due and is overdue."""

    sequence: SequenceConfig
    around: Around

    def of(self, row: StepRow, *, owned: bool) -> StepRow:
        """Return a step with its times; once it was told that it fell due, they stay. `owned`: somebody owns the record."""
        step = self.sequence.step(row.step)
        if step is None or row.told:
            return row
        due_us: int | None = None
        if row.kind == "wait":
            due_us = self._after(row, row.not_before_us, step.wait.duration, working=step.wait.working_time, owned=owned)
        elif row.kind == "condition" and step.condition.HasField("time_limit"):
            limit = step.condition.time_limit
            due_us = self._after(row, row.not_before_us, limit, working=step.condition.working_time, owned=owned)
        elif row.kind in HUMAN:
            due_us = self._due(row, owned=owned)
        overdue_us = None
        if due_us is not None and step.HasField("overdue_after"):
            working = not self.sequence.message.due_at_any_time
            overdue_us = self._after(row, due_us, step.overdue_after, working=working, owned=owned)
        return replace(row, due_us=due_us, overdue_us=overdue_us)

    def _due(self, row: StepRow, *, owned: bool) -> int | None:
        if not owned and not row.seller_id:
            return None
        calendar = self.around.calendar_of(row.seller_id)
        if calendar is None or self.sequence.message.due_at_any_time:
            return row.not_before_us
        found = next_working(calendar, row.not_before_us)
        return found if found >= 0 else None

    def _after(self, row: StepRow, start_us: int, duration: duration_pb2.Duration, *, working: bool, owned: bool) -> int | None:
        length_us = max(1, duration.ToMicroseconds())
        if not working:
            return start_us + length_us
        if not owned and not row.seller_id:
            return None
        calendar = self.around.calendar_of(row.seller_id)
        found = worked_for(calendar, start_us, length_us) if calendar is not None else start_us + length_us
        return found if found >= 0 else None


def telling(row: StepRow, now_us: int) -> tuple[StepRow, Told | None, int | None]:
    """Return a step that somebody is to do, what is to be told of it now, and when to look at it next."""
    told = None
    if not row.told and row.due_us is not None and row.due_us <= now_us:
        row = replace(row, told=1)
        told = Told(row, False)
    elif row.told == 1 and row.overdue_us is not None and row.overdue_us <= now_us:
        row = replace(row, told=2)
        told = Told(row, True)
    return row, told, row.overdue_us if row.told == 1 else None if row.told else row.due_us


class Passage:
    """One look at the enrollment of one record. `row` is its open step, None if it has only just come to its present one.

    Attributes:
        after: The record as it will be, but for its enrollment.
        rows: Steps that change.
        change: What becomes of the enrollment.
        changes: What updates of fields come to.
        done: The last step that ended.
        told: What is to be told.
        next_us: When to look next; None = not by the clock alone.
    """

    def __init__(self, record: Record, row: StepRow | None, sequence: SequenceConfig, around: Around) -> None:
        self.after = record
        self.rows: list[StepRow] = []
        self.change: EnrollmentChange | None = None
        self.changes: list[Change] = []
        self.done: StepRow | None = None
        self.told: Told | None = None
        self.next_us: int | None = None
        self._record, self._sequence, self._around = record, sequence, around
        self._schema = around.config.record_types[record.record_type].schema
        self._timing = Timing(sequence, around)
        self._count = row.number if row is not None else 0
        self._outcome: str | None = None
        self._rounds: Counter[tuple[str, int]] | None = None
        self._at_us = around.now_us
        self._row, self._number = row, record.step

    def go_on(self, act: Act | None = None) -> "Passage":
        """Carry on, after `act` if somebody has done something with the present step; return self."""
        number, row = self._record.step, self._row
        looked_at = None
        for _ in range(MOST_IN_A_LOOK):
            if looked_at is not self.after.fields and exits(self._sequence, self.after, self._schema, self._around.now_us):
                return self._leave(row, EnrollmentChange("EXIT_CONDITION"))
            looked_at = self.after.fields
            if self._sequence.step(number) is None:
                return self._leave(None, EnrollmentChange("COMPLETED"))
            row, self._number = self._owned(row or self._arrival(number)), number
            if self._goes_in_circles(row):
                return self._leave(row, EnrollmentChange("LOOP"))
            ended = self._end_of(row, act) if row.state != CANCELLED else _Ended(CANCELLED, following=number + 1)
            if ended is None:
                return self._rest(row, number)
            act = None
            self._close(row, ended)
            if ended.change is not None:
                return self._leave(None, ended.change)
            number, row = ended.following or len(self._sequence.message.steps) + 1, None
        self._rest(self._owned(self._arrival(number)), number)
        self.next_us = self._around.now_us
        return self

    def _arrival(self, number: int) -> StepRow:
        step = self._sequence.message.steps[number - 1]
        self._count += 1
        return StepRow(
            *(self._record.enrollment_id, self._count, self._record.record_id, self._record.sequence_id, self._record.sequence_version),
            *(number, step.step_id, kind_of_step(step)),
            seller_id=seller_of(self.after),
            reached_us=self._at_us,
            not_before_us=self._at_us,
        )

    def _owned(self, row: StepRow) -> StepRow:
        """Return the step as it stands with the record's present owner."""
        owner, policy = seller_of(self.after), self._sequence.message.on_owner_change
        if row.seller_id != owner:
            if row.kind not in HUMAN or not row.seller_id or policy == HAND_OVER:
                # For whoever takes it over it falls due anew; a pause that counts somebody's working time began when it did.
                begins_us = max(row.not_before_us, self._around.now_us) if row.kind in HUMAN else row.not_before_us
                row = replace(row, seller_id=owner, told=0, not_before_us=begins_us)
            elif policy == CANCEL:
                return replace(row, state=CANCELLED, end_reason="OWNER_CHANGED")
        return self._timing.of(row, owned=self.after.owner is not None)

    def _end_of(self, row: StepRow, act: Act | None) -> _Ended | None:
        """Return how a step ends now; None if it does not."""
        step = self._sequence.message.steps[row.step - 1]
        match row.kind:
            case "wait":
                return self._end_of_wait(row, act)
            case "condition":
                return self._end_of_fork(row, act)
            case "advance":
                return _Ended(COMPLETED, change=self._advance(step.advance.sequence_id))
            case "update_field":
                self._update(step.update_field.field_id, row.step)
                return _Ended(COMPLETED, following=row.step + 1)
        if act is None:
            return None
        if act.state == COMPLETED:
            self._outcome = act.outcome
        leaves = act.state == COMPLETED and act.outcome in self._sequence.message.exit_on_outcomes
        return _Ended(act.state, act.outcome, row.step + 1, EnrollmentChange("EXIT_OUTCOME") if leaves else None)

    def _end_of_wait(self, row: StepRow, act: Act | None) -> _Ended | None:
        if act is not None:
            return _Ended(SKIPPED, following=row.step + 1)
        if row.due_us is None or row.due_us > self._around.now_us:
            return None
        # What follows counts from the end of the pause, however late it is noticed.
        self._at_us = row.due_us
        return _Ended(COMPLETED, following=row.step + 1)

    def _end_of_fork(self, row: StepRow, act: Act | None) -> _Ended | None:
        fork = self._sequence.message.steps[row.step - 1].condition
        numbers = self._sequence.numbers
        otherwise = numbers[fork.else_step_id] if fork.else_step_id else 0
        if act is not None:
            return _Ended(SKIPPED, "else", otherwise)
        condition = self._sequence.forks.get(row.step)
        true = condition is not None and holds(condition, self.after, self._schema, self._around.now_us)
        if true or (fork.outcome and self._last_outcome == fork.outcome):
            return _Ended(COMPLETED, "then", numbers[fork.then_step_id] if fork.then_step_id else row.step + 1)
        if fork.HasField("time_limit"):
            if row.due_us is None or row.due_us > self._around.now_us:
                return None
            self._at_us = row.due_us
        return _Ended(COMPLETED, "else", otherwise)

    @property
    def _last_outcome(self) -> str:
        if self._outcome is None:
            self._outcome = self._around.last_outcome_of(self._record)
        return self._outcome

    def _advance(self, sequence_id: str) -> EnrollmentChange:
        config = self._around.config
        target = config.find("sequence", sequence_id)
        if target is None or not is_active(target.state):
            self.after = replace(self.after, connection="SEQUENCE_INACTIVE")
            return EnrollmentChange("SEQUENCE_INACTIVE")
        self.after = replace(self.after, connection="CONNECTED")
        return EnrollmentChange("ADVANCED", sequence_id, config.revision("sequence", sequence_id), 1)

    def _update(self, field_id: str, number: int) -> None:
        row = Upsert(self.after.record_id, self.after.record_type, {field_id: self._sequence.values[number]})
        resting = self._around.resting_of(row)
        change = change_of(self.after, row, self._around.config, now_us=self._around.now_us, quiet=False, resting=resting)
        if change.changed:
            self.changes.append(change)
            self.after = change.after

    def _goes_in_circles(self, row: StepRow) -> bool:
        """Tell whether a step has been come to too often of late; it is not carried out again, so that nothing follows from it."""
        if row.kind not in AT_ONCE:
            return False
        if self._rounds is None:
            self._rounds = Counter(self._around.rounds_of(self._record))
        self._rounds[row.sequence_id, row.step] += 1
        return self._rounds[row.sequence_id, row.step] > MOST_ROUNDS

    def _close(self, row: StepRow, ended: _Ended) -> None:
        self.done = replace(row, state=ended.state, outcome=ended.outcome, end_us=self._at_us)
        self.rows.append(self.done)

    def _leave(self, row: StepRow | None, change: EnrollmentChange) -> "Passage":
        if row is not None:
            self.rows.append(replace(row, state=CANCELLED, end_us=self._around.now_us, end_reason=change.end_reason))
        self.change = replace(change, move_to_step=self._number)
        return self

    def _rest(self, row: StepRow, number: int) -> "Passage":
        if row.kind in HUMAN:
            row, self.told, self.next_us = telling(row, self._around.now_us)
        else:
            self.next_us = row.due_us
        self.rows.append(row)
        if number != self._record.step:
            self.change = EnrollmentChange(move_to_step=number)
        return self


def settle_left(row: StepRow, sequence: SequenceConfig, record: Record, around: Around) -> tuple[StepRow, Told | None, int | None]:
    """Return an open step of an enrollment that ended with a move, what is to be told of it now, and when to look at it next.

    By the sequence's policy it is kept by whoever had it, handed over, or cancelled; pauses and forks fall away.
    """
    policy = sequence.message.on_move
    if not row.end_reason:
        if policy == CANCEL or row.kind not in HUMAN:
            return replace(row, state=CANCELLED, end_us=around.now_us, end_reason="RESEGMENTED"), None, None
        owner = seller_of(record)
        moves = policy == HAND_OVER and owner not in ("", row.seller_id)
        row = replace(row, end_reason="RESEGMENTED")
        if moves:
            row = replace(row, seller_id=owner, told=0, not_before_us=max(row.not_before_us, around.now_us))
    return telling(Timing(sequence, around).of(row, owned=True), around.now_us)


def changed_fields_of(changes: list[Change]) -> Iterator[str]:
    """Yield the fields that updates changed, sorted."""
    yield from sorted({name for change in changes for name in change.changed_fields})
