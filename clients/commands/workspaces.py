"""`reallot workspaces`: made, listed, renamed, given out, deleted, by operators."""

import json
from collections.abc import AsyncIterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, INVALID, Address, AsJson, confirmed, connected, document, fail, out, say, table
from reallot.v1 import workspace_service_pb2 as pb

workspaces = typer.Typer(add_completion=False, help="Make, list, rename, export and delete workspaces.", no_args_is_help=True)
Named = Annotated[str, typer.Argument(help="Id of the workspace.")]
DisplayName = Annotated[str, typer.Option("--name", help="Its name for people; empty = the id.")]


PIECE = 100
"""Rows in one message: few, as a row may be large."""


@workspaces.command("list")
def show(as_json: AsJson = False, address: Address = DEFAULT_ADDRESS) -> None:
    """List workspaces with their names and the number of the last event."""
    with connected(address, "") as client:
        stub = client.inner.stubs.workspaces.ListWorkspaces
        found = list(client.iterate(client.inner.pages(stub, pb.ListWorkspacesRequest(), "workspaces")))
    if as_json:
        for row in found:
            say(document(row))
        return
    table("", ("workspace", "name", "last event"), [(w.workspace, w.display_name, w.last_event) for w in found], numbers=("last event",))


@workspaces.command("create")
def create(workspace: Named, name: DisplayName = "", address: Address = DEFAULT_ADDRESS) -> None:
    """Make a workspace, or make one anew that was deleted."""
    with connected(address, "") as client:
        client.stubs.workspaces.CreateWorkspace(pb.CreateWorkspaceRequest(workspace=workspace, display_name=name))
    out.print(f"made the workspace {workspace}", markup=False)


@workspaces.command("rename")
def rename(
    workspace: Named, name: Annotated[str, typer.Argument(help="Its new name for people.")], address: Address = DEFAULT_ADDRESS
) -> None:
    """Give a workspace another name for people; its id stays."""
    with connected(address, "") as client:
        client.stubs.workspaces.RenameWorkspace(pb.RenameWorkspaceRequest(workspace=workspace, display_name=name))
    out.print(f"{workspace} is called {name or workspace} now", markup=False)


@workspaces.command("export")
def export(
    workspace: Named,
    file: Annotated[Path, typer.Option("--output", "-o", help="File to write; it appears when it is complete.")],
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Write everything that stands in a workspace to a file: one JSON object a line, with its table."""
    part, rows = file.with_name(f"{file.name}.part"), 0
    with connected(address, "") as client, part.open("w", encoding="utf-8") as opened:
        request = pb.ExportWorkspaceRequest(workspace=workspace)
        for answer in client.iterate(client.inner.stream(client.inner.stubs.workspaces.ExportWorkspace, request)):
            for row in answer.rows:
                opened.write(json.dumps({"table": row.table, "row": json.loads(row.content)}, ensure_ascii=False) + "\n")
                rows += 1
    part.replace(file)
    out.print(f"wrote {rows:,} rows of {workspace} to {file}", markup=False)


@workspaces.command("restore")
def restore(
    workspace: Named,
    file: Annotated[Path, typer.Argument(help="File that export has written.", exists=True, dir_okay=False)],
    as_json: AsJson = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Put what export has written into a workspace without content, under the same or another id."""

    async def messages() -> AsyncIterator[pb.RestoreWorkspaceRequest]:
        with file.open(encoding="utf-8") as opened:
            while lines := list(islice(opened, PIECE)):
                yield pb.RestoreWorkspaceRequest(workspace=workspace, rows=[_row(line) for line in lines])

    with connected(address, "") as client:
        stub = client.inner.stubs.workspaces.RestoreWorkspace
        answer = client.run(client.inner.call(lambda _: stub(messages()), pb.RestoreWorkspaceRequest(workspace=workspace)))
    if as_json:
        say(document(answer))
        return
    table(f"What was restored as {workspace}", ("table", "rows"), [(row.table, row.rows) for row in answer.tables], numbers=("rows",))


def _row(line: str) -> pb.ExportedRow:
    try:
        read = json.loads(line)
        return pb.ExportedRow(table=read["table"], content=json.dumps(read["row"], ensure_ascii=False))
    except (ValueError, KeyError, TypeError) as error:
        fail(f"{line[:60]!r} is no line that export writes: {error}", INVALID)


@workspaces.command("delete")
def delete(
    workspace: Named,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed, by table.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    as_json: AsJson = False,
    address: Address = DEFAULT_ADDRESS,
) -> None:
    """Remove everything that stands in a workspace, for good."""
    if not (dry_run or yes or confirmed(f"Remove everything in the workspace {workspace} for good?")):
        raise typer.Exit(0)
    with connected(address, "") as client:
        request = pb.DeleteWorkspaceRequest(workspace=workspace, validate_only=dry_run, reason=reason)
        answer = client.stubs.workspaces.DeleteWorkspace(request)
    if as_json:
        say(document(answer))
        return
    title = "What would be removed" if dry_run else "What was removed"
    table(title, ("table", "rows"), [(row.table, row.rows) for row in answer.tables], numbers=("rows",))
