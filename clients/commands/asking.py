"""`reallot worth`: questions about plans; nothing is written."""

from typing import Annotated, Any

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, Address, AsJson, Workspace, connected, document, out, say, table
from reallot.v1 import insight_service_pb2, run_pb2

RecordType = Annotated[str, typer.Option("--type", help="Only this record type.")]
Segments = Annotated[list[str] | None, typer.Option("--segment", help="Only this segment; may come often.")]
Filter = Annotated[str, typer.Option("--filter", help="Only records for which this CEL condition holds; needs --type.")]


def worth(
    record_type: RecordType = "",
    segment: Segments = None,
    where: Filter = "",
    count: Annotated[int, typer.Option(help="Rows to show; 0 = all.")] = 20,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Say what one more slot of each seller would be worth for the records that wait, level by level; below 0 is better."""
    selection = run_pb2.RunSelection(record_type=record_type, segment_ids=segment or [], filter=where)
    with connected(address, workspace) as client:
        answer = client.stubs.insight.GetWorth(insight_service_pb2.GetWorthRequest(selection=selection))
    if as_json:
        say(document(answer))
        return
    out.print(f"Of {answer.records:,} records, {answer.waiting:,} would stay without an owner.")
    if not answer.slots:
        out.print("One more slot of any seller would change nothing.")
        return
    shown = answer.slots[: count or None]
    levels = [i for i in range(len(answer.level_ids)) if any(slot.level_changes[i] for slot in shown)]
    names = [answer.level_ids[i] for i in levels]
    rows = [(slot.seller_id, maximum_text(slot), *(_change(slot.level_changes[i]) for i in levels)) for slot in shown]
    table("One more slot, the most valuable first", ("seller", "maximum", *names), rows, numbers=names)
    if len(answer.slots) > len(shown):
        out.print(f"and {len(answer.slots) - len(shown):,} more that would change something")


def maximum_text(slot: Any) -> str:
    """Return for people which maximum of a seller is meant."""
    if slot.segment_id:
        return f"segment {slot.segment_id}"
    return f"type {slot.record_type}" if slot.record_type else "in all"


def _change(number: int) -> str:
    return f"{number:+,}" if number else ""
