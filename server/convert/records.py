"""Records and what of them shows in events, between the contract and the entities."""

import json
from collections.abc import Mapping
from types import MappingProxyType

from reallot.server.convert.values import from_owner, from_stored, from_us, maybe_from_us, value_text
from reallot.server.languages import speech_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import FieldType
from reallot.storage.documents import JsonText
from reallot.storage.entities import Record, Standing, open_offer
from reallot.v1 import record_pb2

_SEGMENTATION, _ASSIGNMENT, _CONNECTION = "SEGMENTATION_STATUS_", "ASSIGNMENT_STATUS_", "SEQUENCE_CONNECTION_STATUS_"
NO_FIELDS: Mapping[str, FieldType] = MappingProxyType({})
_NULL = JsonText("null")
quoted = json.encoder.encode_basestring
"""Returns a text as JSON."""


def assignment_name(number: int) -> str:
    """Return the stored name of an assignment status; "" for none."""
    return _stored_name(record_pb2.AssignmentStatus.Name(number), _ASSIGNMENT)  # type: ignore[arg-type]


def assignment_status(name: str) -> record_pb2.AssignmentStatus.ValueType:
    """Return the status of a stored name."""
    return record_pb2.AssignmentStatus.Value(_ASSIGNMENT + (name or "UNSPECIFIED"))


def segmentation_name(number: int) -> str:
    """Return the stored name of a segmentation status; "" for none."""
    return _stored_name(record_pb2.SegmentationStatus.Name(number), _SEGMENTATION)  # type: ignore[arg-type]


def connection_name(number: int) -> str:
    """Return the stored name of a sequence connection status; "" for none."""
    return _stored_name(record_pb2.SequenceConnectionStatus.Name(number), _CONNECTION)  # type: ignore[arg-type]


def _stored_name(name: str, prefix: str) -> str:
    short = name.removeprefix(prefix)
    return "" if short == "UNSPECIFIED" else short


def connection_status(name: str) -> record_pb2.SequenceConnectionStatus.ValueType:
    """Return the status of a stored name."""
    return record_pb2.SequenceConnectionStatus.Value(_CONNECTION + (name or "UNSPECIFIED"))


def enrollment_state(record: Record) -> record_pb2.EnrollmentState:
    """Return what of a record's enrollment shows."""
    return record_pb2.EnrollmentState(
        enrollment_id=record.enrollment_id,
        sequence_id=record.sequence_id,
        sequence_version=record.sequence_version,
        step=record.step,
        status=connection_status(record.connection),
    )


def masked_fields(record: Record, config: WorkspaceConfig) -> list[str]:
    """Return the fields of a record that are personal and have a value."""
    kind = config.record_types.get(record.record_type)
    return sorted(kind.personal.intersection(record.fields)) if kind else []


def record_message(
    record: Record,
    config: WorkspaceConfig,
    *,
    pending: bool = False,
    next_try_us: int | None = None,
    masked: bool = False,
    language: str | None = None,
) -> record_pb2.Record:
    """Return a stored record as a message, in a language (see `speech_of`).

    Fields that the schema no longer declares are left out, `masked` those that are personal, too.

    `next_try_us` is when it is tried again (see `next_tries`).
    """
    why = speech_of(config, language).told(record.reason)
    kind = config.record_types.get(record.record_type)
    types = {f.id: f.type for f in kind.schema.fields if not (masked and f.id in kind.personal)} if kind else {}
    return record_pb2.Record(
        record_id=record.record_id,
        record_type=record.record_type,
        fields={name: from_stored(value, types[name]) for name, value in sorted(record.fields.items()) if name in types},
        active=record.active,
        owner=from_owner(record.owner),
        priority=record.priority,
        value_units=record.value_units,
        created_time=from_us(record.created_us),
        created_by=record.created_by,
        effort=record.effort,
        group_key=record.group_key,
        related=dict(record.related),
        segment_id=record.segment_id,
        segmentation=record_pb2.SegmentationState(
            status=record_pb2.SegmentationStatus.Value(_SEGMENTATION + (record.segmentation or "UNSPECIFIED")),
            previous_segment_id=record.previous_segment_id,
        ),
        assignment=record_pb2.AssignmentState(
            status=assignment_status(record.assignment),
            reason=why.text,
            reason_id=why.sentence_id,
            reason_parameters=why.parameters,
            rule_id=record.rule_id,
            run_id=record.run_id,
            attempts=record.attempts,
            last_attempt_time=maybe_from_us(record.last_attempt_us),
            next_try_time=maybe_from_us(next_try_us),
            overdue_time=maybe_from_us(record.overdue_us),
            previous_owner=from_owner(record.previous_owner),
            offered_seller_id=open_offer(record),
        ),
        enrollment=enrollment_state(record),
        pending=pending,
        waiting_since_time=maybe_from_us(record.waiting_since_us),
        etag=str(record.version),
        create_time=from_us(record.create_us),
        update_time=from_us(record.update_us),
    )


def state_text(record: Record | Standing | None, fields: Mapping[str, FieldType] = NO_FIELDS) -> JsonText:
    """Return what of a record shows in events, as the JSON of the contract's RecordState; null for None.

    `fields` are those to show, with their types. Put together by hand, in the order of the keys: a run writes two of these for every
    record.
    """
    if record is None:
        return _NULL
    parts = ['{"active":true' if record.active else '{"active":false']
    if record.assignment:
        parts.append(f'"assignment":"{_ASSIGNMENT}{record.assignment}"')
    if record.enrollment_id or record.connection:
        parts.append(
            f'"enrollment":{{"enrollment_id":{quoted(record.enrollment_id)},"sequence_id":{quoted(record.sequence_id)},'
            f'"sequence_version":{record.sequence_version},"status":"{_CONNECTION}{record.connection or "UNSPECIFIED"}",'
            f'"step":{record.step}}}'
        )
    if fields:
        shown = [f"{quoted(name)}:{value_text(record.fields.get(name), fields[name])}" for name in sorted(fields)]
        parts.append(f'"fields":{{{",".join(shown)}}}')
    if offered := open_offer(record):
        parts.append(f'"offered_seller_id":{quoted(offered)}')
    if record.owner is not None:
        parts.append(f'"owner":{{"{record.owner.kind.lower()}_id":{quoted(record.owner.id)}}}')
    parts.append(f'"priority":{record.priority}')
    if record.rule_id:
        parts.append(f'"rule_id":{quoted(record.rule_id)}')
    if record.segment_id:
        parts.append(f'"segment_id":{quoted(record.segment_id)}')
    if record.segmentation:
        parts.append(f'"segmentation":"{_SEGMENTATION}{record.segmentation}"')
    return JsonText(",".join(parts) + "}")
