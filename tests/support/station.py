"""Streams of a server without its lanes: real services over a real database, with followers who call over the network."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from reallot.clients import AsyncClient
from reallot.server.clock import ManualClock
from reallot.server.door import Door
from reallot.server.interceptors import ErrorInterceptor
from reallot.server.keeper import Keeper
from reallot.server.runtime import Runtime
from reallot.server.services.configuration import ConfigService
from reallot.server.services.events import EventService
from reallot.server.services.records import RecordService
from reallot.server.services.sellers import SellerService
from reallot.server.settings import Settings
from reallot.server.streams import Hub
from reallot.storage import Database
from reallot.storage.entities import EventDraft, NoticeDraft, Seller
from reallot.v1 import config_service_pb2_grpc, event_service_pb2_grpc, record_service_pb2_grpc, seller_service_pb2_grpc

MONDAY_US = 1_772_438_400_000_000
PATIENCE_S = 30


class Station:
    """A log that is written by hand, the streams over it, and the keeper, who looks only when told. Belongs to one event loop."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.clock = ManualClock(MONDAY_US)
        self.db = Database(url, clock_us=self.clock.now_us)
        self.runtime = Runtime(self.db, self.clock, Settings(database_url=url, **settings))
        self.hub = Hub(self.runtime)
        self.keeper = Keeper(self.runtime)

    async def serve(self) -> grpc.aio.Server:
        loop = asyncio.get_running_loop()
        self.db.on_commit(lambda signals: loop.call_soon_threadsafe(self.hub.hear, signals) and None)
        server = grpc.aio.server(interceptors=[ErrorInterceptor(), Door(self.runtime.settings)])
        config_service_pb2_grpc.add_ConfigServiceServicer_to_server(ConfigService(self.runtime), server)
        record_service_pb2_grpc.add_RecordServiceServicer_to_server(RecordService(self.runtime), server)
        seller_service_pb2_grpc.add_SellerServiceServicer_to_server(SellerService(self.runtime), server)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(EventService(self.runtime, self.hub), server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self.client = AsyncClient(self.address)
        self.events = self.client.stubs.events
        return server

    async def hire(self, *names: str) -> None:
        await self.runtime.write("default", lambda tx: tx.sellers.upsert("default", [Seller(name) for name in names]))

    async def tell(self, *record_ids: str, notify: tuple[str, ...] = (), sentence: str = "") -> None:
        """Write an event for each record, now."""
        text = {"sentence_id": "told", "parameters": {}, "text": sentence}
        drafts = [EventDraft("CHANGED", name, "lead", self.clock.now_us(), notify=notify, sentence=text) for name in record_ids]
        await self.runtime.write("default", lambda tx: tx.events.append("default", drafts))

    async def sum_up(self, seller_id: str) -> None:
        """Write a digest for a seller, now."""
        body = {"run_id": "run", "gained": 30, "lost": 0, "record_ids": [], "sentence": None}
        draft = NoticeDraft(seller_id, "DIGEST", self.clock.now_us(), body)
        await self.runtime.write("default", lambda tx: tx.events.append("default", [draft]))

    async def pass_days(self, days: float) -> None:
        """Let time pass, and the keeper look."""
        await self.clock.set(self.clock.now_us() + int(days * 86_400_000_000))
        await self.keeper.look()

    async def until(self, found: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not found():
                await asyncio.sleep(0)


async def taken(items: AsyncIterator[Any], count: int) -> list[Any]:
    """Return the next items of a stream."""
    async with asyncio.timeout(PATIENCE_S):
        return [await anext(items) for _ in range(count)]
