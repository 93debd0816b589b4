"""What stored data still needs of a configuration: nothing that records, sellers or enrollments use may go or change its meaning."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reallot.server.errors import ApiError, failed_precondition
from reallot.server.workspace_config import SETTINGS_ID, WorkspaceConfig, from_body
from reallot.storage import ReadTransaction, RecordFilter
from reallot.storage.entities import Owner, OwnerKind
from reallot.v1 import value_pb2

WIDENED = (value_pb2.FIELD_TYPE_INTEGER, value_pb2.FIELD_TYPE_DECIMAL)
"""The one change of a field's type that keeps every stored value."""
_HISTORY = 1_000_000


def still_used(kind: str, name: str, users: Sequence[str]) -> ApiError:
    """Return FAILED_PRECONDITION for a resource that cannot go yet; `users` say why."""
    shown = ", ".join(users[:5])
    return failed_precondition("STILL_REFERENCED", f"{kind} {name!r} is still used by {shown}", referrers=shown)


def stored_users(tx: ReadTransaction, workspace: str, kind: str, name: str) -> list[str]:
    """Return what of the stored data uses a resource, for people."""
    if kind == "record_type":
        return _counted(tx.records.count(workspace, RecordFilter(record_types=[name])), "records of this type")
    if kind == "segment":
        # Records stay in a segment that goes, until they are looked at again.
        limits = sum(name in (seller.capacity.get("by_segment") or {}) for seller in tx.sellers.get(workspace).values())
        return _counted(limits, "sellers with a maximum for it")
    if kind == "sequence":
        running = tx.enrollments.page(workspace, sequence_id=name, state="ACTIVE", limit=1)
        return ["running enrollments"] if running else []
    if kind in ("team", "queue"):
        owner = Owner(OwnerKind(kind.upper()), name)
        members = sum(name in seller.team_ids for seller in tx.sellers.get(workspace).values()) if kind == "team" else 0
        owned = _counted(tx.records.count(workspace, RecordFilter(owner=owner)), "records it owns")
        return owned + _counted(members, "sellers in it")
    return []


def _counted(number: int, what: str) -> list[str]:
    return [f"{number} {what}"] if number else []


def note_changed_meanings(tx: ReadTransaction, stored: WorkspaceConfig, candidate: WorkspaceConfig) -> None:
    """Note as faults what would give stored values another meaning: other types of fields, other record types of resources."""
    for (kind, name), resource in sorted(candidate.resources.items()):
        before = stored.find(kind, name)
        message = getattr(resource, kind)
        if kind in ("segment", "sequence") and before is not None and before.record_type != message.record_type:
            text = f"it is for records of type {before.record_type!r}, which cannot change"
            candidate.fault(kind, name, "record_type", text)
    settings, old_settings = candidate.settings, stored.settings
    if tx.sellers.page(stored.workspace, limit=1):
        _note_retyped(tx, candidate, "settings", SETTINGS_ID, "seller_fields", old_settings.seller_fields, settings.seller_fields)
    for message in candidate.all("record_type"):
        before = stored.find("record_type", message.record_type)
        if before is not None and tx.records.page(stored.workspace, RecordFilter(record_types=[message.record_type]), limit=1):
            _note_retyped(tx, candidate, "record_type", message.record_type, "fields", before.fields, message.fields)


def _note_retyped(
    tx: ReadTransaction,
    candidate: WorkspaceConfig,
    kind: str,
    name: str,
    path: str,
    before: Sequence[value_pb2.FieldSchema],
    after: Sequence[value_pb2.FieldSchema],
) -> None:
    old = {field.field_id: field.type for field in before}
    fresh = [(i, f) for i, f in enumerate(after) if old.get(f.field_id) != f.type]
    former = _former_types(tx, candidate.workspace, kind, name, path) if fresh else {}
    for index, field in fresh:
        clashing = sorted(t for t in former.get(field.field_id, ()) if t != field.type and (t, field.type) != WIDENED)
        if clashing:
            was = value_pb2.FieldType.Name(clashing[0]).removeprefix("FIELD_TYPE_")
            text = f"the field {field.field_id!r} has held {was} and there are stored values: declare another field"
            candidate.fault(kind, name, f"{path}[{index}].type", text)


def _former_types(tx: ReadTransaction, workspace: str, kind: str, name: str, path: str) -> Mapping[str, set[value_pb2.FieldType.ValueType]]:
    """Return every type that a field was ever declared with: values of a field that was dropped are kept."""
    found: dict[str, set[value_pb2.FieldType.ValueType]] = {}
    for change in tx.config.changes(workspace, kind, name, None, _HISTORY):
        for field in _declared(kind, path, change.after):
            found.setdefault(field.field_id, set()).add(field.type)
    return found


def _declared(kind: str, path: str, body: Any) -> Iterator[value_pb2.FieldSchema]:
    if body is not None:
        yield from getattr(getattr(from_body(kind, body), kind), path)
