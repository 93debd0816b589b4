"""Rows of record upserts, validated against the schema: every fault with its path, or what is to be written."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from google.protobuf import timestamp_pb2

from reallot.server.config_groups import group_fault
from reallot.server.convert.values import STORED_OF, instant_fault, to_owner, to_us
from reallot.server.errors import Violation
from reallot.server.road.change import Upsert
from reallot.server.validation import LARGEST_EFFORT, MOST_FIELDS, check_id, id_fault
from reallot.server.workspace_config import RecordTypeConfig, WorkspaceConfig, is_active
from reallot.storage.entities import Owner, OwnerKind, Record
from reallot.v1 import record_pb2, record_service_pb2

ATTRIBUTES = ("active", "priority", "value_units", "created_time", "created_by", "effort", "group_key")
_RANGES = {"priority": (0, 100), "effort": (0, LARGEST_EFFORT)}
_DEFAULTS: dict[str, Any] = {
    "active": True,
    "priority": 50,
    "value_units": 0,
    "created_by": "",
    "effort": 1,
    "group_key": "",
}


class UpsertReader:
    """Reads rows against one configuration; collects the violations of all of them."""

    def __init__(self, config: WorkspaceConfig, stored: Mapping[str, Record], sellers: Collection[str]) -> None:
        """Read against a configuration, the records that are stored, by id, and the ids of the sellers who may own."""
        self._config = config
        self._kinds = {name: kind for name, kind in config.record_types.items() if is_active(kind.message.state)}
        self._stored = stored
        self._known = set(stored)
        self._sellers = sellers
        self.violations: list[Violation] = []

    def read(self, row: record_service_pb2.RecordUpsert, path: str) -> Upsert | None:
        """Return what a row writes; None if it has faults."""
        before = len(self.violations)
        record = row.record
        record_id = record.record_id
        if (fault := id_fault(record_id)) is not None:
            self.violations.append(Violation(f"{path}.record.record_id", fault, "INVALID_ID"))
        kind = self._kinds.get(record.record_type)
        if kind is None:
            text = f"record type {record.record_type!r} is not declared (declared: {', '.join(sorted(self._kinds)) or 'none'})"
            self.violations.append(Violation(f"{path}.record.record_type", text, "UNKNOWN_RECORD_TYPE"))
            return None
        mask = self._mask(row, kind, path) if row.HasField("update_mask") else None
        fields = self._fields(record, kind, mask, path)
        attributes = dict(self._attributes(record, mask, path))
        related = dict(self._related(record, kind, mask, path)) if mask is not None or record.related else {}
        owner = to_owner(record.owner) if record.HasField("owner") else None
        # The owner of a record's first upsert is taken as it is, mask or not.
        sets_owner = (mask is not None and "owner" in mask) or (owner is not None and record_id not in self._known)
        if sets_owner and owner is not None:
            self._check_owner(owner, record_id, f"{path}.record.owner")
        self._known.add(record_id)
        if len(self.violations) > before:
            return None
        expects = row.HasField("expected_owner")
        return Upsert(
            record_id=record_id,
            record_type=record.record_type,
            fields=fields,
            attributes=attributes,
            related=related,
            owner=owner,
            sets_owner=sets_owner,
            expects_owner=expects,
            expected_owner=to_owner(row.expected_owner.owner) if expects else None,
            etag=record.etag,
        )

    def _mask(self, row: record_service_pb2.RecordUpsert, kind: RecordTypeConfig, path: str) -> set[str]:
        """Return the paths that a given mask has written."""
        if list(row.update_mask.paths) == ["*"]:
            return {*ATTRIBUTES, "owner", "fields", "related", "*"}
        mask = set()
        for name in row.update_mask.paths:
            head, _, tail = name.partition(".")
            known = name in (*ATTRIBUTES, "owner", "fields", "related")
            known |= head == "fields" and tail in kind.schema.by_id
            known |= head == "related" and tail in kind.roles
            if not known:
                text = f"{name!r} cannot be written"
                self.violations.append(Violation(f"{path}.update_mask", text, "UNKNOWN_MASK_PATH"))
            mask.add(name)
        return mask

    def _fields(self, record: record_pb2.Record, kind: RecordTypeConfig, mask: set[str] | None, path: str) -> dict[str, Any]:
        """Return the fields that are written. Without a mask, what is set is written; so it is with attributes and references."""
        values, by_id, whole = record.fields, kind.schema.by_id, mask is None or "fields" in mask
        if len(values) > MOST_FIELDS:
            self.violations.append(Violation(f"{path}.record.fields", f"a record has at most {MOST_FIELDS} fields"))
        found: dict[str, Any] = {}
        for name in values:
            declared = by_id.get(name)
            if declared is None:
                text = f"{name!r} is not declared for {kind.message.record_type}"
                self.violations.append(Violation(f"{path}.record.fields.{name}", text, "UNKNOWN_FIELD"))
            elif whole or (mask is not None and f"fields.{name}" in mask):
                try:
                    found[name] = STORED_OF[declared.type](values[name])
                except ValueError as error:
                    self.violations.append(Violation(f"{path}.record.fields.{name}", str(error), "WRONG_TYPE"))
        if mask is not None:
            # A field that is named but not given becomes null; "*" replaces all of them.
            named = {p.removeprefix("fields.") for p in mask if p.startswith("fields.")}
            found.update(dict.fromkeys(sorted((set(by_id) if "*" in mask else named) - set(values))))
        return found

    def _attributes(self, record: record_pb2.Record, mask: set[str] | None, path: str) -> Iterator[tuple[str, Any]]:
        for name in ATTRIBUTES:
            if not record.HasField(name) if mask is None else name not in mask:  # type: ignore[arg-type]
                continue
            if name == "created_time":
                if record.HasField("created_time"):
                    yield from self._created(record.created_time, f"{path}.record.created_time")
                continue
            value = getattr(record, name) if record.HasField(name) else _DEFAULTS[name]  # type: ignore[arg-type]
            low, high = _RANGES.get(name, (None, None))
            if low is not None and high is not None and not low <= value <= high:
                self.violations.append(Violation(f"{path}.record.{name}", f"{value} is not between {low} and {high}"))
            if value and isinstance(value, str):
                self.violations.extend(check_id(f"{path}.record.{name}", value))
            yield name, value

    def _created(self, instant: timestamp_pb2.Timestamp, path: str) -> Iterator[tuple[str, Any]]:
        if (fault := instant_fault(instant)) is not None:
            self.violations.append(Violation(path, fault))
            return
        yield "created_us", to_us(instant)

    def _related(self, record: record_pb2.Record, kind: RecordTypeConfig, mask: set[str] | None, path: str) -> Iterator[tuple[str, str]]:
        for role, target in record.related.items():
            if role not in kind.roles:
                text = f"{role!r} is no declared reference of {kind.message.record_type}"
                self.violations.append(Violation(f"{path}.record.related.{role}", text, "UNKNOWN_FIELD"))
            elif mask is None or "related" in mask or f"related.{role}" in mask:
                if target:
                    self.violations.extend(check_id(f"{path}.record.related.{role}", target))
                yield role, target
        if mask is not None:
            # A role that is named but not given loses its reference; "*" replaces all of them.
            named = {p.removeprefix("related.") for p in mask if p.startswith("related.")}
            yield from ((role, "") for role in sorted((set(kind.roles) if "*" in mask else named) - set(record.related)))

    def _check_owner(self, owner: Owner, record_id: str, path: str) -> None:
        self.violations.extend(check_id(path, owner.id))
        if owner.kind is not OwnerKind.SELLER:
            stored = self._stored.get(record_id)
            keeps = stored is not None and stored.owner == owner
            if not keeps and (fault := group_fault(self._config, owner)) is not None:
                self.violations.append(Violation(path, *fault))
        elif owner.id not in self._sellers:
            self.violations.append(Violation(path, f"seller {owner.id!r} does not exist", "UNKNOWN_REFERENCE"))
