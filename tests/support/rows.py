"""Builders of storage's rows: each gives something complete, and every part may be said otherwise."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from reallot.storage import Database, RecordFilter
from reallot.storage.entities import (
    Claim,
    ConfigRow,
    EventDraft,
    Limits,
    Load,
    Outcome,
    Owner,
    OwnerKind,
    Record,
    Run,
    Seller,
    Transition,
)


def a_record(record_id: str = "r1", *, seller: str = "", **changes: Any) -> Record:
    """Return a lead; `seller` is its owner."""
    owner = Owner(OwnerKind.SELLER, seller) if seller else None
    return replace(Record(record_id, "lead", {"country": "DE"}, owner=owner), **changes)


def a_seller(seller_id: str = "ann", **changes: Any) -> Seller:
    """Return a seller without limits or calendar."""
    return replace(Seller(seller_id, display_name=seller_id.title()), **changes)


def a_run(run_id: str = "run-1", **changes: Any) -> Run:
    """Return a manual run that has not started."""
    return replace(Run(run_id, "MANUAL", "PENDING", {"kind": "MANUAL"}, {"segments": []}, create_us=1), **changes)


def an_event(record_id: str = "r1", *, notify: Iterable[str] = (), **changes: Any) -> EventDraft:
    """Return an assignment's event."""
    return replace(EventDraft("ASSIGNED", record_id, "lead", 5, notify=tuple(notify)), **changes)


def a_resource(kind: str = "segment", resource_id: str = "dach", **body: Any) -> ConfigRow:
    """Return a configuration resource as a caller puts it."""
    return ConfigRow(kind, resource_id, body, 0, 0, 0)


def a_claim(total: int | None = None, *, counted: Iterable[str] = ("lead",), **maxima: dict[str, int]) -> Claim:
    """Return a binding claim; `maxima` are `by_record_type` and `by_segment`."""
    return Claim(Limits(total, maxima.get("by_record_type", {}), maxima.get("by_segment", {}), frozenset(counted)))


def commit(db: Database, workspace: str, *transitions: Transition) -> list[Outcome]:
    """Carry out transitions as one unit of work."""
    return db.write(workspace, lambda tx: tx.commit_records(workspace, transitions))


def create(db: Database, workspace: str, *records: Record, **parts: Any) -> None:
    """Store new records; `parts` stand on every transition."""
    commit(db, workspace, *(Transition(None, record, **parts) for record in records))


def stored(db: Database, workspace: str, record_id: str = "r1") -> Record:
    """Return a record that must exist."""
    return db.read(lambda tx: tx.records.get(workspace, [record_id]))[record_id]


def change(db: Database, workspace: str, record_id: str = "r1", *, parts: dict[str, Any] | None = None, **changes: Any) -> Outcome:
    """Change a record as one unit of work; `parts` stand on the transition."""
    before = stored(db, workspace, record_id)
    return commit(db, workspace, Transition(before, replace(before, **changes), **(parts or {})))[0]


def remove(db: Database, workspace: str, record_id: str = "r1", **parts: Any) -> None:
    """Delete a record."""
    commit(db, workspace, Transition(stored(db, workspace, record_id), None, **parts))


def recount(records: Iterable[Record]) -> list[Load]:
    """Return the loads of records, counted anew: the oracle of the stored counters."""
    found: dict[tuple[str, str, str], list[int]] = {}
    for record in records:
        owns = record.owner is not None and record.owner.kind is OwnerKind.SELLER
        holder = record.owner.id if record.owner is not None and owns else record.offered_to
        if record.active and holder:
            place = found.setdefault((holder, record.record_type, record.segment_id), [0, 0])
            place[0] += record.effort
            place[1] += 1
    return [Load(*place, *sums) for place, sums in sorted(found.items())]


def all_records(db: Database, workspace: str) -> list[Record]:
    """Return every record of a workspace, by id."""
    return db.read(lambda tx: tx.records.page(workspace, RecordFilter(), limit=100_000))


def loads(db: Database, workspace: str) -> list[Load]:
    """Return every load of a workspace."""
    return db.read(lambda tx: tx.sellers.loads(workspace))
