"""Everything that a workspace's configuration says, compiled: what decides is read from here, never from stored texts.

The same code compiles what Apply is asked to store and what is stored already, in the server and in worker processes. Faults are
collected with their paths; a stored configuration has none.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

from google.protobuf import json_format

from reallot.server.errors import Violation
from reallot.server.group_config import GROUP_KINDS, GroupTarget, group_schema
from reallot.server.sequence_config import SequenceConfig, compile_sequence
from reallot.solver.segmentation import (
    Condition,
    ConditionError,
    Field,
    FieldType,
    Number,
    Read,
    Schema,
    compile_condition,
    compile_number,
    relaxed,
    seller_schema,
)
from reallot.storage.entities import ConfigRow
from reallot.v1 import config_pb2, segment_pb2, value_pb2

KINDS = ("settings", "record_type", "team", "queue", "sequence", "segment", "trigger", "schedule")
"""Kinds in the order in which they can be applied."""
SETTINGS_ID = "settings"
ID_FIELDS = {
    "record_type": "record_type",
    "team": "team_id",
    "queue": "queue_id",
    "segment": "segment_id",
    "trigger": "trigger_id",
    "sequence": "sequence_id",
    "schedule": "schedule_id",
}
DEFAULT_CAPACITY = 1_000
DEFAULT_DIGEST_ABOVE = 20
DEFAULT_EVENTS_DAYS, DEFAULT_DECISIONS_DAYS = 30, 90
DEFAULT_REPLAYABLE_INTAKES = 1_000
ALL_RERUN_CAUSES = frozenset({"CAPACITY_FREED", "SELLER_AVAILABLE", "SELLER_JOINED", "CONFIGURATION_CHANGED"})


def resource_id(resource: config_pb2.ConfigResource) -> tuple[str, str]:
    """Return kind and id of a resource; ("", "") for an empty one."""
    kind = resource.WhichOneof("resource")
    if kind is None:
        return "", ""
    return kind, SETTINGS_ID if kind == "settings" else str(getattr(getattr(resource, kind), ID_FIELDS[kind]))


def to_body(resource: config_pb2.ConfigResource) -> dict[str, Any]:
    """Return a resource as the JSON document that storage keeps."""
    kind = resource.WhichOneof("resource")
    document: dict[str, Any] = json_format.MessageToDict(getattr(resource, str(kind)), preserving_proto_field_name=True)
    return document


def from_body(kind: str, body: Mapping[str, Any]) -> config_pb2.ConfigResource:
    """Return the resource of a stored JSON document."""
    resource = config_pb2.ConfigResource()
    getattr(resource, kind).SetInParent()
    json_format.ParseDict(dict(body), getattr(resource, kind))
    return resource


def from_row(row: ConfigRow) -> config_pb2.ConfigResource:
    """Return a stored resource with its etag and times."""
    resource = from_body(row.kind, row.body)
    resource.etag = str(row.version)
    resource.create_time.FromMicroseconds(row.create_us)
    resource.update_time.FromMicroseconds(row.update_us)
    return resource


def is_active(state: int) -> bool:
    """Tell whether a resource takes part."""
    return state in (segment_pb2.RESOURCE_STATE_UNSPECIFIED, segment_pb2.RESOURCE_STATE_ACTIVE)


def field_of(message: value_pb2.FieldSchema) -> Field:
    """Return a field's declaration for conditions."""
    name = value_pb2.FieldType.Name(message.type).removeprefix("FIELD_TYPE_")
    return Field(message.field_id, FieldType(name if name != "UNSPECIFIED" else "TEXT"), message.fold_case)


@lru_cache(maxsize=20_000)
def _condition(text: str, roots: tuple[tuple[str, Schema], ...]) -> Condition:
    """Compile a condition once for all versions of a configuration in which it stands over the same schemas."""
    return compile_condition(text, dict(roots))


@lru_cache(maxsize=20_000)
def _number(text: str, roots: tuple[tuple[str, Schema], ...]) -> Number:
    return compile_number(text, dict(roots))


@dataclass(frozen=True)
class RuleConfig:
    """An active rule.

    Attributes:
        key: `segment/rule`.
        message: As configured.
        condition: Which records; None = every record.
        target: Which sellers fit which records; None = see the message.
        release_when: When a record that it gave is taken back; None = never.
        preferred: Which sellers are preferred; None = nobody is.
        conflict: Which sellers it never chooses; None = nothing stands in anybody's way.
        score: How well a seller fits; None = all fit alike.
        group: Which teams or queues it gives to instead of sellers; None = it gives to sellers.
    """

    key: str
    message: segment_pb2.Rule
    condition: Condition | None
    target: Condition | None
    release_when: Condition | None
    preferred: Condition | None = None
    conflict: Condition | None = None
    score: Number | None = None
    group: GroupTarget | None = None

    @property
    def step_column(self) -> str:
        """Name, among a record's fields, of how many of its requirements have fallen away."""
        return f"#relaxed:{self.key}"

    @property
    def over_pairs(self) -> tuple[Condition | Number, ...]:
        """What it asks of a record and a seller, team or queue together."""
        of_group = self.group.condition if self.group is not None else None
        return tuple(asked for asked in (self.target, self.preferred, self.conflict, self.score, of_group) if asked is not None)

    @property
    def skills(self) -> frozenset[str]:
        """Skills of sellers that it reads."""
        read = (name for asked in self.over_pairs for name in asked.fields("seller"))
        return frozenset(name.removeprefix("skills.") for name in read if name.startswith("skills."))

    @property
    def fits_by_record(self) -> bool:
        """Whom it may choose depends on the record."""
        asked = [asked for asked in (self.target, self.conflict) if asked is not None]
        return self.message.exclusions.previous_owners or self.message.sticky.required or any(a.fields("record") for a in asked)

    @property
    def shares(self) -> bool:
        """It gives by shares, and what it has given is counted."""
        return self.message.policy == segment_pb2.POLICY_WEIGHTED_SHARES or self.evens_value

    @property
    def evens_value(self) -> bool:
        """What it shares out evenly is the records' value."""
        return self.message.policy == segment_pb2.POLICY_EVEN_VALUE

    @property
    def use_capacity(self) -> bool:
        """Only sellers with free capacity."""
        return not self.message.HasField("use_capacity") or self.message.use_capacity


@dataclass(frozen=True)
class SegmentConfig:
    """A segment with its active rules; no condition = the default segment."""

    message: segment_pb2.Segment
    condition: Condition | None
    rules: tuple[RuleConfig, ...]

    @property
    def id(self) -> str:
        """Its id."""
        return self.message.segment_id

    @property
    def name(self) -> str:
        """Its name for people."""
        return self.message.display_name or self.message.segment_id

    @property
    def waits(self) -> bool:
        """Its records wait for a run."""
        return self.message.on_arrival == segment_pb2.ON_ARRIVAL_WAIT

    @cached_property
    def rule_fields(self) -> frozenset[str]:
        """Record fields that its rules read."""
        asked = [c for rule in self.rules for c in (rule.condition, *rule.over_pairs) if c is not None]
        keys = {rule.message.sticky.by for rule in self.rules if rule.message.HasField("sticky")}
        return frozenset(name for c in asked for name in c.fields("record")) | keys

    @cached_property
    def rule_roles(self) -> frozenset[str]:
        """Roles of referenced records that its rules read."""
        return frozenset(root for rule in self.rules if rule.condition for root, _ in rule.condition.reads if root != "record") | frozenset(
            rule.message.sticky.by for rule in self.rules if rule.message.HasField("sticky")
        )


@dataclass(frozen=True)
class TriggerConfig:
    """An active explicit trigger."""

    message: config_pb2.Trigger
    condition: Condition | None

    @property
    def cool_down_us(self) -> int:
        """For how long it does not fire again for the same record; 0 = it goes by the workspace's cool-down."""
        return self.message.cool_down.ToMicroseconds()


@dataclass(frozen=True)
class RecordTypeConfig:
    """A record type with its schema."""

    message: config_pb2.RecordType
    schema: Schema
    roles: Mapping[str, str]

    @cached_property
    def personal(self) -> frozenset[str]:
        """Fields whose values stand in the record alone."""
        return frozenset(f.field_id for f in self.message.fields if f.personal)

    @cached_property
    def plain(self) -> frozenset[str]:
        """The declared fields that are not personal."""
        return frozenset(f.field_id for f in self.message.fields) - self.personal


class Fault(NamedTuple):
    """A fault of a resource: what it is in, where, and the reason's name."""

    kind: str
    resource: str
    path: str
    reason: str


SCHEMA_REASONS = frozenset({"CONDITION_INVALID", "UNKNOWN_FIELD"})
"""Reasons of faults that a change of a schema brings about."""
READERS = ("segment", "trigger", "sequence", "schedule")
"""Kinds that read fields."""


@dataclass
class WorkspaceConfig:
    """A compiled configuration. Not changed once built; shared between threads.

    Attributes:
        workspace: The workspace.
        version: Version of the configuration; 0 = nothing was ever applied.
        resources: All resources by kind and id.
        paths: Where a resource stands in a request, for violations.
        violations: What is wrong with it, for the caller.
        faults: The same by resource.
    """

    workspace: str
    version: int
    resources: Mapping[tuple[str, str], config_pb2.ConfigResource]
    paths: Mapping[tuple[str, str], str] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @staticmethod
    def of(workspace: str, version: int, rows: Sequence[ConfigRow]) -> "WorkspaceConfig":
        """Compile stored rows."""
        return WorkspaceConfig(workspace, version, {(row.kind, row.id): from_row(row) for row in rows}).compiled()

    def compiled(self) -> "WorkspaceConfig":
        """Compile everything now, so that all faults are known; return self."""
        _ = (self.record_types, self.segments_by_type, self.triggers_by_type, self.sequences, self.counted_types)
        return self

    def fault(self, kind: str, resource: str, path: str, description: str, reason: str = "INVALID_FIELD") -> None:
        """Note a fault of a resource; what is kept for the record only is not held to the schemas."""
        found = Fault(kind, resource, path, reason)
        if is_of_schema(found) and self._is_inactive(found):
            return
        self.faults.append(found)
        place = self.place(kind, resource)
        self.violations.append(Violation(f"{place}.{path}" if path else place, description, reason))

    def _is_inactive(self, fault: Fault) -> bool:
        message = self.find(fault.kind, fault.resource)
        index = rule_of(fault)
        states = [message.state, *([message.rules[index].state] if index is not None else [])]
        return segment_pb2.RESOURCE_STATE_INACTIVE in states

    def place(self, kind: str, resource: str) -> str:
        """Return where a resource stands in the request, or what it is called."""
        return self.paths.get((kind, resource), f"{kind} {resource}")

    def all(self, kind: str) -> list[Any]:
        """Return the messages of a kind by id."""
        return [getattr(resource, kind) for (k, _), resource in sorted(self.resources.items()) if k == kind]

    def find(self, kind: str, name: str) -> Any:
        """Return one message; None if there is none."""
        resource = self.resources.get((kind, name))
        return getattr(resource, kind) if resource is not None else None

    def revision(self, kind: str, name: str) -> int:
        """Return the version of one stored resource; 0 for one that is not stored."""
        resource = self.resources.get((kind, name))
        return int(resource.etag) if resource is not None and resource.etag else 0

    @cached_property
    def settings(self) -> config_pb2.Settings:
        """The workspace's settings."""
        return self.find("settings", SETTINGS_ID) or config_pb2.Settings()

    @property
    def default_capacity(self) -> int:
        """Maximum of sellers without one."""
        return self.settings.default_capacity if self.settings.HasField("default_capacity") else DEFAULT_CAPACITY

    @property
    def digest_above(self) -> int:
        """Notices of one run above which a seller gets a digest."""
        return self.settings.digest_above if self.settings.HasField("digest_above") else DEFAULT_DIGEST_ABOVE

    @property
    def cool_down_us(self) -> int:
        """For how long a record that a change has made be looked at again is not looked at for another; 0 = no pause."""
        return self.settings.cool_down.ToMicroseconds()

    @property
    def events_days(self) -> int:
        """Days for which events and notices are kept; 0 = for ever."""
        return self.settings.retention.events_days if self.settings.retention.HasField("events_days") else DEFAULT_EVENTS_DAYS

    @property
    def decisions_days(self) -> int:
        """Days for which decisions are kept; 0 = for ever."""
        return self.settings.retention.decisions_days if self.settings.retention.HasField("decisions_days") else DEFAULT_DECISIONS_DAYS

    @property
    def replayable_intakes(self) -> int:
        """How many of the newest intakes can be replayed; 0 = none."""
        return self.settings.retention.intakes if self.settings.retention.HasField("intakes") else DEFAULT_REPLAYABLE_INTAKES

    @cached_property
    def rerun_on(self) -> frozenset[str]:
        """Causes of event reruns."""
        if not self.settings.HasField("rerun_on"):
            return ALL_RERUN_CAUSES
        return frozenset(config_pb2.RerunCause.Name(c).removeprefix("RERUN_CAUSE_") for c in self.settings.rerun_on.causes)

    @cached_property
    def record_types(self) -> dict[str, RecordTypeConfig]:
        """Record types by id."""
        return {
            message.record_type: RecordTypeConfig(
                message,
                Schema(tuple(field_of(f) for f in message.fields)),
                {reference.role: reference.record_type for reference in message.references},
            )
            for message in self.all("record_type")
        }

    def roots_of(self, record_type: str) -> dict[str, Schema]:
        """Return what conditions on a record of a type may read: the record, and by role those that it refers to."""
        kind = self.record_types[record_type]
        targets = {role: self.record_types[target].schema for role, target in kind.roles.items() if target in self.record_types}
        return {"record": kind.schema} | {role: replace(schema, reference=True) for role, schema in sorted(targets.items())}

    def filter_of(self, record_type: str, text: str) -> Condition:
        """Return the condition of a selection on records of a type, compiled once for all who ask.

        Raises:
            ConditionError: it cannot be used.
        """
        return _condition(text, tuple(self.roots_of(record_type).items()))

    @cached_property
    def seller_schema(self) -> Schema:
        """The declared attributes of sellers."""
        return seller_schema([field_of(f) for f in self.settings.seller_fields])

    @cached_property
    def group_schemas(self) -> dict[str, Schema]:
        """The declared attributes of teams and of queues, by kind."""
        return {kind: group_schema(kind, [field_of(f) for f in getattr(self.settings, f"{kind}_fields")]) for kind in GROUP_KINDS}

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]]:
        """The teams and queues that take part: messages by kind and id."""
        return {kind: {getattr(m, ID_FIELDS[kind]): m for m in self.all(kind) if is_active(m.state)} for kind in GROUP_KINDS}

    def takes_records(self, kind: str, name: str) -> bool:
        """Tell whether there is such a team or queue, and it takes part."""
        return name in self.groups[kind]

    @cached_property
    def segments_by_type(self) -> dict[str, tuple[SegmentConfig, ...]]:
        """Active segments of each type in the order in which they are looked at."""
        found: dict[str, list[SegmentConfig]] = {}
        for message in self.all("segment"):
            if message.record_type in self.record_types:
                compiled = self._segment(message)
                if is_active(message.state):
                    found.setdefault(message.record_type, []).append(compiled)
        return {
            record_type: tuple(sorted(items, key=lambda s: (s.message.is_default, s.message.priority, s.id)))
            for record_type, items in found.items()
        }

    @cached_property
    def segments(self) -> dict[str, SegmentConfig]:
        """Active segments by id."""
        return {segment.id: segment for items in self.segments_by_type.values() for segment in items}

    @cached_property
    def rules(self) -> dict[str, RuleConfig]:
        """Active rules of active segments by key."""
        return {rule.key: rule for segment in self.segments.values() for rule in segment.rules}

    @cached_property
    def sharing_rules(self) -> frozenset[str]:
        """Keys of the active rules that give by shares."""
        return frozenset(key for key, rule in self.rules.items() if rule.shares)

    @property
    def turns_by_rule(self) -> bool:
        """Every round-robin rule has an order of its own."""
        return bool(self.settings.round_robin_scope == config_pb2.ROUND_ROBIN_SCOPE_PER_RULE)

    def default_segment(self, record_type: str) -> SegmentConfig | None:
        """Return the default segment of a type; None if there is none."""
        items = self.segments_by_type.get(record_type, ())
        return items[-1] if items and items[-1].message.is_default else None

    def _segment(self, message: segment_pb2.Segment) -> SegmentConfig:
        record = {"record": self.record_types[message.record_type].schema}
        joined = self.roots_of(message.record_type)
        both = record | {"seller": self.seller_schema}
        condition = self._compile("segment", message.segment_id, "condition", message.condition, joined)
        rules = []
        for index, rule in enumerate(message.rules):
            path = f"rules[{index}]"
            matching = rule.target.matching if rule.target.WhichOneof("kind") == "matching" else ""
            compiled = RuleConfig(
                f"{message.segment_id}/{rule.rule_id}",
                rule,
                self._compile("segment", message.segment_id, f"{path}.condition", rule.condition, joined),
                self._target(message.segment_id, path, rule, matching, both),
                self._compile("segment", message.segment_id, f"{path}.release_when", rule.release_when, record),
                self._compile("segment", message.segment_id, f"{path}.preferred", rule.preferred, both),
                self._compile("segment", message.segment_id, f"{path}.exclusions.conflict", rule.exclusions.conflict, both),
                self._score(message.segment_id, f"{path}.score", rule.score, both),
                self._group(message.segment_id, path, rule, record),
            )
            if compiled.release_when is not None and compiled.release_when.uses_now:
                text = "it is looked at when a field changes, so it cannot read the clock"
                self.fault("segment", message.segment_id, f"{path}.release_when", text, "CONDITION_INVALID")
            if is_active(rule.state):
                rules.append(compiled)
        return SegmentConfig(message, condition, tuple(rules))

    def _compile(self, kind: str, name: str, path: str, text: str, roots: Mapping[str, Schema]) -> Condition | None:
        if not text:
            return None
        try:
            return _condition(text, tuple(roots.items()))
        except ConditionError as error:
            self.fault(kind, name, path, f"{error}{self._beyond(kind, name, text, roots)}", "CONDITION_INVALID")
            return None

    def _beyond(self, kind: str, name: str, text: str, roots: Mapping[str, Schema]) -> str:
        """Return what to add to the fault of a condition that reads a reference where none can be read; "" if it does not."""
        declared = self.record_types.get(self.find(kind, name).record_type)
        roles = sorted(declared.roles) if declared is not None else []
        read = next((role for role in roles if role not in roots and re.search(rf"(?<![\w.]){role}\b", text)), None)
        if read is None:
            return ""
        known = " and ".join(root for root in roots)
        return f"; the reference {read!r} can be read in conditions of segments and rules and in filters, here only {known}"

    def _target(self, segment_id: str, path: str, rule: segment_pb2.Rule, matching: str, roots: Mapping[str, Schema]) -> Condition | None:
        target = self._compile("segment", segment_id, f"{path}.target.matching", matching, roots)
        parts = sorted(enumerate(rule.relax), key=lambda part: part[1].after.ToMicroseconds())
        dropped = [self._compile("segment", segment_id, f"{path}.relax[{index}].drop", part.drop, roots) for index, part in parts]
        known = [part for part in dropped if part is not None]
        if target is None or not known or len(known) < len(parts):
            return target
        try:
            return relaxed(target, known, f"#relaxed:{segment_id}/{rule.rule_id}")
        except ConditionError as error:
            self.fault("segment", segment_id, f"{path}.relax", error.message, "CONDITION_INVALID")
            return None

    def _group(self, segment_id: str, path: str, rule: segment_pb2.Rule, roots: Mapping[str, Schema]) -> GroupTarget | None:
        kind = rule.target.WhichOneof("kind")
        if kind not in GROUP_KINDS:
            return None
        target = getattr(rule.target, kind)
        both = {**roots, kind: self.group_schemas[kind]}
        return GroupTarget.of(kind, target, self._compile("segment", segment_id, f"{path}.target.{kind}.matching", target.matching, both))

    def _score(self, segment_id: str, path: str, text: str, roots: Mapping[str, Schema]) -> Number | None:
        if not text:
            return None
        try:
            return _number(text, tuple(roots.items()))
        except ConditionError as error:
            told = f"{error}{self._beyond('segment', segment_id, text, roots)}"
            self.fault("segment", segment_id, path, told, "CONDITION_INVALID")
            return None

    @cached_property
    def sequences(self) -> dict[str, SequenceConfig]:
        """Sequences by id, as they are configured now; enrollments that run go by the version that they started on."""
        return {
            message.sequence_id: compile_sequence(
                message, self.record_types[message.record_type].schema, partial(self.fault, "sequence", message.sequence_id)
            )
            for message in self.all("sequence")
            if message.record_type in self.record_types
        }

    @cached_property
    def triggers_by_type(self) -> dict[str, tuple[TriggerConfig, ...]]:
        """Active explicit triggers of each type by id."""
        found: dict[str, list[TriggerConfig]] = {}
        for message in self.all("trigger"):
            if message.record_type in self.record_types:
                roots = {"record": self.record_types[message.record_type].schema}
                condition = self._compile("trigger", message.trigger_id, "condition", message.condition, roots)
                if is_active(message.state):
                    found.setdefault(message.record_type, []).append(TriggerConfig(message, condition))
        return {record_type: tuple(items) for record_type, items in found.items()}

    def rests_with_workspace(self, record_type: str, trigger_id: str) -> bool:
        """Tell whether a trigger, explicit or implied, goes by the workspace's cool-down and not by one of its own."""
        own = {trigger.message.trigger_id for trigger in self.triggers_by_type.get(record_type, ()) if trigger.cool_down_us}
        return trigger_id not in own

    @cached_property
    def implied_fields(self) -> dict[str, frozenset[str]]:
        """Fields that the conditions of a type's active segments read."""
        return {
            record_type: frozenset(name for s in items if s.condition for name in s.condition.fields("record"))
            for record_type, items in self.segments_by_type.items()
        }

    @cached_property
    def related_reads(self) -> dict[str, frozenset[Read]]:
        """Role and field of referenced records that conditions of a type's active segments and their rules read."""
        found = {}
        for record_type, items in self.segments_by_type.items():
            conditions = [c for s in items for c in (s.condition, *(rule.condition for rule in s.rules)) if c is not None]
            found[record_type] = frozenset(read for c in conditions for read in c.reads if read[0] != "record")
        return found

    @cached_property
    def implied_roles(self) -> dict[str, frozenset[str]]:
        """Roles of referenced records that conditions of a type's active segments read."""
        return {
            record_type: frozenset(root for s in items if s.condition for root, _ in s.condition.reads if root != "record")
            for record_type, items in self.segments_by_type.items()
        }

    @cached_property
    def counted_types(self) -> frozenset[str]:
        """Record types with at least one active rule: only their records count as load and as turns."""
        return frozenset(t for t, items in self.segments_by_type.items() if any(segment.rules for segment in items))

    def title(self, record_type: str, record_id: str, fields: Mapping[str, Any]) -> str:
        """Return what a record is called in sentences."""
        kind = self.record_types.get(record_type)
        titled = kind.message.title_field if kind is not None else ""
        # Sentences are kept in logs and read by those who may not see the record.
        name = fields.get(titled) if kind is not None and titled and titled not in kind.personal else None
        return str(name) if name else record_id


def is_of_schema(fault: Fault) -> bool:
    """Tell whether a fault is that something reads what a schema does not declare."""
    return fault.kind in READERS and fault.reason in SCHEMA_REASONS


def rule_of(fault: Fault) -> int | None:
    """Return the position of the rule that a fault of a segment lies in; None if it lies in none."""
    found = re.match(r"rules\[(\d+)\]", fault.path) if fault.kind == "segment" else None
    return int(found[1]) if found else None


def messages_of(resources: Iterable[config_pb2.ConfigResource]) -> dict[tuple[str, str], config_pb2.ConfigResource]:
    """Return resources by kind and id."""
    return {resource_id(resource): resource for resource in resources}
