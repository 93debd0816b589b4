"""`reallot rerun` and `reallot runs`: starting passes and looking at them."""

import sys
import time
from typing import Annotated, Any

import typer

from reallot.clients.commands import exporting, previewing
from reallot.clients.commands.asking import level_text
from reallot.clients.commands.passes import exit_code, show, started, took, waited
from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    FAILED,
    INVALID,
    PRECONDITION,
    Address,
    AsJson,
    Workspace,
    connected,
    document,
    fail,
    out,
    say,
    short,
    table,
)
from reallot.clients.values import moment
from reallot.v1 import assignment_service_pb2, record_pb2, record_service_pb2, run_pb2

runs = typer.Typer(add_completion=False, help="Look at runs, apply or drop previewed ones, undo them.", no_args_is_help=True)
for _command in (previewing.preview, previewing.apply, previewing.drop, previewing.undo):
    runs.command()(_command)
runs.command()(exporting.export)


def rerun(
    segment: Annotated[list[str] | None, typer.Option(help="Only this segment; may come often.")] = None,
    reason: Annotated[list[str] | None, typer.Option(help="Only this status, e.g. no_capacity; may come often.")] = None,
    seller: Annotated[list[str] | None, typer.Option(help="Only records that this seller fits; may come often.")] = None,
    record_type: Annotated[str, typer.Option("--type", help="Only this record type.")] = "",
    where: Annotated[str, typer.Option("--filter", help="Only records for which this CEL condition holds; needs --type.")] = "",
    owned_but_ineligible: Annotated[bool, typer.Option(help="Also records whose owner is no longer eligible.")] = False,
    limit: Annotated[int, typer.Option(help="Assign at most this many; 0 = no limit.")] = 0,
    wait: Annotated[bool, typer.Option(help="Wait until it has ended.")] = True,
    max_duration: Annotated[float, typer.Option(help="Seconds to wait; the run goes on all the same. 0 = for ever.")] = 0,
    request_id: Annotated[str, typer.Option(help="Makes the command safe to repeat: the same id starts no second run.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: Annotated[
        bool | None, typer.Option("--json/--text", help="One JSON object a line, or text. Default: text on a terminal only.")
    ] = None,
) -> None:
    """Try unassigned records again.

    Exit codes: 0 succeeded, 1 failed, 2 malformed, 3 server unavailable, 8 still running after --max-duration, 9 cancelled,
    10 planned and waiting to be applied, because it would change more than the workspace lets pass.
    """
    as_json = not sys.stdout.isatty() if as_json is None else as_json
    until = time.monotonic() + max_duration
    selection = run_pb2.RunSelection(
        segment_ids=segment or [],
        statuses=[_status(name) for name in reason or ()],
        record_type=record_type,
        filter=where,
        owned_but_ineligible=owned_but_ineligible,
        seller_ids=seller or [],
    )
    with connected(address, workspace) as client:
        run = started(client, max_duration if wait else None, selection=selection, limit=limit, request_id=request_id)
        if wait:
            run = waited(client, run, max(0.0, until - time.monotonic()) if max_duration else None, as_json=as_json)
        show(run, as_json=as_json)
        if wait:
            raise typer.Exit(exit_code(run))


def _status(name: str) -> Any:
    try:
        return record_pb2.AssignmentStatus.Value(f"ASSIGNMENT_STATUS_{name.upper().replace('-', '_')}")
    except ValueError:
        known = ", ".join(short(n, "ASSIGNMENT_STATUS_") for n in record_pb2.AssignmentStatus.keys()[1:])
        fail(f"--reason {name!r} is no status; statuses are {known}", INVALID)


@runs.command("list")
def list_runs(
    schedule: Annotated[str, typer.Option(help="Only of this schedule.")] = "",
    intake: Annotated[bool, typer.Option(help="Also intakes of changed records.")] = False,
    count: Annotated[int, typer.Option(help="Rows to show.")] = 20,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List runs, newest first."""
    kinds = [run_pb2.RunKind.Value(n) for n in run_pb2.RunKind.keys()[1:]] if intake else []
    with connected(address, workspace) as client:
        request = assignment_service_pb2.ListRunsRequest(kinds=kinds, schedule_id=schedule, page_size=count)
        found = client.stubs.assignment.ListRuns(request).runs
        if as_json:
            for run in found:
                say(document(run))
            return
        rows = [
            (
                run.run_id,
                short(run_pb2.RunKind.Name(run.kind), "RUN_KIND_"),
                short(run_pb2.RunState.Name(run.state), "RUN_STATE_"),
                f"{moment(run.start_time):%Y-%m-%d %H:%M:%S}" if run.HasField("start_time") else "",
                took(run),
                run.counts.considered,
                run.counts.assigned,
                run.counts.failed,
                run.cause,
            )
            for run in found
        ]
        table(
            "",
            ("run", "kind", "state", "start (UTC)", "took", "tried", "assigned", "failed", "cause"),
            rows,
            numbers=("tried", "assigned", "failed"),
        )


@runs.command("show")
def show_run(
    run_id: str,
    records: Annotated[bool, typer.Option("--records", help="Also the outcome of every record.")] = False,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show one run, its levels and, if wanted, what became of every record."""
    with connected(address, workspace) as client:
        run = client.runs.get(run_id)
        show(run, as_json=as_json)
        if not as_json and run.levels:
            table(
                "",
                ("level", "value", "bound"),
                [(level_text(lv.level_id), lv.value, lv.bound) for lv in run.levels],
                numbers=("value", "bound"),
            )
        if records:
            _outcomes(client, run_id, as_json=as_json)


def _outcomes(client: Any, run_id: str, *, as_json: bool) -> None:
    request = record_service_pb2.ListDecisionsRequest(run_id=run_id, page_size=1_000)
    rows = []
    for decision in client.iterate(client.inner.pages(client.inner.stubs.records.ListDecisions, request, "decisions")):
        if as_json:
            say(document(decision))
        else:
            status = short(record_pb2.AssignmentStatus.Name(decision.status), "ASSIGNMENT_STATUS_")
            rows.append((decision.record_id, status, decision.after.owner.seller_id, decision.reason))
    if rows:
        table("", ("record", "status", "owner", "reason"), rows)


@runs.command("replay")
def replay_run(run_id: str, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Plan a stored run again from what it was planned from, and compare the plans byte for byte.

    Exit codes: 0 the plans are equal, 1 they differ, 5 what it was planned from is not kept, or another version of the solver planned it
    and this one plans otherwise.
    """
    with connected(address, workspace) as client:
        answer = client.stubs.assignment.ReplayRun(assignment_service_pb2.ReplayRunRequest(run_id=run_id))
    changed = answer.stored_version != answer.replayed_version
    if as_json:
        say(document(answer))
    else:
        says = "the plans are equal" if answer.equal else "THE PLANS DIFFER" if not changed else "planned by another version of the solver"
        out.print(f"{run_id}: {says}")
        out.print(f"  stored   {answer.stored_digest} by {answer.stored_version}")
        out.print(f"  replayed {answer.replayed_digest} by {answer.replayed_version}")
    raise typer.Exit(0 if answer.equal else PRECONDITION if changed else FAILED)


@runs.command("cancel")
def cancel_run(run_id: str, address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Ask a run to stop; what it has committed stays."""
    with connected(address, workspace) as client:
        show(client.runs.cancel(run_id), as_json=as_json)
