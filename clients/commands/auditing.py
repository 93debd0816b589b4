"""`reallot audit`: who changed what, for people, and for those who keep it elsewhere."""

import csv
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, INVALID, Address, Workspace, connected, document, fail, say
from reallot.clients.values import timestamp
from reallot.v1 import config_service_pb2

audit = typer.Typer(add_completion=False, help="Who changed what, from where, before and after.", no_args_is_help=True)
COLUMNS = [field.name for field in config_service_pb2.AuditEntry.DESCRIPTOR.fields]


class Format(StrEnum):
    """How entries are written."""

    JSON = "json"
    CSV = "csv"


@audit.command("export")
def export(
    principal: Annotated[str, typer.Option(help="Only what this principal did.")] = "",
    kind: Annotated[str, typer.Option(help="Only this kind: segment, record, seller, run and so on.")] = "",
    name: Annotated[str, typer.Option("--id", help="Only the thing with this id.")] = "",
    since: Annotated[str, typer.Option("--from", help="Only from this day or instant on, e.g. 2026-03-01; without a zone, UTC.")] = "",
    until: Annotated[str, typer.Option("--to", help="Only before this day or instant.")] = "",
    form: Annotated[Format, typer.Option("--format", help="json: one object a line; or csv.")] = Format.JSON,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
) -> None:
    """Write the audit log to standard output, in order."""
    request = config_service_pb2.ListAuditRequest(principal=principal, kind=kind, id=name)
    for field, text in (("start_time", since), ("end_time", until)):
        if text:
            getattr(request, field).CopyFrom(timestamp(_instant(text)))
    with connected(address, workspace) as client:
        entries = client.iterate(client.inner.pages(client.inner.stubs.config.ListAudit, request, "entries"))
        _write_csv(entries) if form is Format.CSV else _write_json(entries)


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        fail(error, INVALID)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _write_json(entries: Iterator[Any]) -> None:
    for entry in entries:
        states = {name: json.loads(state) for name in ("before", "after") if (state := getattr(entry, name))}
        say(document(entry) | states)


def _write_csv(entries: Iterator[Any]) -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(COLUMNS)
    for entry in entries:
        said = document(entry)
        writer.writerow([said.get(name, "") for name in COLUMNS])
