"""`reallot runs export`: the history of runs for spreadsheets and programs."""

import csv
import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, Address, Workspace, connected, document, instant, say, short
from reallot.clients.values import moment
from reallot.v1 import assignment_service_pb2, record_pb2, run_pb2

COUNTS = ("considered", "assigned", "moved", "released", "failed", "resegmented", "lost", "undone")
_TIMES = ("create_time", "start_time", "end_time")
_STATUSES = tuple(short(name, "ASSIGNMENT_STATUS_") for name in record_pb2.AssignmentStatus.keys()[1:])
COLUMNS = (
    *("run_id", "kind", "state", "cause", "schedule_id", *_TIMES, "seconds", *COUNTS, *_STATUSES),
    *("termination", "limit", "levels", "failure"),
)


class Form(StrEnum):
    """How runs are printed."""

    CSV = "csv"
    JSON = "json"


def export(
    form: Annotated[Form, typer.Option("--format", help="csv: one row a run; json: one object a line, with everything.")] = Form.CSV,
    start: Annotated[str, typer.Option("--from", help="Only runs asked for from this day or instant on (UTC).")] = "",
    end: Annotated[str, typer.Option("--to", help="And before this day or instant (UTC).")] = "",
    intake: Annotated[bool, typer.Option(help="Also intakes of changed records.")] = False,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
) -> None:
    """Print the history of runs: what started them, how long they took, what became of the records, levels with their bounds."""
    kinds = [run_pb2.RunKind.Value(n) for n in run_pb2.RunKind.keys()[1:]] if intake else []
    first, last = instant(start) if start else None, instant(end) if end else None
    with connected(address, workspace) as client:
        request = assignment_service_pb2.ListRunsRequest(kinds=kinds)
        writer = csv.writer(sys.stdout)
        if form is Form.CSV:
            writer.writerow(COLUMNS)
        for run in client.iterate(client.inner.pages(client.inner.stubs.assignment.ListRuns, request, "runs")):
            asked = moment(run.create_time)
            if (first is not None and asked < first) or (last is not None and asked >= last):
                continue
            if form is Form.JSON:
                say(document(run))
            else:
                writer.writerow(list(row_of(run)))


def row_of(run: run_pb2.Run) -> Iterator[Any]:
    """Yield the cells of a run, one for each of COLUMNS."""
    yield run.run_id
    yield short(run_pb2.RunKind.Name(run.kind), "RUN_KIND_")
    yield short(run_pb2.RunState.Name(run.state), "RUN_STATE_")
    yield run.cause
    yield run.schedule_id
    for name in _TIMES:
        yield moment(getattr(run, name)).isoformat() if run.HasField(name) else ""  # type: ignore[arg-type]
    ended = run.HasField("start_time") and run.HasField("end_time")
    yield (moment(run.end_time) - moment(run.start_time)).total_seconds() if ended else ""
    yield from (getattr(run.counts, name) for name in COUNTS)
    found = {short(record_pb2.AssignmentStatus.Name(row.status), "ASSIGNMENT_STATUS_"): row.records for row in run.counts.by_status}
    yield from (found.get(name, 0) for name in _STATUSES)
    yield short(run_pb2.TerminationReason.Name(run.termination.reason), "TERMINATION_REASON_")
    yield short(run_pb2.TerminationLimit.Name(run.termination.limit), "TERMINATION_LIMIT_")
    yield "; ".join(f"{level.level_id}={level.value} (bound {level.bound})" for level in run.levels)
    yield run.failure
