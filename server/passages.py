"""Looks at the steps of records, carried out: what they read, and what is committed. In one unit of work of their caller."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from reallot.server.convert.records import state_text
from reallot.server.convert.sellers import calendar_of
from reallot.server.convert.steps import step_document
from reallot.server.errors import failed_precondition
from reallot.server.fanouts import note_changes
from reallot.server.languages.saying import listed, say
from reallot.server.road.change import freed_sellers
from reallot.server.road.events import DueStep, enrolled, event_of
from reallot.server.road.passage import LOOP_US, Act, Around, Passage, Told, changed_fields_of, exits, seller_of, settle_left
from reallot.server.road.resting import resting_triggers
from reallot.server.runtime import request_rerun
from reallot.server.sequence_config import AT_ONCE, HUMAN, SequenceConfig, step_name, stored_sequence
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.calendars import Calendar
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Decision, EnrollmentChange, EventDraft, Json, PendingMark, Record, Seller, Transition
from reallot.storage.pending import merge_causes
from reallot.storage.steps import COMPLETED, StepLook, StepRow


def raise_on(_look: StepLook, error: Exception) -> None:
    """Raise what went wrong at a look."""
    raise error


class Versions:
    """Versions of sequences, read and compiled once; belongs to one transaction."""

    def __init__(self, tx: ReadTransaction, config: WorkspaceConfig) -> None:
        self._tx, self._config = tx, config
        self._known: dict[tuple[str, int], SequenceConfig] = {}

    def of(self, sequence_id: str, version: int) -> SequenceConfig:
        """Return a version of a sequence.

        Raises:
            LookupError: there is none.
            ValueError: the schema does not declare what it reads or writes.
        """
        found = self._known.get((sequence_id, version))
        if found is None:
            body = self._tx.steps.version(self._config.workspace, sequence_id, version)
            if body is None:
                raise LookupError(f"sequence {sequence_id!r} has no version {version}")
            schema = self._config.record_types[body["record_type"]].schema
            found = self._known[sequence_id, version] = stored_sequence(body, schema)
        return found


def attend(
    tx: WriteTransaction,
    config: WorkspaceConfig,
    looks: Sequence[StepLook],
    acts: Mapping[str, Act] | None = None,
    on_fault: Callable[[StepLook, Exception], None] = raise_on,
) -> None:
    """Look at the steps of records, after what people have done with the present steps, by record, and carry out what follows.

    What goes wrong while one record is looked at, before anything of it is written, is told to `on_fault`.
    """
    records = tx.records.get(config.workspace, [look.record_id for look in looks])
    opened = tx.steps.open_of(config.workspace, [look.record_id for look in looks])
    attendance = _Attendance(tx=tx, config=config, records=list(records.values()), opened=opened)
    for look in looks:
        record = records.get(look.record_id)
        if record is None:
            attendance.later[look.record_id] = None
            continue
        try:
            found = attendance.look(record, look, (acts or {}).get(look.record_id))
        except Exception as error:
            on_fault(look, error)
        else:
            attendance.take(found)
    attendance.store()


def end_left(tx: WriteTransaction, config: WorkspaceConfig, record: Record, row: StepRow, act: Act) -> None:
    """End a step that an ended enrollment has left open; nothing follows from it."""
    done = replace(row, state=act.state, outcome=act.outcome, end_us=tx.now_us)
    tx.steps.put(config.workspace, [done])
    _tell_of_step(tx, config, record, done)
    tx.steps.ask(config.workspace, [StepLook(record.record_id, tx.steps.told(config.workspace, record.record_id))], tx.now_us)
    tx.signal(config.workspace, "steps")


def put_off(tx: WriteTransaction, config: WorkspaceConfig, record: Record, left: StepRow | None, duration_us: int) -> None:
    """Have a step fall due again after a while from now: the present one, or one that an ended enrollment has left open."""
    workspace, record_id = config.workspace, record.record_id
    if left is None:
        # The look makes sure that the step is there.
        attend(tx, config, [StepLook(record_id, True)])
    opened = tx.steps.open_of(workspace, [record_id]).get(record_id, ())
    wanted = left.enrollment_id if left is not None else record.enrollment_id
    row = next((row for row in opened if row.enrollment_id == wanted), None)
    if row is None or row.kind not in HUMAN:
        raise failed_precondition("STEP_NOT_PRESENT", f"the step of {record_id!r} is over", record=record_id, step=str(record.step))
    until = {"enrollment_id": row.enrollment_id, "step": row.step}
    before, after = until | {"not_before_us": row.not_before_us}, until | {"not_before_us": tx.now_us + duration_us}
    tx.audit.note(workspace, [("step", record_id, before, after)])
    row = replace(row, not_before_us=tx.now_us + duration_us, due_us=None, overdue_us=None, told=0)
    tx.steps.put(workspace, [row])
    attend(tx, config, [StepLook(record_id)])
    put = next(r for r in tx.steps.open_of(workspace, [record_id])[record_id] if r.enrollment_id == wanted)
    _tell_of_step(tx, config, record, put)


def _tell_of_step(tx: WriteTransaction, config: WorkspaceConfig, record: Record, row: StepRow) -> None:
    """Tell the CRM what somebody has done with a step by which nothing of the record changes."""
    step = Versions(tx, config).of(row.sequence_id, row.sequence_version).step(row.step)
    cause = {"kind": "STEP", "step": step_document(row, step)}
    event = event_of(record, record, config=config, time_us=tx.now_us, cause=cause, always=True)
    tx.events.append(config.workspace, [event] if event is not None else [])
    tx.signal(config.workspace, "events")


@dataclass
class _Found:
    """What looks come to: transitions, steps that change, events of their own, and when to look next, None = not by the clock alone."""

    transitions: list[Transition] = field(default_factory=list)
    rows: list[StepRow] = field(default_factory=list)
    drafts: list[EventDraft] = field(default_factory=list)
    later: dict[str, int | None] = field(default_factory=dict)


@dataclass(kw_only=True)
class _Attendance(_Found):
    """Some looks together: what they have in common is read once, and what follows is stored at once."""

    tx: WriteTransaction
    config: WorkspaceConfig
    records: Sequence[Record]
    opened: Mapping[str, Sequence[StepRow]]

    def take(self, found: _Found) -> None:
        """Have what a look comes to stored."""
        self.transitions += found.transitions
        self.rows += found.rows
        self.drafts += found.drafts
        self.later |= found.later

    def look(self, record: Record, look: StepLook, act: Act | None) -> _Found:
        """Return what a look at one record comes to."""
        found, times = _Found(), list[int | None]()
        for row in self.opened.get(record.record_id, ()):
            if row.enrollment_id != record.enrollment_id:
                left, told, next_us = settle_left(row, self._versions.of(row.sequence_id, row.sequence_version), record, self._around)
                found.rows += [left] if left != row else []
                found.drafts += self._told(record, told, silent=look.told)
                times.append(next_us)
        begins = False
        if record.enrollment_id and record.active:
            present = next((r for r in self.opened.get(record.record_id, ()) if r.enrollment_id == record.enrollment_id), None)
            sequence = self._versions.of(record.sequence_id, record.sequence_version)
            passage = Passage(record, present, sequence, self._around).go_on(act)
            found.rows += [row for row in passage.rows if row != present]
            if passage.change is None and passage.after == record:
                found.drafts += self._told(record, passage.told, silent=look.told)
            else:
                found.transitions.append(self._transition(record, passage, sequence))
            begins = passage.change is not None and bool(passage.change.start_sequence_id)
            times.append(passage.next_us)
        if not begins:
            # Where another enrollment begins, its commit has asked for the next look.
            found.later[record.record_id] = min((time for time in times if time is not None), default=None)
        return found

    def store(self) -> None:
        """Store what the looks come to."""
        tx, workspace = self.tx, self.config.workspace
        if self.transitions:
            tx.commit_records(workspace, self.transitions)
            note_changes(tx, self.config, self.transitions)
            request_rerun(tx, self.config, "CAPACITY_FREED", freed_sellers((t.before, t.after) for t in self.transitions))
        tx.steps.put(workspace, self.rows)
        if self.drafts:
            tx.events.append(workspace, self.drafts)
            tx.signal(workspace, "events")
        tx.steps.plan(workspace, self.later)
        tx.signal(workspace, "steps")

    def _transition(self, record: Record, passage: Passage, sequence: SequenceConfig) -> Transition:
        change = passage.change
        fields = tuple(changed_fields_of(passage.changes))
        cause: dict[str, Json] = {"kind": "STEP"}
        if passage.done is not None:
            cause["step"] = step_document(passage.done, sequence.step(passage.done.step))
        if passage.told is not None:
            cause["due_step"] = step_document(passage.told.row, sequence.step(passage.told.row.step))
        if fields:
            cause |= {"fields": list(fields), "triggers": sorted({name for c in passage.changes for name in c.fired})}
        after = enrolled(record, passage.after, change)
        event = event_of(
            record, after, config=self.config, time_us=self.tx.now_us, cause=cause, changed_fields=fields, names=self._names,
            due=self._due(passage.told, sequence),
        )  # fmt: skip
        reason = self._reason(passage, sequence, fields)
        decision = None
        if reason:
            documents = (state_text(record), state_text(after))
            decision = Decision(record.record_id, self.tx.now_us, {"kind": "STEP"}, after.assignment, reason, *documents)
        mark = _merged([c.mark for c in passage.changes if c.mark is not None])
        return Transition(record, passage.after, enrollment=change, event=event, decision=decision, mark=mark)

    def _reason(self, passage: Passage, sequence: SequenceConfig, fields: Sequence[str]) -> str:
        name = sequence.message.display_name or sequence.message.sequence_id
        if passage.change is not None and passage.change.end_reason == "LOOP":
            return say("sequence_in_circles", sequence=name)
        return say("sequence_set", sequence=name, fields=listed(fields)) if fields else ""

    @staticmethod
    def _due(told: Told | None, sequence: SequenceConfig) -> DueStep | None:
        step = sequence.step(told.row.step) if told is not None else None
        return DueStep(step_name(step), told.row.seller_id, told.overdue) if told is not None and step is not None else None

    def _told(self, record: Record, told: Told | None, *, silent: bool) -> list[EventDraft]:
        """Return what tells of a step that is due though nothing of the record changes; `silent`: what brought it there has told so."""
        if told is None or (silent and not told.overdue):
            return []
        sequence = self._versions.of(told.row.sequence_id, told.row.sequence_version)
        cause = {"kind": "TIME", "due_step": step_document(told.row, sequence.step(told.row.step))}
        due = self._due(told, sequence)
        event = event_of(record, record, config=self.config, time_us=self.tx.now_us, cause=cause, names=self._names, due=due)
        return [event] if event is not None else []

    @cached_property
    def _versions(self) -> Versions:
        return Versions(self.tx, self.config)

    @cached_property
    def _around(self) -> Around:
        tx, config = self.tx, self.config
        return Around(
            config,
            tx.now_us,
            calendar_of=self._calendar_of,
            resting_of=lambda row: resting_triggers(tx, config, [row], tx.now_us).get(row.record_id, {}),
            rounds_of=lambda record: tx.steps.ended_since(config.workspace, record.record_id, AT_ONCE, tx.now_us - LOOP_US),
            last_outcome_of=self._last_outcome,
        )

    def _last_outcome(self, record: Record) -> str:
        rows = self.tx.steps.of_enrollments(self.config.workspace, [record.enrollment_id])
        return next((row.outcome for row in reversed(rows) if row.kind in HUMAN and row.state == COMPLETED), "")

    @cached_property
    def _sellers(self) -> Mapping[str, Seller]:
        ids = {seller_of(record) for record in self.records} | {row.seller_id for rows in self.opened.values() for row in rows}
        return self.tx.sellers.get(self.config.workspace, sorted(ids - {""}))

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return {s.seller_id: s.name for s in self._sellers.values()}

    @cached_property
    def _calendars(self) -> Mapping[str, Calendar | None]:
        reached = [row.reached_us for rows in self.opened.values() for row in rows]
        away: dict[str, list[tuple[int, int]]] = {}
        for absence in self.tx.sellers.time_off(self.config.workspace, min([self.tx.now_us, *reached]), list(self._sellers)):
            away.setdefault(absence.seller_id, []).append((absence.start_us, absence.end_us))
        return {name: calendar_of(seller.calendar, tuple(away.get(name, ()))) for name, seller in self._sellers.items()}

    def _calendar_of(self, seller_id: str) -> Calendar | None:
        return self._calendars.get(seller_id)


def _merged(marks: Sequence[PendingMark]) -> PendingMark | None:
    merged: PendingMark | None = None
    for mark in marks:
        merged = mark if merged is None else PendingMark(mark.record_id, merged.since_us, merge_causes(merged.cause, mark.cause))
    return merged


def after_change(
    versions: Versions, config: WorkspaceConfig, before: Record, after: Record, changed: Sequence[str], now_us: int
) -> tuple[EnrollmentChange | None, bool]:
    """Return how a change of fields ends a record's enrollment, None if it does not, and whether its steps are to be looked at."""
    if not before.enrollment_id or not after.active or not changed:
        return None, False
    sequence = versions.of(before.sequence_id, before.sequence_version)
    schema = config.record_types[after.record_type].schema
    if sequence.exit_fields.intersection(changed) and exits(sequence, after, schema, now_us):
        return EnrollmentChange("EXIT_CONDITION"), False
    return None, bool(sequence.fork_fields.intersection(changed))
