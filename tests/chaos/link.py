"""How the clients of a fault test reach the servers: journaled requests that are repeated, under the same id, until they are answered."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from sqlalchemy import create_engine, text

from chaos.journal import Journal
from reallot.v1 import (
    assignment_service_pb2_grpc,
    config_service_pb2_grpc,
    event_service_pb2_grpc,
    record_service_pb2_grpc,
    seller_service_pb2_grpc,
)

OPTIONS = [("grpc.initial_reconnect_backoff_ms", 50), ("grpc.min_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 300)]
AGAIN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,
    }
)
"""After these, nobody knows whether the request was carried out, and the same is sent again."""
DEADLINE_S, PAUSE_S, PATIENCE_S = 5.0, 0.05, 90.0


class Stubs:
    """The stubs of one server."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=OPTIONS)
        self.records = record_service_pb2_grpc.RecordServiceStub(self.channel)
        self.sellers = seller_service_pb2_grpc.SellerServiceStub(self.channel)
        self.config = config_service_pb2_grpc.ConfigServiceStub(self.channel)
        self.assignment = assignment_service_pb2_grpc.AssignmentServiceStub(self.channel)
        self.events = event_service_pb2_grpc.EventServiceStub(self.channel)


class Look:
    """Looks into the database, past the servers. Blocks; use it for short questions."""

    def __init__(self, url: str) -> None:
        self._engine = create_engine(url, isolation_level="AUTOCOMMIT")

    def number(self, statement: str) -> int:
        """Return the one number that a statement gives; 0 for none."""
        with self._engine.connect() as connection:
            return int(connection.execute(text(statement)).scalar() or 0)

    def text(self, statement: str) -> str:
        """Return the one text that a statement gives; "" for none."""
        with self._engine.connect() as connection:
            return str(connection.execute(text(statement)).scalar() or "")

    def position(self) -> int:
        """Return the number of the last committed event."""
        return self.number("SELECT event_number FROM workspaces WHERE workspace = 'default'")

    def busy(self) -> int:
        """Return how much the servers still have to do: marks, reruns asked for, runs that have not ended."""
        return (
            self.number("SELECT count(*) FROM pending")
            + self.number("SELECT count(*) FROM rerun_requests")
            + self.number("SELECT count(*) FROM runs WHERE state IN ('PENDING', 'RUNNING')")
        )

    def left(self) -> str:
        """Tell what is under way, for people."""
        asked = {
            "marks": "SELECT record_id, cause FROM pending ORDER BY number LIMIT 3",
            "reruns": "SELECT workspace, cause, generation FROM rerun_requests",
            "runs": "SELECT run_id, kind, state, start_us FROM runs WHERE state IN ('PENDING', 'RUNNING')",
            "leases": "SELECT holder, fence, address FROM leases LEFT JOIN replicas ON holder = replica_id",
        }
        with self._engine.connect() as connection:
            return "; ".join(f"{what}: {[tuple(row) for row in connection.execute(text(asks))]}" for what, asks in asked.items())

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class Link:
    """One client: a server at a time, the next one when that is gone. Belongs to one event loop."""

    def __init__(self, name: str, servers: Sequence[Stubs], journal: Journal, look: Look, first: int = 0) -> None:
        self.name = name
        self.journal = journal
        self._servers = servers
        self._at = first
        self._look = look
        self._ids = (f"{name}-{number}" for number in itertools.count())

    @property
    def server(self) -> Stubs:
        """The server that is asked now."""
        return self._servers[self._at % len(self._servers)]

    def turn(self) -> None:
        """Go on with the next server."""
        self._at += 1

    async def ask(
        self,
        kind: str,
        method: Callable[[Stubs], Any],
        request: Any,
        intent: dict[str, Any],
        result: Callable[[Any], dict[str, Any]],
        named: Callable[[Any, str], None] | None = None,
    ) -> dict[str, Any] | None:
        """Send a request until it is answered, and journal it; return the result, None if it was refused.

        `named` writes the request's id into the request itself, where its effect shows it.

        Raises:
            TimeoutError: no server answered for a long time.
        """
        request.request_id = next(self._ids)
        if named is not None:
            named(request, request.request_id)
        self.journal.write("sent", id=request.request_id, method=kind, intent=intent, position=self._look.position())
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    answer = await method(self.server)(request, timeout=DEADLINE_S)
                except grpc.aio.AioRpcError as error:
                    if error.code() not in AGAIN:
                        self._answered(request, error.code().name, detail=error.details())
                        return None
                    self.turn()
                    await asyncio.sleep(PAUSE_S)
                else:
                    found = result(answer)
                    self._answered(request, "OK", answer=answer.SerializeToString(deterministic=True).hex(), result=found)
                    return found

    def _answered(self, request: Any, outcome: str, **more: Any) -> None:
        self.journal.write("answer", id=request.request_id, outcome=outcome, position=self._look.position(), **more)
