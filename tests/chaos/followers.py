"""Followers of a fault test: streams of events and of sellers' notices, some of which hang up and come back with a cursor."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import grpc

from chaos.journal import Journal
from chaos.link import Stubs
from reallot.v1 import event_pb2, event_service_pb2

HEARTBEAT_S = 1
PAUSE_S = 0.05
WANTED: tuple[dict[str, Any], ...] = (
    {},
    {"kinds": ["ASSIGNED", "REASSIGNED", "UNASSIGNED"]},
    {"segment_ids": ["hot"]},
    {"owner_changed": True},
    {"kinds": ["NOT_ASSIGNED", "DELETED", "CLOSED"]},
    {"record_ids": [f"w{writer}-{number:05d}" for writer in range(4) for number in range(1, 100)]},
    {"segment_ids": ["leads", "deals"]},
)


class Follower:
    """Follows for ever, from the beginning of an empty log. Belongs to one event loop."""

    def __init__(self, number: int, servers: Sequence[Stubs], journal: Journal, seed: str, seller: str = "") -> None:
        self.name = f"f{number:02d}"
        self.seller = seller
        self.wanted = {} if seller else WANTED[number % len(WANTED)]
        self.begun = asyncio.Event()
        self.heartbeats = 0
        self.connected = False
        self._servers = servers
        self._at = number
        self._journal = journal
        self._rng = random.Random(seed)
        self._hangs_up = number % 3 == 0
        self._connection = 0
        self._cursors = [""]

    def _request(self) -> Any:
        # Sometimes an older cursor: then the same events come twice, as they may. Without one it would begin anew, with what comes then.
        known = self._cursors[-3:]
        cursor = self._rng.choice([cursor for cursor in known if cursor] or known) if self._hangs_up else known[-1]
        if self.seller:
            request: Any = event_service_pb2.SubscribeRequest(seller_id=self.seller, cursor=cursor)
        else:
            kinds = [event_pb2.EventKind.Value(f"EVENT_KIND_{name}") for name in self.wanted.get("kinds", ())]
            others = {name: value for name, value in self.wanted.items() if name != "kinds"}
            request = event_service_pb2.WatchRequest(cursor=cursor, filter=event_service_pb2.EventFilter(kinds=kinds, **others))
        request.heartbeat.FromSeconds(HEARTBEAT_S)
        return request

    async def follow(self) -> None:
        """Hear and journal for ever, over lost connections."""
        self._journal.write("follow", follower=self.name, after=0, filter=self.wanted, seller=self.seller, connection=0)
        while True:
            self._connection += 1
            stubs = self._servers[self._at % len(self._servers)]
            call = (stubs.events.Subscribe if self.seller else stubs.events.Watch)(self._request())
            try:
                await self._hear(call)
            except grpc.aio.AioRpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED):
                    raise
                self._at += 1
            finally:
                self.connected = False
                call.cancel()
            await asyncio.sleep(PAUSE_S)

    async def _hear(self, call: Any) -> None:
        left = self._rng.randint(20, 400) if self._hangs_up else -1
        async for answer in call:
            self.connected = True
            kind = answer.WhichOneof("item")
            if kind == "heartbeat":
                self._cursors.append(answer.heartbeat.cursor)
                self.heartbeats += 1
                self.begun.set()
            else:
                self._journal.write("heard", follower=self.name, connection=self._connection, **_heard(getattr(answer, kind)))
                self._cursors.append(getattr(answer, kind).cursor)
                left -= 1
            del self._cursors[:-20]
            if left == 0:
                return


def _heard(item: Any) -> dict[str, Any]:
    if isinstance(item, event_pb2.Event):
        return {"number": item.number, "kind": _kind(item.kind), "record": item.record_id}
    if item.WhichOneof("content") == "digest":
        return {"number": item.number, "kind": "DIGEST", "record": ""}
    return {"number": item.number, "kind": _kind(item.event.kind), "record": item.event.record_id}


def _kind(kind: Any) -> str:
    return event_pb2.EventKind.Name(kind).removeprefix("EVENT_KIND_")
