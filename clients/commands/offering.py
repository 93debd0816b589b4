"""`reallot offers`: what is offered to sellers, and their answers."""

from datetime import timedelta
from typing import Annotated

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, Address, AsJson, Workspace, connected, document, out, say, table
from reallot.clients.values import moment
from reallot.v1 import assignment_service_pb2

offers = typer.Typer(add_completion=False, help="Look at offers and answer them.", no_args_is_help=True)
Seller = Annotated[str, typer.Option(help="The seller who answers.")]
Reason = Annotated[str, typer.Option(help="Why, for the log.")]


@offers.command("list")
def list_offers(
    seller: Annotated[str, typer.Option(help="Only this seller's.")] = "",
    record: Annotated[str, typer.Option(help="Only of this record.")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """List open offers, by record."""
    with connected(address, workspace) as client:
        found = client.offers.list(seller_id=seller, record_id=record)
        if as_json:
            for offer in found:
                say(document(offer))
            return
        rows = [(o.record_id, o.title, o.seller_id, o.rule_id, f"{moment(o.end_time):%Y-%m-%d %H:%M}") for o in found]
        table("", ("record", "title", "seller", "rule", "ends (UTC)"), rows)


@offers.command("accept")
def accept(
    record: str, seller: Seller, reason: Reason = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False
) -> None:
    """Take a record that is offered."""
    with connected(address, workspace) as client:
        client.offers.accept(record, seller, reason=reason)
        say({"record_id": record, "owner": seller}) if as_json else out.print(f"{record} is {seller}'s", markup=False)


@offers.command("decline")
def decline(
    record: str, seller: Seller, reason: Reason = "", address: Address = DEFAULT_ADDRESS, workspace: Workspace = "", as_json: AsJson = False
) -> None:
    """Decline a record that is offered; the next seller is asked."""
    with connected(address, workspace) as client:
        client.offers.decline(record, seller, reason=reason)
        say({"record_id": record, "declined_by": seller}) if as_json else out.print(f"{seller} declined {record}", markup=False)


@offers.command("claim")
def claim(
    seller: Annotated[str, typer.Argument(help="The seller who asks for a record.")],
    segment: Annotated[list[str] | None, typer.Option(help="Only from this segment; may come often.")] = None,
    queue: Annotated[list[str] | None, typer.Option(help="Only from this queue; may come often.")] = None,
    minutes: Annotated[int, typer.Option(help="For how long it is held.")] = 15,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Hold the next record that waits for a seller, who then accepts or declines it. Exit code 1 if there is none."""
    with connected(address, workspace) as client:
        found = client.offers.claim_next(seller, segment_ids=segment or [], queue_ids=queue or [], lease=timedelta(minutes=minutes))
        if found is None:
            say({"record_id": ""}) if as_json else out.print("nothing waits for this seller")
            raise typer.Exit(1)
        say(document(found)) if as_json else _held(found)


@offers.command("extend")
def extend(
    record: str,
    seller: Seller,
    minutes: Annotated[int, typer.Option(help="For how long it is held from now.")] = 15,
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Hold a claimed record for longer."""
    with connected(address, workspace) as client:
        found = client.offers.extend(record, seller, lease=timedelta(minutes=minutes))
        say(document(found)) if as_json else _held(found)


def _held(claim: assignment_service_pb2.OpenOffer) -> None:
    out.print(f"{claim.record_id} ({claim.title}) is held until {moment(claim.end_time):%Y-%m-%d %H:%M} UTC", markup=False)
