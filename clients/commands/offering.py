"""`reallot offers`: what is offered to sellers, and their answers."""

from typing import Annotated

import typer

from reallot.clients.terminal import DEFAULT_ADDRESS, Address, AsJson, Workspace, connected, document, out, say, table
from reallot.clients.values import moment

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
