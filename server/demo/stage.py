"""What the acts of a demonstration share: the client, moving the clock, printing for people or programs."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from reallot.clients import Client
from reallot.clients.values import timestamp
from reallot.testing.v1 import clock_service_pb2, clock_service_pb2_grpc


class StoryFailed(RuntimeError):
    """The demonstration did not show what it promises."""


@dataclass
class Stage:
    """One demonstration: a client of its server, and where it is shown."""

    client: Client
    console: Console
    as_json: bool

    def advance_to(self, moment: datetime) -> None:
        """Live through the server's time up to a moment; returns when everything that fell due is done."""
        request = clock_service_pb2.AdvanceRequest(time=timestamp(moment))
        self.client.run(self._advance(request))

    def jump_to(self, moment: datetime) -> None:
        """Step the server's clock to a moment without living through the time between; returns when the server is at rest."""
        self.client.run(self._set(clock_service_pb2.SetRequest(time=timestamp(moment))))

    async def _set(self, request: clock_service_pb2.SetRequest) -> Any:
        return await clock_service_pb2_grpc.ClockServiceStub(self.client.inner.channel).Set(request)

    def settle(self) -> None:
        """Return when the server has nothing to do: advancing by nothing waits for that."""
        request = clock_service_pb2.AdvanceRequest()
        request.duration.FromSeconds(0)
        self.client.run(self._advance(request))

    async def _advance(self, request: clock_service_pb2.AdvanceRequest) -> Any:
        return await clock_service_pb2_grpc.ClockServiceStub(self.client.inner.channel).Advance(request)

    def act(self, number: int, title: str) -> None:
        """Begin an act."""
        if not self.as_json:
            self.console.print()
            self.console.rule(f"[bold]Act {number}: {title}", align="left")

    def say(self, text: str) -> None:
        """Say something to people."""
        if not self.as_json:
            self.console.print(text, markup=False)

    def tell(self, document: dict[str, Any]) -> None:
        """Say something to programs: one JSON object a line."""
        if self.as_json:
            sys.stdout.write(json.dumps(document, ensure_ascii=False) + "\n")
            sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[str] = ()) -> None:
        """Show a table to people."""
        if self.as_json:
            return
        made = Table(header_style="bold")
        for name in columns:
            made.add_column(name, justify="right" if name in numbers else "left")
        for row in rows:
            made.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
        self.console.print(made)
