"""Records: reading them, and the one path through which every change of a record goes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, exists, func, insert, select

from reallot.storage import capacity
from reallot.storage.contract import RecordColumns, RecordFilter
from reallot.storage.dialect import chunks, upsert
from reallot.storage.documents import dump, load, owner_columns, owner_of
from reallot.storage.entities import Decision, EnrollmentChange, Outcome, OwnerKind, Record, Transition, Turn
from reallot.storage.errors import VersionConflict
from reallot.storage.numbering import EventBuffer, draw
from reallot.storage.pending import PendingRepository
from reallot.storage.sellers import SellerRepository
from reallot.storage.tables import decisions, enrollments, graves, pending, records

_PLAIN = [f.name for f in fields(Record) if f.name not in ("fields", "related", "owner", "previous_owner")]
_SNAPSHOT = [
    *("record_id", "record_type", "fields", "active", "owner_kind", "owner_id", "priority", "effort", "created_us"),
    *("waiting_since_us", "group_key", "segment_id", "assignment", "rule_id", "version"),
]


def _to_record(row: Row[Any]) -> Record:
    values = row._mapping
    return Record(
        fields=load(values["fields"]),
        related=load(values["related"]),
        owner=owner_of(values["owner_kind"], values["owner_id"]),
        previous_owner=owner_of(values["previous_owner_kind"], values["previous_owner_id"]),
        **{name: values[name] for name in _PLAIN},
    )


def _to_row(workspace: str, record: Record) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "fields": dump(dict(record.fields)),
        "related": dump(dict(record.related)),
        **owner_columns("owner", record.owner),
        **owner_columns("previous_owner", record.previous_owner),
        **{name: getattr(record, name) for name in _PLAIN},
    }


def conditions_of(workspace: str, wanted: RecordFilter) -> list[ColumnElement[bool]]:
    """Return the filter as conditions; lists of record ids must be cut with `chunks` before."""
    c = records.c
    found: list[ColumnElement[bool]] = [c.workspace == workspace]
    for column, values in (
        (c.record_id, wanted.record_ids),
        (c.record_type, wanted.record_types),
        (c.segment_id, wanted.segment_ids),
        (c.assignment, wanted.statuses),
        (c.rule_id, wanted.rule_ids),
    ):
        if values is not None:
            found.append(column.in_(list(values)))
    if wanted.owner is not None:
        found.append(and_(c.owner_kind == wanted.owner.kind.value, c.owner_id == wanted.owner.id))
    if wanted.owned is not None:
        found.append(c.owner_kind != "" if wanted.owned else c.owner_kind == "")
    if wanted.owned_by_seller is not None:
        found.append((c.owner_kind == OwnerKind.SELLER.value) == wanted.owned_by_seller)
    if wanted.active is not None:
        found.append(c.active == wanted.active)
    if wanted.waiting_before_us is not None:
        found.append(c.waiting_since_us < wanted.waiting_before_us)
    if wanted.enrolled is not None:
        found.append(c.enrollment_id != "" if wanted.enrolled else c.enrollment_id == "")
    if wanted.not_run_id is not None:
        found.append(c.run_id != wanted.not_run_id)
    return found


def _parts(wanted: RecordFilter) -> list[RecordFilter]:
    """Cut a filter by its record ids, in their order, into filters that fit into one statement each."""
    if wanted.record_ids is None:
        return [wanted]
    return [replace(wanted, record_ids=part) for part in chunks(sorted(set(wanted.record_ids)))]


class RecordRepository:
    """Records of all workspaces, within one transaction. Not thread-safe."""

    def __init__(self, connection: Connection, buffer: EventBuffer, marks: PendingRepository, sellers: SellerRepository) -> None:
        self._connection = connection
        self._buffer = buffer
        self._marks = marks
        self._sellers = sellers

    def get(self, workspace: str, record_ids: Iterable[str]) -> dict[str, Record]:
        """Return the records that exist, by id."""
        found: dict[str, Record] = {}
        for part in chunks(sorted(set(record_ids))):
            rows = self._connection.execute(select(records).where(*conditions_of(workspace, RecordFilter(record_ids=part))))
            found.update((row.record_id, _to_record(row)) for row in rows)
        return found

    def page(self, workspace: str, wanted: RecordFilter, after_id: str = "", limit: int = 50) -> list[Record]:
        """Return up to `limit` records with an id greater than `after_id`, by id."""
        found: list[Record] = []
        for part in _parts(wanted):
            conditions = [*conditions_of(workspace, part), records.c.record_id > after_id]
            statement = select(records).where(*conditions).order_by(records.c.record_id).limit(limit - len(found))
            found.extend(_to_record(row) for row in self._connection.execute(statement))
        return found

    def count(self, workspace: str, wanted: RecordFilter) -> int:
        """Return how many records the filter takes."""
        statement = select(func.count()).select_from(records)
        counts = [self._connection.execute(statement.where(*conditions_of(workspace, part))).scalar_one() for part in _parts(wanted)]
        return sum(counts)

    def pending_ids(self, workspace: str, record_ids: Iterable[str]) -> set[str]:
        """Return those of the records that wait for the road."""
        found: set[str] = set()
        for part in chunks(sorted(set(record_ids))):
            statement = select(pending.c.record_id).where(pending.c.workspace == workspace, pending.c.record_id.in_(part))
            found.update(self._connection.execute(statement).scalars())
        return found

    def snapshot(self, workspace: str, wanted: RecordFilter) -> RecordColumns:
        """Return the records that the filter takes as columns, by id, with their pending marks."""
        rows: list[Any] = []
        for part in _parts(wanted):
            rows.extend(self._connection.execute(self._snapshot_statement(workspace, part)))
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(len(_SNAPSHOT) + 2)]
        columns[-2] = [generation or 0 for generation in columns[-2]]
        columns[-1] = [load(cause) if cause else None for cause in columns[-1]]
        return RecordColumns(*columns)

    @staticmethod
    def _snapshot_statement(workspace: str, wanted: RecordFilter) -> Select[Any]:
        marked = and_(pending.c.workspace == records.c.workspace, pending.c.record_id == records.c.record_id)
        return (
            select(*(records.c[name] for name in _SNAPSHOT), pending.c.generation, pending.c.cause)
            .select_from(records.outerjoin(pending, marked))
            .where(*conditions_of(workspace, wanted))
            .order_by(records.c.record_id)
        )

    def mark_where(self, workspace: str, wanted: RecordFilter, since_us: int, cause: Any) -> int:
        """Mark every record that the filter takes and that has no mark yet; return how many."""
        unmarked = ~exists().where(pending.c.workspace == records.c.workspace, pending.c.record_id == records.c.record_id)
        ids: list[str] = []
        for part in _parts(wanted):
            statement = select(records.c.record_id).where(*conditions_of(workspace, part), unmarked).order_by(records.c.record_id)
            ids.extend(self._connection.execute(statement).scalars())
        self._marks.add_new(workspace, ids, since_us, cause)
        return len(ids)

    def commit(self, workspace: str, transitions: Sequence[Transition], now_us: int) -> list[Outcome]:
        """Carry out transitions of different records, each whole or not at all.

        Loads follow from comparing before and after. A claim that does not fit leaves its record as it was: CAPACITY_LOST.

        Raises:
            VersionConflict: a record is not at its `before.version` any more; nothing is changed.
        """
        self._check_versions(workspace, transitions)
        owners = {o.id for t in transitions for r in (t.before, t.after) if r and (o := r.owner) and o.kind is OwnerKind.SELLER}
        account = capacity.open_account(self._connection, workspace, owners)
        outcomes = capacity.settle(account, transitions)
        capacity.store(self._connection, workspace, account)
        last = self.last_versions(workspace, [t.after.record_id for t in transitions if t.before is None and t.after is not None])
        made = [_made(t, now_us, last) for t, outcome in zip(transitions, outcomes, strict=True) if outcome is Outcome.COMMITTED]
        self._store_rows(workspace, made)
        self._store_enrollments(workspace, made, now_us)
        self._store_turns(workspace, made, now_us)
        self._store_marks(workspace, made)
        self._store_log(workspace, made)
        return outcomes

    def last_versions(self, workspace: str, record_ids: Iterable[str]) -> dict[str, int]:
        """Return the last versions of records that were deleted, by id."""
        found: dict[str, int] = {}
        for part in chunks(sorted(set(record_ids))):
            statement = select(graves.c.record_id, graves.c.version).where(graves.c.workspace == workspace, graves.c.record_id.in_(part))
            found.update({row[0]: row[1] for row in self._connection.execute(statement)})
        return found

    def _check_versions(self, workspace: str, transitions: Sequence[Transition]) -> None:
        _check_form(transitions)
        expected = {(t.before or t.after).record_id: (t.before.version if t.before else None) for t in transitions if t.before or t.after}  # type: ignore[union-attr]
        if len(expected) != len(transitions):
            raise ValueError("a record may stand in only one transition of a commit")
        stored: dict[str, int] = {}
        for part in chunks(sorted(expected)):
            rows = self._connection.execute(
                select(records.c.record_id, records.c.version).where(records.c.workspace == workspace, records.c.record_id.in_(part))
            )
            stored.update({row[0]: row[1] for row in rows})
        moved = [record_id for record_id, version in expected.items() if stored.get(record_id) != version]
        if moved:
            raise VersionConflict(f"records changed since they were read: {', '.join(sorted(moved)[:5])}")

    def _store_rows(self, workspace: str, made: Sequence[Transition]) -> None:
        created = [_to_row(workspace, t.after) for t in made if t.before is None and t.after is not None]
        changed = [_to_row(workspace, t.after) for t in made if t.before is not None and t.after is not None]
        deleted = [t.before.record_id for t in made if t.before is not None and t.after is None]
        if created:
            self._connection.execute(insert(records), created)
        upsert(self._connection, records, changed)
        buried = [
            {"workspace": workspace, "record_id": t.before.record_id, "version": t.before.version}
            for t in made
            if t.before is not None and t.after is None
        ]
        upsert(self._connection, graves, buried)
        for part in chunks(deleted):
            self._connection.execute(delete(records).where(records.c.workspace == workspace, records.c.record_id.in_(part)))
            self._connection.execute(delete(pending).where(pending.c.workspace == workspace, pending.c.record_id.in_(part)))

    def _store_enrollments(self, workspace: str, made: Sequence[Transition], now_us: int) -> None:
        rows = [row for t in made for row in _enrollment_rows(workspace, t, now_us)]
        upsert(self._connection, enrollments, rows, keep=("start_us",))

    def _store_turns(self, workspace: str, made: Sequence[Transition], now_us: int) -> None:
        takers = [t.after for t in made if t.counts_turn and t.after and t.after.owner and t.after.owner.kind is OwnerKind.SELLER]
        if takers:
            first = draw(self._connection, workspace, "turn_number", len(takers))
            latest = {
                (taker.owner.id, taker.record_type): Turn(taker.owner.id, taker.record_type, order, now_us)
                for order, taker in enumerate(takers, first)
                if taker.owner
            }
            self._sellers.set_turns(workspace, list(latest.values()))

    def _store_marks(self, workspace: str, made: Sequence[Transition]) -> None:
        cleared = [(t.after.record_id, t.clear_generation) for t in made if t.after and t.clear_generation is not None]
        self._marks.clear(workspace, cleared)
        self._marks.mark(workspace, [t.mark for t in made if t.mark is not None and t.after is not None])

    def _store_log(self, workspace: str, made: Sequence[Transition]) -> None:
        rows = [_decision_row(workspace, t.decision) for t in made if t.decision is not None]
        if rows:
            self._connection.execute(insert(decisions), rows)
        self._buffer.add(workspace, [t.event for t in made if t.event is not None])


def _check_form(transitions: Sequence[Transition]) -> None:
    """Refuse transitions that no caller may ask for.

    Raises:
        ValueError: one changes nothing at all, another record, or an enrollment that is not there or in the way.
    """
    for t in transitions:
        if t.before is None and t.after is None:
            raise ValueError("a transition has neither a record before nor one after")
        if t.before is not None and t.after is not None and t.before.record_id != t.after.record_id:
            raise ValueError(f"a transition of {t.before.record_id!r} ends in another record, {t.after.record_id!r}")
        change, is_open = t.enrollment, t.before is not None and bool(t.before.enrollment_id)
        if change is not None and (change.end_reason or change.move_to_step) and not is_open:
            raise ValueError("there is no open enrollment to end or to move")
        if change is not None and change.start_sequence_id and is_open and not change.end_reason:
            raise ValueError("end the open enrollment before another starts")


def _made(transition: Transition, now_us: int, last: Mapping[str, int]) -> Transition:
    """Return the transition with what storage itself keeps on the row: version, times, enrollment, waiting."""
    before, after, change = transition.before, transition.after, transition.enrollment
    if after is None:
        left = before is not None and bool(before.enrollment_id) and change is None
        return replace(transition, enrollment=EnrollmentChange("RECORD_DELETED")) if left else transition
    version = (before.version if before else last.get(after.record_id, 0)) + 1
    kept = before or Record(after.record_id, after.record_type)
    after = replace(
        after,
        version=version,
        create_us=before.create_us if before else now_us,
        update_us=now_us,
        waiting_since_us=(after.waiting_since_us or now_us) if after.active and after.owner is None else None,
        enrollment_id=kept.enrollment_id,
        sequence_id=kept.sequence_id,
        sequence_version=kept.sequence_version,
        step=kept.step,
    )
    return replace(transition, after=with_enrollment(after, change, version))


def with_enrollment(after: Record, change: EnrollmentChange | None, version: int) -> Record:
    """Return a record with its enrollment columns as `change` leaves them once the record is stored as `version`."""
    if change is None:
        return after
    if change.end_reason:
        after = replace(after, enrollment_id="", sequence_id="", sequence_version=0, step=0)
    if change.start_sequence_id:
        after = replace(
            after,
            enrollment_id=f"{after.record_id}/{version}",
            sequence_id=change.start_sequence_id,
            sequence_version=change.start_sequence_version,
            step=change.start_step,
        )
    return replace(after, step=change.move_to_step) if change.move_to_step else after


def _enrollment_rows(workspace: str, transition: Transition, now_us: int) -> list[dict[str, Any]]:
    change, before, after = transition.enrollment, transition.before, transition.after
    rows = []
    if change is not None and before is not None and before.enrollment_id and (change.end_reason or change.move_to_step):
        state = "ACTIVE" if not change.end_reason else "COMPLETED" if change.end_reason == "COMPLETED" else "ENDED"
        end_us = now_us if change.end_reason else None
        rows.append(_enrollment_row(workspace, before, change.move_to_step or before.step, state, end_us, change.end_reason))
    if change is not None and change.start_sequence_id and after is not None:
        rows.append(_enrollment_row(workspace, after, after.step, "ACTIVE", None, "") | {"start_us": now_us})
    return rows


def _enrollment_row(workspace: str, record: Record, step: int, state: str, end_us: int | None, end_reason: str) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "enrollment_id": record.enrollment_id,
        "record_id": record.record_id,
        "sequence_id": record.sequence_id,
        "sequence_version": record.sequence_version,
        "step": step,
        "state": state,
        "start_us": 0,
        "end_us": end_us,
        "end_reason": end_reason,
    }


def _decision_row(workspace: str, decision: Decision) -> dict[str, Any]:
    return {
        "workspace": workspace,
        "record_id": decision.record_id,
        "time_us": decision.time_us,
        "cause": dump(decision.cause),
        "status": decision.status,
        "reason": decision.reason,
        "before": dump(decision.before),
        "after": dump(decision.after),
        "rule_id": decision.rule_id,
        "run_id": decision.run_id,
        "considered": dump(decision.considered),
    }
