"""Rows of record upserts, validated against the schema: every fault with its path, or what is to be written."""

from collections.abc import Iterator
from typing import Any

from reallot.server.convert.values import to_owner, to_stored, to_us
from reallot.server.errors import Violation
from reallot.server.road.change import Upsert
from reallot.server.validation import LARGEST_EFFORT, LONGEST_ID, MOST_FIELDS, check_id
from reallot.server.workspace_config import RecordTypeConfig, WorkspaceConfig
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

    def __init__(self, config: WorkspaceConfig) -> None:
        self._config = config
        self.violations: list[Violation] = []

    def read(self, row: record_service_pb2.RecordUpsert, path: str) -> Upsert | None:
        """Return what a row writes; None if it has faults."""
        before = len(self.violations)
        record = row.record
        self.violations.extend(check_id(f"{path}.record.record_id", record.record_id))
        kind = self._config.record_types.get(record.record_type)
        if kind is None:
            declared = ", ".join(sorted(self._config.record_types)) or "none"
            text = f"record type {record.record_type!r} is not declared (declared: {declared})"
            self.violations.append(Violation(f"{path}.record.record_type", text, "UNKNOWN_RECORD_TYPE"))
            return None
        mask = self._mask(row, kind, path)
        fields = dict(self._fields(record, kind, mask, f"{path}.record.fields"))
        attributes = dict(self._attributes(record, mask, f"{path}.record"))
        related = dict(self._related(record, kind, mask, f"{path}.record.related"))
        self._check_owner(row, mask, path)
        if len(self.violations) > before:
            return None
        return Upsert(
            record_id=record.record_id,
            record_type=record.record_type,
            fields=fields,
            attributes=attributes,
            related=related,
            owner=to_owner(record.owner),
            sets_owner="owner" in mask,
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
        for name in (set(kind.schema.by_id) if "*" in mask else named) - set(record.fields):
            yield name, None

    def _attributes(self, record: record_pb2.Record, mask: set[str], path: str) -> Iterator[tuple[str, Any]]:
        for name in mask.intersection(ATTRIBUTES):
            if name == "created_time":
                if record.HasField("created_time"):
                    yield "created_us", to_us(record.created_time)
                continue
            value = getattr(record, name) if record.HasField(name) else _DEFAULTS[name]  # type: ignore[arg-type]
            low, high = _RANGES.get(name, (None, None))
            if low is not None and high is not None and not low <= value <= high:
                self.violations.append(Violation(f"{path}.{name}", f"{value} is not between {low} and {high}"))
            if isinstance(value, str) and len(value) > LONGEST_ID:
                self.violations.append(Violation(f"{path}.{name}", f"it has more than {LONGEST_ID} characters"))
            yield name, value

    def _related(self, record: record_pb2.Record, kind: RecordTypeConfig, mask: set[str], path: str) -> Iterator[tuple[str, str]]:
        for role, target in record.related.items():
            if role not in kind.roles:
                text = f"{role!r} is no declared reference of {kind.message.record_type}"
                self.violations.append(Violation(f"{path}.{role}", text, "UNKNOWN_FIELD"))
            elif "related" in mask or f"related.{role}" in mask:
                if target:
                    self.violations.extend(check_id(f"{path}.{role}", target))
                yield role, target
        if "*" in mask:
            yield from ((role, "") for role in set(kind.roles) - set(record.related))

    def _check_owner(self, row: record_service_pb2.RecordUpsert, mask: set[str], path: str) -> None:
        owner = to_owner(row.record.owner)
        if "owner" not in mask or owner is None:
            return
        self.violations.extend(check_id(f"{path}.record.owner", owner.id))
        kind = owner.kind.lower()
        if kind in ("team", "queue") and self._config.find(kind, owner.id) is None:
            self.violations.append(Violation(f"{path}.record.owner", f"{kind} {owner.id!r} does not exist", "UNKNOWN_REFERENCE"))
