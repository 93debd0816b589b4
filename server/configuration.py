"""What Apply holds a configuration to, beyond what its conditions compile to; and what this version does not serve yet."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from reallot.server.config_fit import fit_faults
from reallot.server.config_groups import attribute_faults, group_target_faults
from reallot.server.config_sequences import sequence_faults
from reallot.server.convert.values import instant_fault, to_stored
from reallot.server.firings import RecurrenceError
from reallot.server.group_config import GROUP_KINDS
from reallot.server.languages import LANGUAGES
from reallot.server.road.offers import LONGEST_US
from reallot.server.schedules import recurrence_of
from reallot.server.validation import LARGEST_CAPACITY, LONGEST_TEXT, config_id_fault, id_fault
from reallot.server.workspace_config import ID_FIELDS, SETTINGS_ID, WorkspaceConfig, is_active
from reallot.solver.calendars import DAY_US
from reallot.solver.segmentation import ConditionError, field_id_fault
from reallot.v1 import config_pb2, segment_pb2, value_pb2

LONGEST_DURATION_S = 10 * 366 * 86_400
LONGEST_AVAILABLE_WITHIN_S = 120 * 3_600
LONGEST_RETENTION_DAYS = 36_500
MOST_REPLAYABLE_INTAKES = 1_000_000
ROOTS = ("record", "seller", "team", "queue", "now")
"""Names in conditions that no reference may have."""


def validate(config: WorkspaceConfig) -> None:
    """Compile a configuration and add every fault to its violations.

    Raises:
        ApiError: UNIMPLEMENTED, naming every part that this version does not serve.
    """
    for (kind, name), resource in sorted(config.resources.items()):
        for path, text in value_faults(getattr(resource, kind)):
            config.fault(kind, name, path, text)
    if config.violations:
        # What cannot be a value cannot be compiled or stored either.
        return
    config.compiled()
    for (kind, name), resource in sorted(config.resources.items()):
        if kind != "settings":
            # A record type's id stands in schemas, so it is held to the stricter rule.
            fault = field_id_fault(name) if kind == "record_type" else config_id_fault(name)
            if fault is not None:
                config.fault(kind, name, ID_FIELDS[kind], fault, "INVALID_ID")
        if kind in _CHECKS:
            _CHECKS[kind](config, getattr(resource, kind))
    _check_priorities(config)


def value_faults(message: Message, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and text of every number that is no value of its enum, and of every instant, duration or text out of range."""
    for field, value in message.ListFields():
        name = f"{path}.{field.name}" if path else field.name
        for place, item in [(f"{name}[{i}]", v) for i, v in enumerate(value)] if field.is_repeated else [(name, value)]:
            fault = _value_fault(field, item)
            if fault is not None:
                yield place, fault
            elif isinstance(item, Message) and not isinstance(item, timestamp_pb2.Timestamp | duration_pb2.Duration):
                yield from value_faults(item, place)


def _value_fault(field: FieldDescriptor, value: Any) -> str | None:
    if field.enum_type is not None and value not in field.enum_type.values_by_number:
        return f"{value} is no {field.enum_type.name}"
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return f"a text has at most {LONGEST_TEXT} characters, this one has {len(value)}"
    if isinstance(value, timestamp_pb2.Timestamp):
        return instant_fault(value)
    if isinstance(value, duration_pb2.Duration) and not (0 <= value.seconds <= LONGEST_DURATION_S and 0 <= value.nanos < 10**9):
        return f"{value.seconds} s is not between 0 and {LONGEST_DURATION_S} s"
    return None


def _check_settings(config: WorkspaceConfig, message: config_pb2.Settings) -> None:
    _check_fields(config, "settings", SETTINGS_ID, "seller_fields", message.seller_fields, reserved=("seller_id", "teams", "skills"))
    for kind in GROUP_KINDS:
        _check_fields(config, "settings", SETTINGS_ID, f"{kind}_fields", getattr(message, f"{kind}_fields"), reserved=(f"{kind}_id",))
    if message.HasField("default_capacity") and not 0 <= message.default_capacity <= LARGEST_CAPACITY:
        config.fault("settings", SETTINGS_ID, "default_capacity", f"it is not between 0 and {LARGEST_CAPACITY}")
    if message.HasField("digest_above") and message.digest_above < 1:
        config.fault("settings", SETTINGS_ID, "digest_above", "it is at least 1")
    _check_cool_down(config, "settings", SETTINGS_ID, message)
    if message.language and message.language not in LANGUAGES.names:
        text = f"{message.language!r} is none of the languages of this server: {', '.join(LANGUAGES.names)}"
        config.fault("settings", SETTINGS_ID, "language", text, "UNKNOWN_LANGUAGE")
    if message.HasField("approve_above_percent") and not 0 <= message.approve_above_percent <= 100:
        config.fault("settings", SETTINGS_ID, "approve_above_percent", "it is not between 0 and 100")
    for name in ("events_days", "decisions_days"):
        if not 0 <= getattr(message.retention, name) <= LONGEST_RETENTION_DAYS:
            text = f"it is not between 0 (for ever) and {LONGEST_RETENTION_DAYS} days"
            config.fault("settings", SETTINGS_ID, f"retention.{name}", text)
    if not 0 <= message.retention.intakes <= MOST_REPLAYABLE_INTAKES:
        text = f"it is not between 0 (none can be replayed) and {MOST_REPLAYABLE_INTAKES}"
        config.fault("settings", SETTINGS_ID, "retention.intakes", text)
    if config_pb2.RERUN_CAUSE_UNSPECIFIED in message.rerun_on.causes:
        config.fault("settings", SETTINGS_ID, "rerun_on", "a cause is not said")


def _check_fields(config: WorkspaceConfig, kind: str, name: str, path: str, fields: Any, reserved: tuple[str, ...] = ()) -> None:
    seen: set[str] = set()
    for index, field in enumerate(fields):
        place = f"{path}[{index}]"
        if (fault := field_id_fault(field.field_id)) is not None:
            config.fault(kind, name, f"{place}.field_id", fault, "INVALID_ID")
        if field.field_id in seen or field.field_id in reserved:
            config.fault(kind, name, f"{place}.field_id", f"{field.field_id!r} is taken")
        if field.type == value_pb2.FIELD_TYPE_UNSPECIFIED:
            config.fault(kind, name, f"{place}.type", "a type is needed")
        if field.fold_case and field.type not in (value_pb2.FIELD_TYPE_TEXT, value_pb2.FIELD_TYPE_TEXT_LIST):
            config.fault(kind, name, f"{place}.fold_case", "only texts have a case")
        seen.add(field.field_id)


def _check_record_type(config: WorkspaceConfig, message: config_pb2.RecordType) -> None:
    name = message.record_type
    _check_fields(config, "record_type", name, "fields", message.fields)
    for index, reference in enumerate(message.references):
        place = f"references[{index}]"
        taken = reference.role in (*ROOTS, *(other.role for other in message.references[:index]))
        if (fault := field_id_fault(reference.role)) is not None or taken:
            config.fault("record_type", name, f"{place}.role", fault or f"{reference.role!r} is taken", "INVALID_ID")
        if reference.record_type not in config.record_types:
            config.fault(
                "record_type", name, f"{place}.record_type", f"record type {reference.record_type!r} does not exist", "UNKNOWN_REFERENCE"
            )
    if message.title_field and message.title_field not in {f.field_id for f in message.fields}:
        config.fault("record_type", name, "title_field", f"field {message.title_field!r} is not declared", "UNKNOWN_FIELD")


def _check_type(config: WorkspaceConfig, kind: str, name: str, record_type: str) -> bool:
    if record_type in config.record_types:
        return True
    config.fault(kind, name, "record_type", f"record type {record_type!r} does not exist", "UNKNOWN_RECORD_TYPE")
    return False


def _check_segment(config: WorkspaceConfig, message: segment_pb2.Segment) -> None:
    name = message.segment_id
    known = _check_type(config, "segment", name, message.record_type)
    if message.is_default and message.condition:
        config.fault("segment", name, "condition", "the default segment has no condition")
    if not message.is_default and not message.condition:
        config.fault("segment", name, "condition", "a condition is needed (only the default segment has none)")
    if not message.is_default and message.priority < 1:
        config.fault("segment", name, "priority", "a priority of at least 1 is needed")
    if message.sequence_id and known:
        for text in _misfits(config, "sequence", message.sequence_id, message.record_type):
            config.fault("segment", name, "sequence_id", text, "UNKNOWN_REFERENCE")
    seen: set[str] = set()
    for index, rule in enumerate(message.rules):
        for path, text, reason in _all_rule_faults(config, message, rule, seen):
            config.fault("segment", name, f"rules[{index}].{path}", text, reason)
        seen.add(rule.rule_id)


def _all_rule_faults(
    config: WorkspaceConfig, segment: segment_pb2.Segment, rule: segment_pb2.Rule, seen: set[str]
) -> Iterator[tuple[str, str, str]]:
    yield from _rule_faults(config, rule, seen)
    yield from fit_faults(config, segment.record_type, rule)
    yield from group_target_faults(config, rule)


def _misfits(config: WorkspaceConfig, kind: str, name: str, record_type: str) -> Iterator[str]:
    """Yield what keeps a resource from being referred to by something for records of a type; "" = of any type."""
    found = config.find(kind, name)
    if found is None:
        yield f"{kind} {name!r} does not exist"
    elif record_type and found.record_type != record_type:
        yield f"{kind} {name!r} is for records of type {found.record_type!r}, not {record_type!r}"


def _rule_faults(config: WorkspaceConfig, rule: segment_pb2.Rule, seen: set[str]) -> Iterator[tuple[str, str, str]]:
    if (fault := config_id_fault(rule.rule_id)) is not None:
        yield "rule_id", fault, "INVALID_ID"
    elif rule.rule_id in seen:
        yield "rule_id", f"{rule.rule_id!r} comes twice", "INVALID_ID"
    if rule.available_within.seconds > LONGEST_AVAILABLE_WITHIN_S:
        yield "available_within", "it is at most 120 hours", "INVALID_FIELD"
    if rule.HasField("consider_created_within") and rule.consider_created_within.ToNanoseconds() <= 0:
        yield "consider_created_within", "it is positive", "INVALID_FIELD"
    yield from _offer_faults(rule)
    target = rule.target
    if target.WhichOneof("kind") == "matching" and not target.matching:
        yield "target.matching", "a condition is needed", "CONDITION_INVALID"
    if target.WhichOneof("kind") == "sellers":
        if not target.sellers.seller_ids and not target.sellers.team_ids:
            yield "target.sellers", "at least one seller or team is needed", "INVALID_FIELD"
        for index, seller in enumerate(target.sellers.seller_ids):
            if (fault := id_fault(seller)) is not None:
                yield f"target.sellers.seller_ids[{index}]", fault, "INVALID_ID"
        for index, team in enumerate(target.sellers.team_ids):
            if config.find("team", team) is None:
                yield f"target.sellers.team_ids[{index}]", f"team {team!r} does not exist", "UNKNOWN_REFERENCE"


def _offer_faults(rule: segment_pb2.Rule) -> Iterator[tuple[str, str, str]]:
    if not rule.HasField("offer"):
        return
    if rule.offer.timeout.ToNanoseconds() <= 0 or rule.offer.timeout.ToMicroseconds() > LONGEST_US:
        yield "offer.timeout", f"it is positive, and at most {LONGEST_US // DAY_US} days", "INVALID_FIELD"
    if not 0 <= rule.offer.remind_after_percent < 100:
        yield "offer.remind_after_percent", "it is not between 0 (no reminder) and 99", "INVALID_FIELD"
    if rule.offer.out_after < 0:
        yield "offer.out_after", "it cannot be negative (0 = never)", "INVALID_FIELD"
    if rule.target.WhichOneof("kind") in ("team", "queue"):
        yield "offer", "a team or queue cannot accept an offer", "INVALID_FIELD"


def _check_priorities(config: WorkspaceConfig) -> None:
    seen: dict[tuple[str, bool, int], str] = {}
    # Of two that clash, the fault stands on the one that the request brings.
    for message in sorted(config.all("segment"), key=lambda m: ("segment", m.segment_id) in config.paths):
        if not is_active(message.state):
            continue
        key = (message.record_type, message.is_default, 0 if message.is_default else message.priority)
        if key in seen:
            what = "is the default segment of its type already" if message.is_default else f"has priority {message.priority} already"
            config.fault("segment", message.segment_id, "priority", f"segment {seen[key]!r} {what}")
        seen[key] = message.segment_id


def _check_trigger(config: WorkspaceConfig, message: config_pb2.Trigger) -> None:
    name = message.trigger_id
    if not _check_type(config, "trigger", name, message.record_type):
        return
    schema = config.record_types[message.record_type].schema
    if not message.fields:
        config.fault("trigger", name, "fields", "at least one field is needed")
    for index, field in enumerate(message.fields):
        if field not in schema.by_id:
            text = f"field {field!r} is not declared for {message.record_type}"
            config.fault("trigger", name, f"fields[{index}]", text, "UNKNOWN_FIELD")
    for path, values in (("from", getattr(message, "from")), ("to", message.to)):
        for field in (f for f in message.fields if f in schema.by_id):
            for index, value in enumerate(values):
                try:
                    to_stored(value, schema.by_id[field].type)
                except ValueError as error:
                    config.fault("trigger", name, f"{path}[{index}]", f"{field}: {error}", "WRONG_TYPE")
    _check_cool_down(config, "trigger", name, message)
    for index, segment in enumerate(message.segment_ids):
        for text in _misfits(config, "segment", segment, message.record_type):
            config.fault("trigger", name, f"segment_ids[{index}]", text, "UNKNOWN_REFERENCE")


def _check_cool_down(config: WorkspaceConfig, kind: str, name: str, message: Any) -> None:
    if message.HasField("cool_down") and not 0 < message.cool_down.ToMicroseconds() <= _longest_cool_down_us(config):
        text = "it is positive, and no longer than decisions are kept (settings.retention.decisions_days)"
        config.fault(kind, name, "cool_down", text)


def _longest_cool_down_us(config: WorkspaceConfig) -> int:
    """Return for how long the log tells when a change last made a record be looked at again."""
    return (config.decisions_days * 86_400 if config.decisions_days else LONGEST_DURATION_S) * 1_000_000


def _check_sequence(config: WorkspaceConfig, message: config_pb2.Sequence) -> None:
    _check_type(config, "sequence", message.sequence_id, message.record_type)
    for path, text, reason in sequence_faults(config, message):
        config.fault("sequence", message.sequence_id, path, text, reason)


def _check_schedule(config: WorkspaceConfig, message: config_pb2.Schedule) -> None:
    name = message.schedule_id
    for path, text in recurrence_faults(message):
        config.fault("schedule", name, path, text, "INVALID_SCHEDULE")
    if message.limit < 0:
        config.fault("schedule", name, "limit", "it cannot be negative")
    for path, text, reason in selection_faults(config, message.selection):
        config.fault("schedule", name, f"selection.{path}", text, reason)


def recurrence_faults(schedule: config_pb2.Schedule) -> Iterator[tuple[str, str]]:
    """Yield the field and text of what keeps a schedule from ever firing, if anything does."""
    try:
        recurrence_of(schedule)
    except RecurrenceError as error:
        path, _, text = str(error).partition(": ")
        yield {"every": "every.duration", "times": "days_and_times.times"}.get(path, path), text


def selection_faults(config: WorkspaceConfig, selection: Any) -> Iterator[tuple[str, str, str]]:
    """Yield path, text and reason of every fault of a run's selection."""
    if selection.record_type and selection.record_type not in config.record_types:
        yield "record_type", f"record type {selection.record_type!r} does not exist", "UNKNOWN_RECORD_TYPE"
    for index, segment in enumerate(selection.segment_ids):
        for text in _misfits(config, "segment", segment, selection.record_type):
            yield f"segment_ids[{index}]", text, "UNKNOWN_REFERENCE"
    if selection.rebalance.most_changes < 0:
        yield "rebalance.most_changes", "it cannot be negative", "INVALID_FIELD"
    if selection.HasField("rebalance") and (selection.resegment or selection.owned_but_ineligible):
        yield "rebalance", "it neither segments again nor looks at eligibility alone: use a run of its own", "INVALID_FIELD"
    rules = {f"{s.segment_id}/{rule.rule_id}" for s in config.all("segment") for rule in s.rules} if selection.rule_ids else set()
    for index, rule in enumerate(selection.rule_ids):
        if rule not in rules:
            yield f"rule_ids[{index}]", f"rule {rule!r} does not exist (write segment/rule)", "UNKNOWN_REFERENCE"
    if selection.filter:
        kind = config.record_types.get(selection.record_type)
        if kind is None:
            yield "record_type", "a filter needs a declared record type", "UNKNOWN_RECORD_TYPE"
            return
        try:
            config.filter_of(selection.record_type, selection.filter)
        except ConditionError as error:
            yield "filter", str(error), "CONDITION_INVALID"


def _check_group(kind: str, config: WorkspaceConfig, message: Any) -> None:
    for path, text, reason in attribute_faults(config, kind, message):
        config.fault(kind, getattr(message, ID_FIELDS[kind]), path, text, reason)


_CHECKS: dict[str, Callable[[WorkspaceConfig, Any], None]] = {
    "settings": _check_settings,
    "record_type": _check_record_type,
    "segment": _check_segment,
    "trigger": _check_trigger,
    "sequence": _check_sequence,
    "schedule": _check_schedule,
    **{kind: partial(_check_group, kind) for kind in GROUP_KINDS},
}


def referrers(config: WorkspaceConfig, kind: str, name: str) -> list[str]:
    """Return what refers to a resource, for people."""
    found = []
    for (other_kind, other), resource in sorted(config.resources.items()):
        message = getattr(resource, other_kind)
        if (other_kind, other) != (kind, name) and name in _references(other_kind, message, kind):
            found.append(f"{other_kind} {other}")
    return found


def _references(kind: str, message: Any, wanted: str) -> set[str]:
    if wanted == "record_type":
        own = {message.record_type} if kind in ("segment", "trigger", "sequence") else set()
        own |= {r.record_type for r in message.references} if kind == "record_type" else set()
        return own | ({message.selection.record_type} if kind == "schedule" else set())
    if wanted == "sequence" and kind == "segment":
        return {message.sequence_id}
    if wanted == "sequence" and kind == "sequence":
        return {step.advance.sequence_id for step in message.steps if step.WhichOneof("kind") == "advance"}
    if wanted == "team" and kind == "segment":
        return {team for r in message.rules for team in (*r.target.sellers.team_ids, *r.target.team.team_ids)}
    if wanted == "queue" and kind == "segment":
        return {queue for rule in message.rules for queue in rule.target.queue.queue_ids}
    if wanted == "segment" and kind == "trigger":
        return set(message.segment_ids)
    if wanted == "segment" and kind == "schedule":
        return set(message.selection.segment_ids)
    return set()
