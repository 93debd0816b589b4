"""`reallot personal`: what is kept about a person, given out and removed."""

import json
from typing import Annotated, Any

import typer

from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    INVALID,
    Address,
    AsJson,
    Workspace,
    confirmed,
    connected,
    document,
    fail,
    out,
    say,
    short,
    table,
)
from reallot.v1 import config_pb2
from reallot.v1 import workspace_service_pb2 as pb

personal = typer.Typer(add_completion=False, help="What is kept about a person: export it, redact it.", no_args_is_help=True)
Seller = Annotated[str, typer.Option("--seller", help="Id of a seller, present or gone.")]
Record = Annotated[str, typer.Option("--record", help="Id of a record, present or gone.")]


@personal.command("export")
def export(seller: Seller = "", record: Record = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "") -> None:
    """Print everything that is kept about a seller or a record: one JSON object a line, with its table."""
    request = pb.ExportPersonalDataRequest()
    _name(request, seller, record)
    with connected(address, workspace) as client:
        for answer in client.iterate(client.inner.stream(client.inner.stubs.workspaces.ExportPersonalData, request)):
            for row in answer.rows:
                say({"table": row.table, "row": json.loads(row.content)})


@personal.command("redact")
def redact(
    seller: Seller = "",
    record: Record = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed, by table.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the audit log.")] = "",
    as_json: AsJson = False,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
) -> None:
    """Remove names and personal fields of a seller or a record for good, from logs as well; ids stay."""
    request = pb.RedactPersonalDataRequest(validate_only=dry_run, reason=reason)
    _name(request, seller, record)
    if not (dry_run or yes or confirmed(f"Remove the names and personal data of {seller or record} for good?")):
        raise typer.Exit(0)
    with connected(address, workspace) as client:
        answer = client.stubs.workspaces.RedactPersonalData(request)
    if as_json:
        say(document(answer))
        return
    title = "What would be removed" if dry_run else "What was removed"
    table(title, ("table", "rows"), [(row.table, row.rows) for row in answer.tables], numbers=("rows",))
    if answer.mentions:
        named = [f"{short(config_pb2.ConfigKind.Name(m.kind), 'CONFIG_KIND_')} {m.id}" for m in answer.mentions]
        out.print(f"Still named in the configuration, which you change yourself: {', '.join(named)}", markup=False)


def _name(request: Any, seller: str, record: str) -> None:
    if bool(seller) == bool(record):
        fail("name a seller or a record: --seller ID or --record ID", INVALID)
    name, value = ("seller_id", seller) if seller else ("record_id", record)
    setattr(request, name, value)
