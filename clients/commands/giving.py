"""`reallot records assign`, `release`, `eligible`: owners by hand."""

from typing import Annotated

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, Address, AsJson, Workspace, connected, document, out, say, short, table
from reallot.clients.values import owner_text
from reallot.v1 import assignment_service_pb2, event_pb2


def assign(
    owner: Annotated[str, typer.Argument(help="Seller, or team:ID, or queue:ID.")],
    record: list[str],
    force: Annotated[bool, typer.Option(help="Also above the owner's maximum, and to one who takes no records at present.")] = False,
    reason: Annotated[str, typer.Option(help="Why, for the log.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Give records to an owner by hand.

    Exit code 1: some were not given.
    """
    with connected(address, workspace) as client:
        results = client.records.assign(owner, record, force=force, reason=reason)
        for result in results:
            say(document(result)) if as_json else out.print(f"{result.record_id}: {result.text or 'assigned'}", markup=False)
        if any(not r.assigned and r.outcome != assignment_service_pb2.MANUAL_OUTCOME_UNCHANGED for r in results):
            raise typer.Exit(1)


def release(
    record: list[str],
    reason: Annotated[str, typer.Option(help="Why, for the log.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Take records from their owners; they wait for a run.

    Exit code 1: some do not exist.
    """
    with connected(address, workspace) as client:
        released, unknown = client.records.release(record, reason=reason)
        if as_json:
            say({"released": released, "unknown_record_ids": unknown})
        else:
            out.print(f"{released:,} released")
            for record_id in unknown:
                out.print(f"{record_id}: the record does not exist", markup=False)
        if unknown:
            raise typer.Exit(1)


def eligible(
    record: str,
    everybody: Annotated[bool, typer.Option("--all", help="Also sellers who cannot take it, with the reason.")] = False,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List who could take a record by its rules, best first: sellers, and the teams and queues that a rule would give it to."""
    with connected(address, workspace) as client:
        found = client.records.eligible(record, others=everybody)
        if as_json:
            for candidate in found:
                say(document(candidate))
            return
        rows = [
            (
                owner_text(c.owner),
                c.rule_id,
                short(event_pb2.Verdict.Name(c.verdict), "VERDICT_"),
                c.free if c.seller_id else "",
                "yes" if c.available_now else "",
            )
            for c in found
        ]
        table("", ("owner", "rule", "verdict", "free", "available now"), rows, numbers=("free",))
