"""Rows of record upserts, validated against the schema: every fault with its path, or what is to be written."""

from collections.abc import Collection, Iterator
from typing import Any

from google.protobuf import timestamp_pb2

from reallot.server.convert.values import instant_fault, to_owner, to_stored, to_us
from reallot.server.errors import Violation
from reallot.server.road.change import Upsert
from reallot.server.validation import LARGEST_EFFORT, MOST_FIELDS, check_id
from reallot.server.workspace_config import RecordTypeConfig, WorkspaceConfig, is_active
from reallot.storage.entities import Owner, OwnerKind
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

    def __init__(self, config: WorkspaceConfig, stored: Collection[str], sellers: Collection[str]) -> None:
        """Read against a configuration, the ids of the records that are stored, and those of the sellers who may own."""
        self._config = config
        self._known = set(stored)
        self._sellers = sellers
        self.violations: list[Violation] = []

    def read(self, row: record_service_pb2.RecordUpsert, path: str) -> Upsert | None:
        """Return what a row writes; None if it has faults."""
        before = len(self.violations)
        record = row.record
        self.violations.extend(check_id(f"{path}.record.record_id", record.record_id))
        kind = self._config.record_types.get(record.record_type)
        if kind is None or not is_active(kind.message.state):
            declared = ", ".join(name for name, k in sorted(self._config.record_types.items()) if is_active(k.message.state)) or "none"
            text = f"record type {record.record_type!r} is not declared (declared: {declared})"
            self.violations.append(Violation(f"{path}.record.record_type", text, "UNKNOWN_RECORD_TYPE"))
            return None
        mask = self._mask(row, kind, path)
        fields = dict(self._fields(record, kind, mask, f"{path}.record.fields"))
        attributes = dict(self._attributes(record, mask, f"{path}.record"))
        related = dict(self._related(record, kind, mask, f"{path}.record.related"))
        owner = to_owner(record.owner)
        # The owner of a record's first upsert is taken as it is, mask or not.
        sets_owner = "owner" in mask or (owner is not None and record.record_id not in self._known)
        if sets_owner and owner is not None:
            self._check_owner(owner, f"{path}.record.owner")
        self._known.add(record.record_id)
        if len(self.violations) > before:
            return None
        return Upsert(
            record_id=record.record_id,
            record_type=record.record_type,
            fields=fields,
            attributes=attributes,
            related=related,
            owner=owner,
            sets_owner=sets_owner,
            expects_owner=row.HasField("expected_owner"),
            expected_owner=to_owner(row.expected_owner.owner),
            etag=record.etag,
        )

    def _mask(self, row: record_service_pb2.RecordUpsert, kind: RecordTypeConfig, path: str) -> set[str]:
        """Return the paths that are written: given ones, or what is set, the owner only on request."""
        record = row.record
        if not row.HasField("update_mask"):
            return {name for name in ATTRIBUTES if record.HasField(name)} | {"fields", "related"}  # type: ignore[arg-type]
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

    def _fields(self, record: record_pb2.Record, kind: RecordTypeConfig, mask: set[str], path: str) -> Iterator[tuple[str, Any]]:
        if len(record.fields) > MOST_FIELDS:
            self.violations.append(Violation(path, f"a record has at most {MOST_FIELDS} fields"))
        for name, value in record.fields.items():
            declared = kind.schema.by_id.get(name)
            if declared is None:
                text = f"{name!r} is not declared for {kind.message.record_type}"
                self.violations.append(Violation(f"{path}.{name}", text, "UNKNOWN_FIELD"))
            elif "fields" in mask or f"fields.{name}" in mask:
                try:
                    yield name, to_stored(value, declared.type)
                except ValueError as error:
                    self.violations.append(Violation(f"{path}.{name}", str(error), "WRONG_TYPE"))
        # A field that is named but not given becomes null; "*" replaces all of them.
        named = {p.removeprefix("fields.") for p in mask if p.startswith("fields.")}
        for name in sorted((set(kind.schema.by_id) if "*" in mask else named) - set(record.fields)):
            yield name, None

    def _attributes(self, record: record_pb2.Record, mask: set[str], path: str) -> Iterator[tuple[str, Any]]:
        for name in (n for n in ATTRIBUTES if n in mask):
            if name == "created_time":
                if record.HasField("created_time"):
                    yield from self._created(record.created_time, f"{path}.created_time")
                continue
            value = getattr(record, name) if record.HasField(name) else _DEFAULTS[name]  # type: ignore[arg-type]
            low, high = _RANGES.get(name, (None, None))
            if low is not None and high is not None and not low <= value <= high:
                self.violations.append(Violation(f"{path}.{name}", f"{value} is not between {low} and {high}"))
            if value and isinstance(value, str):
                self.violations.extend(check_id(f"{path}.{name}", value))
            yield name, value

    def _created(self, instant: timestamp_pb2.Timestamp, path: str) -> Iterator[tuple[str, Any]]:
        if (fault := instant_fault(instant)) is not None:
            self.violations.append(Violation(path, fault))
            return
        yield "created_us", to_us(instant)

    def _related(self, record: record_pb2.Record, kind: RecordTypeConfig, mask: set[str], path: str) -> Iterator[tuple[str, str]]:
        for role, target in record.related.items():
            if role not in kind.roles:
                text = f"{role!r} is no declared reference of {kind.message.record_type}"
                self.violations.append(Violation(f"{path}.{role}", text, "UNKNOWN_FIELD"))
            elif "related" in mask or f"related.{role}" in mask:
                if target:
                    self.violations.extend(check_id(f"{path}.{role}", target))
                yield role, target
        # A role that is named but not given loses its reference; "*" replaces all of them.
        named = {p.removeprefix("related.") for p in mask if p.startswith("related.")}
        yield from ((role, "") for role in sorted((set(kind.roles) if "*" in mask else named) - set(record.related)))

    def _check_owner(self, owner: Owner, path: str) -> None:
        self.violations.extend(check_id(path, owner.id))
        kind = owner.kind.lower()
        known = owner.id in self._sellers if owner.kind is OwnerKind.SELLER else self._config.find(kind, owner.id) is not None
        if not known:
            self.violations.append(Violation(path, f"{kind} {owner.id!r} does not exist", "UNKNOWN_REFERENCE"))
