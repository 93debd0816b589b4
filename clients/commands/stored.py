"""What commands on single resources of the configuration have in common: reading one as it is stored, and changing its state."""

from typing import Annotated, Any

import typer

from reallot.clients.client import Client
from reallot.clients.commands.comparing import show_changes
from reallot.clients.terminal import connected
from reallot.v1 import config_pb2, config_service_pb2

Actor = Annotated[str, typer.Option(help="Who asks, for the history.", envvar="USER")]


def stored(client: Client, kind: "config_pb2.ConfigKind.ValueType", name: str) -> config_pb2.ConfigResource:
    """Return a resource as it is stored, with its etag.

    Raises:
        NotFound: there is none of this kind and name.
    """
    found: config_pb2.ConfigResource = client.stubs.config.GetConfig(config_service_pb2.GetConfigRequest(kind=kind, id=name))
    return found


def set_state(
    kind: "config_pb2.ConfigKind.ValueType", name: str, state: Any, actor: str, address: str, workspace: str, *, as_json: bool
) -> None:
    """Give a stored resource that has a state another one, and show what changes."""
    with connected(address, workspace) as client:
        found = stored(client, kind, name)
        getattr(found, found.WhichOneof("resource") or "").state = state
        show_changes(client.config.apply([found], actor=actor).changes, as_json=as_json)
