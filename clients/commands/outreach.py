"""`reallot steps` and `reallot sequences`: what is to be done about records in sequences, and what became of it."""

from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer

from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    INVALID,
    Address,
    AsJson,
    Workspace,
    connected,
    document,
    duration,
    fail,
    out,
    say,
    table,
)
from reallot.clients.values import moment, timestamp
from reallot.v1 import record_pb2
from reallot.v1 import sequence_service_pb2 as pb

steps = typer.Typer(add_completion=False, help="Look at the steps that are to be done, and do them.", no_args_is_help=True)
sequences = typer.Typer(add_completion=False, help="Look at sequences at work.", no_args_is_help=True)
Enrollment = Annotated[str, typer.Option(help="The enrollment, if it is not the active one.")]
Step = Annotated[int, typer.Argument(help="Number of the step, from 1.", min=1)]


def _time(message: Any, name: str) -> str:
    return f"{moment(getattr(message, name)):%Y-%m-%d %H:%M}" if message.HasField(name) else ""


@steps.command("list")
def list_steps(
    seller: Annotated[str, typer.Option(help="Only those that this seller is to do.")] = "",
    record: Annotated[str, typer.Option(help="Only of this record.")] = "",
    sequence: Annotated[str, typer.Option(help="Only of this sequence.")] = "",
    due_by: Annotated[str, typer.Option(help="Only those that are due by then, e.g. 2026-03-06T12:00Z, or now.")] = "",
    count: Annotated[int, typer.Option(help="Rows to show; 0 = all.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List the steps that are to be done."""
    request = pb.ListStepsRequest(seller_id=seller, record_id=record, sequence_id=sequence)
    if due_by:
        request.due_by.CopyFrom(_instant(due_by))
    with connected(address, workspace) as client:
        found = islice(client.iterate(client.inner.pages(client.inner.stubs.sequences.ListSteps, request, "steps")), count or None)
        rows = []
        for step in found:
            if as_json:
                say(document(step))
            else:
                due = _time(step, "due_time") + (" overdue" if step.overdue else "")
                rows.append((step.record_id, step.sequence_id, step.step, step.kind, step.display_name, step.seller_id, due))
        if not as_json:
            table("", ("record", "sequence", "step", "kind", "name", "seller", "due (UTC)"), rows, numbers=("step",))


def _instant(text: str) -> Any:
    try:
        found = datetime.now().astimezone() if text == "now" else datetime.fromisoformat(text)
        return timestamp(found)
    except ValueError as error:
        fail(error, INVALID)


@steps.command("complete")
def complete(
    record: str,
    step: Step,
    outcome: Annotated[str, typer.Option(help="Outcome, e.g. replied: forks and exits look at it.")] = "",
    enrollment: Enrollment = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Complete a step."""
    request = pb.CompleteStepRequest(record_id=record, step=step, outcome=outcome, enrollment_id=enrollment)
    with connected(address, workspace) as client:
        _shown(record, client.stubs.sequences.CompleteStep(request), as_json=as_json)


@steps.command("skip")
def skip(
    record: str,
    step: Step,
    enrollment: Enrollment = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Leave a step out, or the rest of a pause."""
    request = pb.SkipStepRequest(record_id=record, step=step, enrollment_id=enrollment)
    with connected(address, workspace) as client:
        _shown(record, client.stubs.sequences.SkipStep(request), as_json=as_json)


@steps.command("snooze")
def snooze(
    record: str,
    step: Step,
    length: Annotated[str, typer.Argument(metavar="DURATION", help="From now, e.g. 90s, 15m, 8h, 3d.")],
    enrollment: Enrollment = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Put a step off; then it falls due again in working time."""
    request = pb.SnoozeStepRequest(record_id=record, step=step, enrollment_id=enrollment)
    request.duration.FromTimedelta(duration(length))
    with connected(address, workspace) as client:
        _shown(record, client.stubs.sequences.SnoozeStep(request), as_json=as_json)


def _shown(record: str, state: record_pb2.EnrollmentState, *, as_json: bool) -> None:
    if as_json:
        say(document(state))
    elif state.enrollment_id:
        out.print(f"{record} is at step {state.step} of {state.sequence_id}", markup=False)
    else:
        out.print(f"{record} is in no sequence", markup=False)


@sequences.command("stats")
def stats(
    sequence: str,
    version: Annotated[int, typer.Option(help="Only this version; 0 = all.", min=0)] = 0,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Count what happened at the steps of a sequence."""
    with connected(address, workspace) as client:
        answer = client.stubs.sequences.GetStatistics(pb.GetStatisticsRequest(sequence_id=sequence, sequence_version=version))
        if as_json:
            say(document(answer))
            return
        numbers = ("step", "reached", "open", "completed", "skipped")
        rows = [
            (s.step, s.step_id, s.kind, s.reached, s.open, s.completed, s.skipped, _counts(s.outcomes), _counts(s.ended))
            for s in answer.steps
        ]
        table("", ("step", "id", "kind", "reached", "open", "completed", "skipped", "outcomes", "ended"), rows, numbers=numbers)
        out.print(f"{answer.active:,} running; ended: {_counts(answer.ended) or 'none'}", markup=False)


def _counts(counts: Any) -> str:
    return ", ".join(f"{name.lower()} {number:,}" for name, number in sorted(counts.items()))


@sequences.command("enrollments")
def enrollments(
    record: Annotated[str, typer.Option(help="Only of this record.")] = "",
    sequence: Annotated[str, typer.Option(help="Only of this sequence.")] = "",
    active: Annotated[bool, typer.Option(help="Only those that run.")] = False,
    count: Annotated[int, typer.Option(help="Rows to show; 0 = all.")] = 50,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List enrollments, newest first."""
    phase = pb.ENROLLMENT_PHASE_ACTIVE if active else pb.ENROLLMENT_PHASE_UNSPECIFIED
    request = pb.ListEnrollmentsRequest(record_id=record, sequence_id=sequence, phase=phase)
    with connected(address, workspace) as client:
        pages = client.inner.pages(client.inner.stubs.sequences.ListEnrollments, request, "enrollments")
        rows = []
        for row in islice(client.iterate(pages), count or None):
            if as_json:
                say(document(row))
            else:
                times = (_time(row, "start_time"), _time(row, "end_time"))
                rows.append((row.record_id, row.sequence_id, row.sequence_version, row.step, *times, row.end_reason.lower()))
        if not as_json:
            columns = ("record", "sequence", "version", "step", "from (UTC)", "to (UTC)", "why it ended")
            table("", columns, rows, numbers=("version", "step"))


@sequences.command("connect")
def connect(
    record: str,
    sequence: str,
    step: Annotated[int, typer.Option(help="Step to begin with.", min=1)] = 1,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Connect a record with a sequence by hand; an active enrollment ends."""
    with connected(address, workspace) as client:
        request = pb.ConnectRequest(record_id=record, sequence_id=sequence, step=step)
        _shown(record, client.stubs.sequences.Connect(request), as_json=as_json)


@sequences.command("disconnect")
def disconnect(record: str, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """End a record's enrollment by hand."""
    with connected(address, workspace) as client:
        _shown(record, client.stubs.sequences.Disconnect(pb.DisconnectRequest(record_id=record)), as_json=as_json)
