"""The configuration, record and seller services of one server, in few words, with a look into its database."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from reallot.server.clock import ManualClock
from reallot.server.runtime import Runtime
from reallot.storage import ReadTransaction
from reallot.storage.entities import EventDraft, Pending, Record
from reallot.v1 import config_pb2, config_service_pb2, record_service_pb2, seller_service_pb2

T = TypeVar("T")


@dataclass
class Api:
    """The three services over one database."""

    runtime: Runtime
    clock: ManualClock
    config: Any
    records: Any
    sellers: Any

    async def apply(self, *resources: config_pb2.ConfigResource, **parts: Any) -> config_service_pb2.ApplyResponse:
        """Apply resources."""
        answer: config_service_pb2.ApplyResponse = await self.config.Apply(config_service_pb2.ApplyRequest(resources=resources, **parts))
        return answer

    async def upsert(self, *rows: record_service_pb2.RecordUpsert, **parts: Any) -> list[record_service_pb2.UpsertResult]:
        """Store records and return the answers by row."""
        answer = await self.records.UpsertRecords(record_service_pb2.UpsertRecordsRequest(records=rows, **parts))
        return list(answer.results)

    async def hire(self, *rows: seller_service_pb2.SellerUpsert, **parts: Any) -> list[seller_service_pb2.SellerResult]:
        """Store sellers and return the answers by row."""
        answer = await self.sellers.UpsertSellers(seller_service_pb2.UpsertSellersRequest(sellers=rows, **parts))
        return list(answer.results)

    def read(self, function: Callable[[ReadTransaction], T]) -> T:
        """Look into the database."""
        return self.runtime.db.read(function)

    def stored(self, record_id: str = "r1") -> Record | None:
        """Return a record as stored."""
        return self.read(lambda tx: tx.records.get("default", [record_id]).get(record_id))

    def marks(self) -> dict[str, Pending]:
        """Return the pending marks by record."""
        return {mark.record_id: mark for mark in self.read(lambda tx: tx.pending.oldest("default", 1_000))}

    def events(self) -> list[EventDraft]:
        """Return all events in order."""
        return [event.draft for event in self.read(lambda tx: tx.events.after("default", 0, 1_000))]

    def kinds(self) -> list[str]:
        """Return the kinds of all events in order."""
        return [event.kind for event in self.events()]

    def reruns(self) -> set[str]:
        """Return the causes for which waiting records are to be tried again."""
        return set(self.read(lambda tx: tx.reruns.waiting("default")))
