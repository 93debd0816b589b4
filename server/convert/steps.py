"""Steps of enrollments between the entities and the contract."""

from typing import Any

from google.protobuf import json_format

from reallot.server.convert.values import from_us, maybe_from_us
from reallot.storage.entities import Json
from reallot.storage.steps import StepRow
from reallot.v1 import config_pb2, event_pb2, sequence_service_pb2


def enrollment_step(row: StepRow, definition: config_pb2.Step | None) -> event_pb2.EnrollmentStep:
    """Return a step with its definition as a message."""
    return event_pb2.EnrollmentStep(
        enrollment_id=row.enrollment_id,
        sequence_id=row.sequence_id,
        sequence_version=row.sequence_version,
        step=row.step,
        definition=definition,
        seller_id=row.seller_id,
        due_time=maybe_from_us(row.due_us),
        overdue_time=maybe_from_us(row.overdue_us),
        state=event_pb2.StepState.Value(f"STEP_STATE_{row.state}"),
        outcome=row.outcome,
        end_reason=row.end_reason,
        reached_time=from_us(row.reached_us),
        end_time=maybe_from_us(row.end_us),
    )


def step_document(row: StepRow, definition: config_pb2.Step | None) -> Json:
    """Return a step with its definition as the JSON document that causes keep."""
    document: dict[str, Any] = json_format.MessageToDict(enrollment_step(row, definition), preserving_proto_field_name=True)
    return document


def open_step(row: StepRow, definition: config_pb2.Step | None, now_us: int) -> sequence_service_pb2.OpenStep:
    """Return a step that is to be done as a message."""
    return sequence_service_pb2.OpenStep(
        record_id=row.record_id,
        enrollment_id=row.enrollment_id,
        sequence_id=row.sequence_id,
        step=row.step,
        step_id=row.step_id,
        kind=row.kind,
        display_name=(definition.display_name if definition is not None else "") or row.step_id,
        due_time=maybe_from_us(row.due_us),
        sequence_version=row.sequence_version,
        definition=definition,
        seller_id=row.seller_id,
        overdue_time=maybe_from_us(row.overdue_us),
        overdue=row.overdue_us is not None and row.overdue_us <= now_us,
        reached_time=from_us(row.reached_us),
    )
