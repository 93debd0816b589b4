"""`reallot apply` and `reallot export`: configuration as code."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from reallot.clients.bundle import BundleError, read_bundle, to_yaml
from reallot.clients.commands.comparing import show_changes
from reallot.clients.terminal import (
    DEFAULT_ADDRESS,
    FAILED,
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
)
from reallot.v1 import config_service_pb2, seller_service_pb2

_ACTION = config_service_pb2.ChangeAction


def apply(
    file: Annotated[Path, typer.Option("-f", "--file", help="YAML file of a bundle.", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and compare only.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete what the file does not name, of the kinds that it names.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Take out of use what reads fields that go, instead of refusing the file.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    actor: Annotated[str, typer.Option(help="Who asks, for the history.", envvar="USER")] = "",
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Show what a file changes, and store it."""
    try:
        resources, sellers = read_bundle(file)
    except BundleError as error:
        fail(error, INVALID)
    with connected(address, workspace) as client:
        compared = client.config.apply(resources, dry_run=True, prune=prune, actor=actor, force=force)
        show_changes(compared.changes, as_json=as_json, sellers=len(sellers))
        changes = any(c.action != _ACTION.CHANGE_ACTION_UNCHANGED for c in compared.changes)
        if dry_run or not (changes or sellers):
            # Sellers are held to the stored configuration: before it is stored, they cannot be checked.
            if sellers and not changes:
                _store_sellers(client, sellers, dry_run=True)
            return
        if not (yes or confirmed("Apply?")):
            raise typer.Exit(FAILED)
        stored = client.config.apply(resources, prune=prune, actor=actor, force=force)
        _store_sellers(client, sellers, dry_run=False)
        if as_json:
            say({"applied": True, "config_version": stored.config_version, "sellers": len(sellers)})
        else:
            out.print(f"Applied; the configuration is at version {stored.config_version}.")


def _store_sellers(client: object, sellers: list[seller_service_pb2.SellerUpsert], *, dry_run: bool) -> None:
    for start in range(0, len(sellers), 1_000):
        request = seller_service_pb2.UpsertSellersRequest(sellers=sellers[start : start + 1_000], validate_only=dry_run)
        client.stubs.sellers.UpsertSellers(request)  # type: ignore[attr-defined]


def export(
    address: Address = DEFAULT_ADDRESS,
    workspace: Workspace = "",
    as_json: AsJson = False,
) -> None:
    """Print the whole configuration as the YAML that apply reads."""
    with connected(address, workspace) as client:
        resources = client.config.export()
        if as_json:
            for resource in resources:
                say(document(resource))
        else:
            sys.stdout.write(to_yaml(resources))
