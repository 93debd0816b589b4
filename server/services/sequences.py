"""SequenceService: connects records with sequences and moves them from step to step."""

from dataclasses import replace
from typing import Any

import grpc

from reallot.server.convert.records import enrollment_state
from reallot.server.convert.values import from_us, maybe_from_us
from reallot.server.errors import failed_precondition, invalid_field, not_found, not_implemented
from reallot.server.explanation import record_of
from reallot.server.idempotency import once
from reallot.server.road.events import enrolled, event_of
from reallot.server.runtime import Runtime
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import page_size_of, workspace_of
from reallot.server.workspace_config import WorkspaceConfig, is_active
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Enrollment, EnrollmentChange, Owner, OwnerKind, Record, Transition
from reallot.v1 import config_pb2, record_pb2, sequence_service_pb2_grpc
from reallot.v1 import sequence_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]


class SequenceService(sequence_service_pb2_grpc.SequenceServiceServicer):
    """Work on the steps of sequences."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListSteps(self, request: pb.ListStepsRequest, context: Context) -> pb.ListStepsResponse:  # noqa: N802
        """List open steps, by record."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request) or ""

        def read(tx: ReadTransaction) -> pb.ListStepsResponse:
            config = self._runtime.configs.of(tx, workspace)
            owner = Owner(OwnerKind.SELLER, request.seller_id) if request.seller_id else None
            wanted = RecordFilter(record_ids=[request.record_id] if request.record_id else None, owner=owner, active=True, enrolled=True)
            found = tx.records.page(workspace, wanted, after, size + 1)
            token = page_token(request, found[size - 1].record_id) if len(found) > size else ""
            return pb.ListStepsResponse(steps=[_open_step(r, config) for r in found[:size]], next_page_token=token)

        return await self._runtime.read(read)

    async def CompleteStep(self, request: pb.CompleteStepRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """Complete a record's present step."""
        return await self._advance(request)

    async def SkipStep(self, request: pb.SkipStepRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """Skip a record's present step."""
        return await self._advance(request)

    async def _advance(self, request: Any) -> record_pb2.EnrollmentState:
        workspace = workspace_of(request)

        def work(tx: WriteTransaction) -> record_pb2.EnrollmentState:
            config = self._runtime.configs.of(tx, workspace)
            record = _enrolled(tx, workspace, request.record_id)
            if request.step != record.step:
                text = f"step {request.step} is not the present one of {record.record_id!r}, which is {record.step}"
                raise failed_precondition("STEP_NOT_PRESENT", text, record=record.record_id, step=str(record.step))
            sequence: config_pb2.Sequence | None = config.find("sequence", record.sequence_id)
            last = sequence is None or record.step >= len(sequence.steps)
            change = EnrollmentChange(end_reason="COMPLETED") if last else EnrollmentChange(move_to_step=record.step + 1)
            return _store(tx, config, record, record, change, "STEP")

        return await self._runtime.write(workspace, once(request, workspace, record_pb2.EnrollmentState, work))

    async def SnoozeStep(self, request: pb.SnoozeStepRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """Put a step off."""
        raise not_implemented("snoozing steps")

    async def Connect(self, request: pb.ConnectRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """Connect a record with a sequence by hand."""
        workspace = workspace_of(request)

        def work(tx: WriteTransaction) -> record_pb2.EnrollmentState:
            config = self._runtime.configs.of(tx, workspace)
            record = record_of(tx, workspace, request.record_id)
            sequence: config_pb2.Sequence | None = config.find("sequence", request.sequence_id)
            if sequence is None:
                raise not_found("config", request.sequence_id)
            if sequence.record_type != record.record_type:
                raise invalid_field("sequence_id", f"the sequence is for {sequence.record_type}, the record is a {record.record_type}")
            step = request.step or 1
            if not 1 <= step <= len(sequence.steps):
                raise invalid_field("step", f"{step} is not between 1 and {len(sequence.steps)}")
            if not record.active or not is_active(sequence.state):
                text = "the record and the sequence must be active"
                raise failed_precondition("RECORD_NOT_ACTIVE", text, record=record.record_id)
            ended = "REPLACED" if record.enrollment_id else ""
            change = EnrollmentChange(ended, request.sequence_id, config.revision("sequence", request.sequence_id), step)
            return _store(tx, config, record, replace(record, connection="CONNECTED"), change, "MANUAL")

        return await self._runtime.write(workspace, once(request, workspace, record_pb2.EnrollmentState, work))

    async def Disconnect(self, request: pb.DisconnectRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """End a record's enrollment by hand."""
        workspace = workspace_of(request)

        def work(tx: WriteTransaction) -> record_pb2.EnrollmentState:
            config = self._runtime.configs.of(tx, workspace)
            record = _enrolled(tx, workspace, request.record_id)
            change = EnrollmentChange(end_reason="DISCONNECTED")
            return _store(tx, config, record, replace(record, connection="SKIPPED"), change, "MANUAL")

        return await self._runtime.write(workspace, once(request, workspace, record_pb2.EnrollmentState, work))

    async def ListEnrollments(self, request: pb.ListEnrollmentsRequest, context: Context) -> pb.ListEnrollmentsResponse:  # noqa: N802
        """List enrollments, newest first."""
        workspace, size, key = workspace_of(request), page_size_of(request), read_page_token(request)
        phase = pb.EnrollmentPhase.Name(request.phase).removeprefix("ENROLLMENT_PHASE_")

        def read(tx: ReadTransaction) -> pb.ListEnrollmentsResponse:
            found = tx.enrollments.page(
                workspace,
                record_id=request.record_id,
                sequence_id=request.sequence_id,
                state="" if phase == "UNSPECIFIED" else phase,
                before=(key[0], key[1]) if key else None,
                limit=size + 1,
            )
            token = page_token(request, [found[size - 1].start_us, found[size - 1].enrollment_id]) if len(found) > size else ""
            return pb.ListEnrollmentsResponse(enrollments=[_enrollment(e) for e in found[:size]], next_page_token=token)

        return await self._runtime.read(read)

    async def GetStatistics(self, request: pb.GetStatisticsRequest, context: Context) -> pb.GetStatisticsResponse:  # noqa: N802
        """Count what happened at the steps."""
        raise not_implemented("statistics of sequences")


def _enrolled(tx: ReadTransaction, workspace: str, record_id: str) -> Record:
    record = record_of(tx, workspace, record_id)
    if not record.enrollment_id:
        raise failed_precondition("NOT_ENROLLED", f"record {record_id!r} has no active enrollment", record=record_id)
    return record


def _store(
    tx: WriteTransaction, config: WorkspaceConfig, before: Record, after: Record, change: EnrollmentChange, cause_kind: str
) -> record_pb2.EnrollmentState:
    cause = {"kind": cause_kind}
    event = event_of(before, enrolled(before, after, change), config=config, time_us=tx.now_us, cause=cause)
    tx.commit_records(config.workspace, [Transition(before, after, enrollment=change, event=event)])
    return enrollment_state(tx.records.get(config.workspace, [before.record_id])[before.record_id])


def _open_step(record: Record, config: WorkspaceConfig) -> pb.OpenStep:
    sequence: config_pb2.Sequence | None = config.find("sequence", record.sequence_id)
    step = sequence.steps[record.step - 1] if sequence is not None and record.step <= len(sequence.steps) else config_pb2.Step()
    return pb.OpenStep(
        record_id=record.record_id,
        enrollment_id=record.enrollment_id,
        sequence_id=record.sequence_id,
        step=record.step,
        step_id=step.step_id,
        kind=step.WhichOneof("kind") or "",
        display_name=step.display_name or step.step_id,
    )


def _enrollment(row: Enrollment) -> pb.Enrollment:
    return pb.Enrollment(
        enrollment_id=row.enrollment_id,
        record_id=row.record_id,
        sequence_id=row.sequence_id,
        sequence_version=row.sequence_version,
        step=row.step,
        phase=pb.EnrollmentPhase.Value(f"ENROLLMENT_PHASE_{row.state}"),
        start_time=from_us(row.start_us),
        end_time=maybe_from_us(row.end_us),
        end_reason=row.end_reason,
    )
