"""What upserts come to: rows compared with what is stored and committed, each answered. In one unit of work of their caller."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from reallot.server.convert.records import state_text
from reallot.server.convert.upserts import UpsertReader
from reallot.server.convert.values import from_owner
from reallot.server.errors import Violation
from reallot.server.fanouts import note_arrivals, note_changes
from reallot.server.handover import Parties
from reallot.server.passages import Versions, after_change
from reallot.server.road.arrivals import arrivals_of, frames_of
from reallot.server.road.change import NOT_RESTING, OWNER_CAME, Change, Upsert, change_of, freed_sellers
from reallot.server.road.commit import limits_of
from reallot.server.road.events import enrolled, event_of
from reallot.server.road.resting import resting_triggers, why_not_again
from reallot.server.runtime import request_rerun
from reallot.server.validation import refuse
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Claim, Decision, Json, Outcome, Owner, OwnerKind, PendingMark, Record, Seller, Transition, open_offer
from reallot.storage.pending import merge_causes
from reallot.v1 import record_service_pb2

MANY = 100
"""From so many rows on, new records are written in columns; fewer are sooner written one by one."""


def upsert_records(
    tx: WriteTransaction,
    config: WorkspaceConfig,
    rows: Sequence[record_service_pb2.RecordUpsert],
    *,
    quiet: bool,
    validate_only: bool,
) -> list[record_service_pb2.UpsertResult]:
    """Carry out rows in order, in one unit of work, and answer each.

    Raises:
        ApiError: a row is malformed; nothing is stored.
    """
    stored = tx.records.get(config.workspace, [row.record.record_id for row in rows])
    upserts = _read_rows(tx, config, rows, stored)
    _check_types(upserts, stored)
    return carry_out(tx, config, upserts, stored, quiet=quiet, validate_only=validate_only)


def carry_out(
    tx: WriteTransaction,
    config: WorkspaceConfig,
    upserts: Sequence[Upsert],
    stored: Mapping[str, Record],
    *,
    quiet: bool,
    validate_only: bool = False,
) -> list[record_service_pb2.UpsertResult]:
    """Carry out rows that have been read, in order, and answer each. `stored` are those of their records that exist."""
    if len(upserts) >= MANY and not stored and not validate_only and _are_plain(upserts):
        return _create(tx, config, upserts, quiet=quiet)
    present: dict[str, Record] = dict(stored)
    changes: list[Change] = []
    rests = resting_triggers(tx, config, [row for row in upserts if row.record_id in stored], tx.now_us)
    for row in upserts:
        resting = rests.get(row.record_id, NOT_RESTING)
        change = change_of(present.get(row.record_id), row, config, now_us=tx.now_us, quiet=quiet, resting=resting)
        changes.append(change)
        if not change.conflict:
            present[row.record_id] = change.after
    outcomes = {} if validate_only else _commit(tx, config, upserts, changes, stored, quiet=quiet)
    last = tx.records.last_versions(config.workspace, [row.record_id for row in upserts if row.record_id not in stored])
    created: set[str] = set()
    results = []
    for row, change in zip(upserts, changes, strict=True):
        first = row.record_id not in stored and row.record_id not in created and not change.conflict
        created.update([row.record_id] if first else [])
        version = stored[row.record_id].version if row.record_id in stored else last.get(row.record_id, 0)
        results.append(_result(change, stored.get(row.record_id), outcomes.get(row.record_id), version, created=first))
    return results


def _are_plain(upserts: Sequence[Upsert]) -> bool:
    """Tell whether rows are of different records and expect nothing of what is stored."""
    return len({row.record_id for row in upserts}) == len(upserts) and not any(row.etag for row in upserts)


def _create(
    tx: WriteTransaction, config: WorkspaceConfig, upserts: Sequence[Upsert], *, quiet: bool
) -> list[record_service_pb2.UpsertResult]:
    """Store records of which none exists, in columns."""
    owners = {row.owner.id for row in upserts if row.owner is not None and row.owner.kind is OwnerKind.SELLER}
    names = names_of(tx, config.workspace, owners)
    arrivals = arrivals_of(frames_of(upserts, config), config, names, quiet=quiet)
    versions = tx.create_records(config.workspace, arrivals)
    note_arrivals(tx, config, arrivals, quiet=quiet)
    return [
        record_service_pb2.UpsertResult(
            record_id=row.record_id,
            created=True,
            changed_fields=[
                *sorted(name for name, value in row.fields.items() if value is not None),
                *_shown_names(row.attributes),
                *(["owner"] if row.owner is not None else []),
            ],
            etag=str(version),
        )
        for row, version in zip(upserts, versions, strict=True)
    ]


def names_of(tx: ReadTransaction, workspace: str, seller_ids: Collection[str]) -> dict[str, str]:
    """Return what sellers are called, by id; those who do not exist are left out."""
    sellers = tx.sellers.get(workspace, seller_ids) if seller_ids else {}
    return {s.seller_id: s.name for s in sellers.values()}


def _shown_names(names: Iterable[str]) -> list[str]:
    return ["created_time" if name == "created_us" else name for name in names]


def _read_rows(
    tx: WriteTransaction, config: WorkspaceConfig, rows: Sequence[record_service_pb2.RecordUpsert], stored: Mapping[str, Record]
) -> list[Upsert]:
    owners = {row.record.owner.seller_id for row in rows} - {""}
    sellers = set(tx.sellers.get(config.workspace, owners)) if owners else set()
    reader = UpsertReader(config, stored, sellers)
    upserts = [reader.read(row, f"records[{index}]") for index, row in enumerate(rows)]
    refuse(reader.violations)
    return [row for row in upserts if row is not None]


def _check_types(upserts: Sequence[Upsert], stored: dict[str, Record]) -> None:
    types = {record_id: record.record_type for record_id, record in stored.items()}
    faults = []
    for index, row in enumerate(upserts):
        if types.setdefault(row.record_id, row.record_type) != row.record_type:
            text = f"record {row.record_id!r} is of type {types[row.record_id]!r}; a record's type cannot change"
            faults.append(Violation(f"records[{index}].record.record_type", text))
    refuse(faults)


def _commit(
    tx: WriteTransaction,
    config: WorkspaceConfig,
    upserts: Sequence[Upsert],
    changes: Sequence[Change],
    stored: Mapping[str, Record],
    *,
    quiet: bool,
) -> dict[str, Outcome]:
    """Commit the rows, those of one record as one change; return what became of each record that they write."""
    by_record: dict[str, list[Change]] = {}
    for row, change in zip(upserts, changes, strict=True):
        if not change.conflict:
            by_record.setdefault(row.record_id, []).append(change)
    involved = [r for i, cs in by_record.items() for r in (stored.get(i), cs[-1].after) if r is not None]
    owners = {r.owner.id for r in involved if r.owner is not None and r.owner.kind is OwnerKind.SELLER}
    owners |= {offered for r in involved if (offered := open_offer(r))}
    sellers = tx.sellers.get(config.workspace, owners)
    names = {s.seller_id: s.name for s in sellers.values()}
    moved = [(stored.get(i), cs[-1].after) for i, cs in by_record.items()]
    teams = {o.id for pair in moved for o in _changed_owners(*pair) if o.kind is OwnerKind.TEAM}
    write = _Write(
        config, tx.now_us, sellers, Parties(names, tx.sellers.members(config.workspace, teams)), Versions(tx, config), quiet=quiet
    )
    found = [write.transition(stored.get(record_id), parts) for record_id, parts in by_record.items()]
    made = [transition for transition in found if transition is not None]
    outcomes = tx.commit_records(config.workspace, made)
    done = [t for t, outcome in zip(made, outcomes, strict=True) if outcome is Outcome.COMMITTED]
    note_changes(tx, config, done, quiet=quiet)
    _note_rests(tx, config.workspace, by_record, done)
    request_rerun(tx, config, "CAPACITY_FREED", freed_sellers((t.before, t.after) for t in made))
    return {t.after.record_id: o for t, o in zip(made, outcomes, strict=True) if t.after}


def _changed_owners(before: Record | None, after: Record) -> list[Owner]:
    """Return the owners of a record before and after, if they differ."""
    old = before.owner if before is not None else None
    return [owner for owner in (old, after.owner) if owner is not None] if old != after.owner else []


def _note_rests(tx: WriteTransaction, workspace: str, by_record: Mapping[str, Sequence[Change]], done: Sequence[Transition]) -> None:
    """Have records that a resting trigger keeps from being looked at again be looked at when it has rested."""
    due = {}
    for transition in done:
        record_id = transition.after.record_id if transition.after is not None and transition.mark is None else ""
        ends = [change.looks_again_us for change in by_record.get(record_id, ()) if change.looks_again_us is not None]
        if ends:
            due[record_id] = min(ends)
    if due:
        tx.rechecks.bring_forward(workspace, due)
        tx.signal(workspace, "rechecks")


@dataclass(frozen=True)
class _Write:
    """One write: what all of its transitions share."""

    config: WorkspaceConfig
    now_us: int
    sellers: Mapping[str, Seller]
    parties: Parties
    versions: Versions
    quiet: bool

    def transition(self, before: Record | None, parts: Sequence[Change]) -> Transition | None:
        """Return the changes of one record, in order, as one transition; None if nothing changes."""
        after = parts[-1].after
        mark = _merged_mark([p.mark for p in parts if p.mark is not None])
        if before is not None and after == before and mark is None:
            return None
        given = any(p.owner_given for p in parts)
        by_hand = given and before is not None
        touched = given or any(p.released for p in parts) or open_offer(before) != open_offer(after)
        unmoved = why_not_again(parts) if before is not None else ""
        seller = self.sellers.get(after.owner.id) if after.owner and after.owner.kind is OwnerKind.SELLER else None
        changed_fields = tuple(sorted({name for p in parts for name in p.changed_fields}))
        enrollment, looks = next((p.enrollment for p in parts if p.enrollment is not None), None), False
        if enrollment is None and before is not None:
            enrollment, looks = after_change(self.versions, self.config, before, after, changed_fields, self.now_us)
        cause = {"kind": "MANUAL"} if by_hand else parts[-1].cause
        event = event_of(
            before,
            enrolled(before, after, enrollment) if enrollment is not None else after,
            config=self.config,
            time_us=self.now_us,
            cause=cause,
            changed_fields=changed_fields,
            quiet=self.quiet or self.config.settings.paused,
            names=self.parties.names,
            members=self.parties.members,
        )
        return Transition(
            before,
            after,
            claim=Claim(limits_of(seller, self.config, self.now_us)) if by_hand and seller else None,
            counts_turn=given and not self.quiet and after.record_type in self.config.counted_types,
            enrollment=enrollment,
            event=event,
            decision=self._decision(before, after, cause, "" if touched else unmoved) if touched or unmoved else None,
            mark=mark,
            looks=looks,
        )

    def _decision(self, before: Record | None, after: Record, cause: Json, unmoved: str) -> Decision:
        return Decision(
            after.record_id,
            self.now_us,
            cause,
            after.assignment,
            unmoved or after.reason or OWNER_CAME,
            state_text(before),
            state_text(after),
        )


def _merged_mark(marks: Sequence[PendingMark]) -> PendingMark | None:
    merged: PendingMark | None = None
    for mark in marks:
        merged = mark if merged is None else replace(merged, cause=merge_causes(merged.cause, mark.cause))
    return merged


_CONFLICTS = {
    "OWNER_CONFLICT": "the stored owner is not the expected one",
    "NO_CAPACITY": "the new owner has no free capacity",
    "ETAG_MISMATCH": "the record was changed since it was read",
}


def _result(
    change: Change, before: Record | None, outcome: Outcome | None, version: int, *, created: bool
) -> record_service_pb2.UpsertResult:
    conflict = "NO_CAPACITY" if outcome is Outcome.CAPACITY_LOST else change.conflict
    version += outcome is Outcome.COMMITTED
    if conflict:
        return record_service_pb2.UpsertResult(
            record_id=change.after.record_id,
            conflict=record_service_pb2.Conflict(
                kind=record_service_pb2.ConflictKind.Value(f"CONFLICT_KIND_{conflict}"),
                stored_owner=from_owner(before.owner) if before else None,
                text=_CONFLICTS[conflict],
            ),
            etag=str(version) if version else "",
        )
    return record_service_pb2.UpsertResult(
        record_id=change.after.record_id,
        created=created,
        changed_fields=_shown_names(change.changed),
        fired=change.fired,
        etag=str(version) if version else "",
    )
