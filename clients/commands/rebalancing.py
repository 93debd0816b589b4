"""`reallot rebalance`: giving out anew what sellers own, with as few owner changes as the gain is worth."""

from typing import Annotated, Any

import typer

from reallot.clients.commands.asking import Filter, RecordType, Segments, level_text
from reallot.clients.commands.passes import exit_code, show, waited
from reallot.clients.terminal import DEFAULT_ADDRESS, FAILED, Address, AsJson, Workspace, confirmed, connected, document, out, say, table
from reallot.v1 import insight_service_pb2, run_pb2


def rebalance(
    record_type: RecordType = "",
    segment: Segments = None,
    where: Filter = "",
    most_changes: Annotated[int, typer.Option(help="Records that may change their owner; -1 = as many as the best plan takes.")] = -1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what changes would gain.")] = False,
    preview: Annotated[bool, typer.Option("--preview", help="Only say what the run would do, until it is applied.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the history.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show how much better records that have owners could be spread, by how many changes, and make them by a run."""
    selection = run_pb2.RunSelection(record_type=record_type, segment_ids=segment or [], filter=where)
    with connected(address, workspace) as client:
        answer = client.stubs.insight.GetFrontier(insight_service_pb2.GetFrontierRequest(selection=selection))
        say(document(answer)) if as_json else _show(answer)
        if dry_run or answer.points[-1].changes == 0:
            return
        selection.rebalance.SetInParent()
        if most_changes >= 0:
            selection.rebalance.most_changes = most_changes
        if not (yes or preview or confirmed("Make these changes?")):
            raise typer.Exit(FAILED)
        run = waited(client, client.runs.start(selection, preview=preview, cause=reason or "rebalance"), None, as_json=as_json)
        show(run, as_json=as_json)
        raise typer.Exit(exit_code(run))


def _show(answer: insight_service_pb2.GetFrontierResponse) -> None:
    names = [level_text(level.level_id) for level in answer.points[0].levels]
    values = [[level.value for level in point.levels] for point in answer.points]
    shown = [i for i in range(len(names)) if len({row[i] for row in values}) > 1]
    rows: list[tuple[Any, ...]] = [
        (point.changes, *(row[i] for i in shown), point.least_load, point.most_load)
        for point, row in zip(answer.points, values, strict=True)
    ]
    columns = ("changes", *(names[i] for i in shown), "least load", "most load")
    table(f"{answer.records:,} records: owner changes against value, lower is better", columns, rows, numbers=columns)
    if len(answer.points) == 1:
        out.print("No change would gain anything.")
