"""Clients of Reallot: the Python client, the `reallot` command, the batch rerun client, the notification follower. Stubs only."""

from reallot.clients.client import AsyncClient, Client, Gap, SnapshotEnd
from reallot.clients.errors import ReallotError
from reallot.clients.model import Record, Seller
from reallot.clients.security import Security

__all__ = ["AsyncClient", "Client", "Gap", "ReallotError", "Record", "Security", "Seller", "SnapshotEnd"]
