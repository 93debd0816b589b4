"""`reallot status`: how the server and one workspace stand."""

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, FAILED, Address, AsJson, Workspace, connected, document, out, say, short, table
from reallot.clients.values import moment
from reallot.v1 import insight_service_pb2, record_pb2, run_pb2


def status(address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False) -> None:
    """Show how the server and the workspace stand; ends with code 1 if the server is not ready."""
    with connected(address, workspace) as client:
        found = client.stubs.insight.GetStatus(insight_service_pb2.GetStatusRequest())
    if as_json:
        say(document(found))
    else:
        _show(found)
    if not found.ready:
        raise typer.Exit(FAILED)


def _show(found: insight_service_pb2.GetStatusResponse) -> None:
    up_s = int(found.time.ToSeconds() - found.start_time.ToSeconds())
    out.print(f"{'ready' if found.ready else 'NOT READY'}: reallot {found.version}, {found.engine} at schema {found.schema}, up {up_s:,} s")
    holder = "this server" if found.works_here else found.lease_holder or "nobody"
    out.print(f"worked by {holder}{', paused' if found.paused else ''}", markup=False)
    figures = ("calls", "streams", "refused", "queued_writes", "write_failures", "worker_restarts", "followers", "follower_lag", "pending")
    table("", ("figure", "now"), [(name.replace("_", " "), getattr(found, name)) for name in figures], numbers=("now",))
    rows = [(short(record_pb2.AssignmentStatus.Name(w.status), "ASSIGNMENT_STATUS_"), w.records) for w in found.waiting]
    table("Records without an owner", ("reason", "records"), rows, numbers=("records",))
    if found.HasField("oldest_waiting_time"):
        out.print(f"the first of them waits since {moment(found.oldest_waiting_time):%Y-%m-%d %H:%M:%S} UTC")
    runs = [
        (run.run_id, short(run_pb2.RunKind.Name(run.kind), "RUN_KIND_"), short(run_pb2.RunState.Name(run.state), "RUN_STATE_"))
        for run in found.runs
    ]
    if runs:
        table("Runs", ("run", "kind", "state"), runs)
