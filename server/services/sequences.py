"""SequenceService: connects records with sequences and moves them from step to step."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import grpc

from reallot.server.config_sequences import outcome_fault
from reallot.server.configuration import LONGEST_DURATION_S
from reallot.server.convert.records import enrollment_state
from reallot.server.convert.steps import enrollment_step, open_step
from reallot.server.convert.values import from_us, instant_fault, maybe_from_us, to_us
from reallot.server.errors import failed_precondition, invalid_field, not_found
from reallot.server.explanation import record_of
from reallot.server.idempotency import once
from reallot.server.passages import Versions, attend, end_left, put_off
from reallot.server.road.events import enrolled, event_of
from reallot.server.road.passage import Act
from reallot.server.runtime import Runtime
from reallot.server.sequence_config import HUMAN
from reallot.server.statistics import statistics_of
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import page_size_of, workspace_of
from reallot.server.workspace_config import WorkspaceConfig, is_active
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Enrollment, EnrollmentChange, Record, Transition
from reallot.storage.steps import COMPLETED, SKIPPED, StepLook, StepRow
from reallot.v1 import config_pb2, record_pb2, sequence_service_pb2_grpc
from reallot.v1 import sequence_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]


class SequenceService(sequence_service_pb2_grpc.SequenceServiceServicer):
    """Work on the steps of sequences."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def ListSteps(self, request: pb.ListStepsRequest, context: Context) -> pb.ListStepsResponse:  # noqa: N802
        """List the steps that are to be done, by record."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)
        if (fault := instant_fault(request.due_by)) is not None:
            raise invalid_field("due_by", fault)

        def read(tx: ReadTransaction) -> pb.ListStepsResponse:
            versions = Versions(tx, self._runtime.configs.of(tx, workspace))
            found = tx.steps.page(
                workspace,
                HUMAN,
                seller_id=request.seller_id,
                record_id=request.record_id,
                sequence_id=request.sequence_id,
                due_by_us=to_us(request.due_by) if request.HasField("due_by") else None,
                after=(after[0], after[1]) if after else None,
                limit=size + 1,
            )
            token = page_token(request, [found[size - 1].record_id, found[size - 1].enrollment_id]) if len(found) > size else ""
            now_us = self._runtime.clock.now_us()
            rows = [open_step(r, versions.of(r.sequence_id, r.sequence_version).step(r.step), now_us) for r in found[:size]]
            return pb.ListStepsResponse(steps=rows, next_page_token=token)

        return await self._runtime.read(read)

    async def CompleteStep(self, request: pb.CompleteStepRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """Complete a step that is to be done."""
        if (fault := outcome_fault(request.outcome)) is not None:
            raise invalid_field("outcome", fault)
        return await self._act(request, Act(COMPLETED, request.outcome))

    async def SkipStep(self, request: pb.SkipStepRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """Leave a step out."""
        return await self._act(request, Act(SKIPPED))

    async def _act(self, request: Any, act: Act) -> record_pb2.EnrollmentState:
        workspace = workspace_of(request)

        def work(tx: WriteTransaction) -> record_pb2.EnrollmentState:
            config = self._runtime.configs.of(tx, workspace)
            record, left = _asked_for(tx, config, request)
            if left is not None:
                end_left(tx, config, record, left, act)
            else:
                if act.state == COMPLETED:
                    _somebody_does(tx, config, record)
                attend(tx, config, [StepLook(record.record_id, tx.steps.told(workspace, record.record_id))], {record.record_id: act})
            return enrollment_state(tx.records.get(workspace, [record.record_id])[record.record_id])

        return await self._runtime.write(workspace, once(request, workspace, record_pb2.EnrollmentState, work))

    async def SnoozeStep(self, request: pb.SnoozeStepRequest, context: Context) -> record_pb2.EnrollmentState:  # noqa: N802
        """Put a step off."""
        workspace = workspace_of(request)
        if not 0 < request.duration.seconds <= LONGEST_DURATION_S or not 0 <= request.duration.nanos < 10**9:
            raise invalid_field("duration", f"{request.duration.seconds} s is not between 1 and {LONGEST_DURATION_S} s")

        def work(tx: WriteTransaction) -> record_pb2.EnrollmentState:
            config = self._runtime.configs.of(tx, workspace)
            record, left = _asked_for(tx, config, request)
            if left is None:
                _somebody_does(tx, config, record)
            put_off(tx, config, record, left, request.duration.ToMicroseconds())
            return enrollment_state(record)

        return await self._runtime.write(workspace, once(request, workspace, record_pb2.EnrollmentState, work))

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
            versions, steps = Versions(tx, self._runtime.configs.of(tx, workspace)), defaultdict(list)
            for step in tx.steps.of_enrollments(workspace, [e.enrollment_id for e in found[:size]]):
                steps[step.enrollment_id].append(step)
            rows = [_enrollment(e, steps[e.enrollment_id], versions) for e in found[:size]]
            return pb.ListEnrollmentsResponse(enrollments=rows, next_page_token=token)

        return await self._runtime.read(read)

    async def GetStatistics(self, request: pb.GetStatisticsRequest, context: Context) -> pb.GetStatisticsResponse:  # noqa: N802
        """Count what happened at the steps."""
        workspace = workspace_of(request)
        if request.sequence_version < 0:
            raise invalid_field("sequence_version", "versions count from 1; 0 = all")

        def read(tx: ReadTransaction) -> pb.GetStatisticsResponse:
            return statistics_of(tx, self._runtime.configs.of(tx, workspace), request.sequence_id, request.sequence_version)

        return await self._runtime.read(read)


def _asked_for(tx: WriteTransaction, config: WorkspaceConfig, request: Any) -> tuple[Record, StepRow | None]:
    """Return the record that a request is about, and the step if it is one that an ended enrollment has left open.

    Raises:
        ApiError: there is no such record or enrollment, or the step is not the present one.
    """
    record = record_of(tx, config.workspace, request.record_id)
    if request.enrollment_id not in ("", record.enrollment_id):
        opened = tx.steps.open_of(config.workspace, [record.record_id]).get(record.record_id, ())
        left = next((row for row in opened if row.enrollment_id == request.enrollment_id and row.step == request.step), None)
        if left is None or left.kind not in HUMAN:
            text = f"step {request.step} of enrollment {request.enrollment_id!r} is not open"
            raise failed_precondition("STEP_NOT_PRESENT", text, record=record.record_id, step=str(request.step))
        return record, left
    if not record.enrollment_id:
        raise failed_precondition("NOT_ENROLLED", f"record {record.record_id!r} has no active enrollment", record=record.record_id)
    if request.step != record.step:
        text = f"step {request.step} is not the present one of {record.record_id!r}, which is {record.step}"
        raise failed_precondition("STEP_NOT_PRESENT", text, record=record.record_id, step=str(record.step))
    return record, None


def _somebody_does(tx: WriteTransaction, config: WorkspaceConfig, record: Record) -> None:
    """Refuse what only somebody can do who does the step.

    Raises:
        ApiError: the server does it.
    """
    step = Versions(tx, config).of(record.sequence_id, record.sequence_version).step(record.step)
    if step is not None and step.WhichOneof("kind") not in HUMAN:
        text = f"step {record.step} of {record.record_id!r} is done by the server: it can only be skipped"
        raise failed_precondition("STEP_IS_AUTOMATIC", text, record=record.record_id, step=str(record.step))


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


def _enrollment(row: Enrollment, steps: Iterable[StepRow], versions: Versions) -> pb.Enrollment:
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
        steps=[enrollment_step(s, versions.of(s.sequence_id, s.sequence_version).step(s.step)) for s in steps],
    )
