"""Word of commits between servers on one PostgreSQL: a hint, never the truth. Whoever misses one finds the rows at the next look."""

import json
from collections.abc import Iterable

from sqlalchemy import Connection, text

from reallot.storage.contract import Signal

CHANNEL = "reallot"
LARGEST_PAYLOAD = 7_900
"""Bytes: PostgreSQL takes less than 8,000."""


def notify(connection: Connection, replica_id: str, signals: Iterable[Signal]) -> None:
    """Have the other servers told of signals when this transaction commits."""
    payload = json.dumps({"from": replica_id, "signals": sorted(signals)}, separators=(",", ":"))
    if len(payload) <= LARGEST_PAYLOAD:
        connection.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": CHANNEL, "payload": payload})


def signals_in(payload: str, replica_id: str) -> frozenset[Signal]:
    """Return the signals that another server sent; none if they are our own."""
    told = json.loads(payload)
    if told["from"] == replica_id:
        return frozenset()
    return frozenset(Signal(workspace, topic) for workspace, topic in told["signals"])
