"""What a server refuses when it is too much, what it tells the caller, and that what is refused or given up has not happened."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from reallot.clients import AsyncClient
from reallot.clients.errors import Exhausted
from reallot.server.clock import ManualClock
from reallot.server.door import Door
from reallot.server.interceptors import ErrorInterceptor
from reallot.server.runtime import Runtime
from reallot.server.services.events import EventService
from reallot.server.services.records import RecordService
from reallot.server.settings import Settings
from reallot.server.streams import Hub
from reallot.storage import Database
from reallot.storage.errors import StorageBusy
from reallot.storage.leases import Lease
from reallot.v1 import event_service_pb2, event_service_pb2_grpc, record_service_pb2, record_service_pb2_grpc
from support.api import Refusal, a_row, refusal_of

NOW_US = 1_772_438_400_000_000
PATIENCE_S = 30


class House:
    """Two services behind a door whose seconds pass only when told, and a hold on their writer."""

    def __init__(self, url: str, settings: dict[str, Any]) -> None:
        self.settings = Settings(database_url=url, **settings)
        self.db = Database(url, clock_us=lambda: NOW_US, most_queued=self.settings.most_queued_writes)
        self.runtime = Runtime(self.db, ManualClock(NOW_US), self.settings)
        self.now_s = 0.0
        self.door = Door(self.settings, lambda: self.now_s)
        self._open = threading.Event()

    async def serve(self) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=[ErrorInterceptor(), self.door])
        record_service_pb2_grpc.add_RecordServiceServicer_to_server(RecordService(self.runtime), server)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(EventService(self.runtime, Hub(self.runtime)), server)
        self.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        await server.start()
        self.channel = grpc.aio.insecure_channel(self.address)
        self.records = record_service_pb2_grpc.RecordServiceStub(self.channel)
        self.events = event_service_pb2_grpc.EventServiceStub(self.channel)
        return server

    async def hold_the_writer(self) -> None:
        """Keep the writer at work until it is released."""
        entered = threading.Event()
        self.held = self.db.submit_write("default", lambda tx: (entered.set(), self._open.wait(PATIENCE_S)), Lease("default"))
        assert await asyncio.to_thread(entered.wait, PATIENCE_S)

    async def release(self) -> None:
        self._open.set()
        await asyncio.wrap_future(self.held)

    def upsert(self, *names: str, workspace: str = "", timeout: float | None = None) -> Any:
        rows = [a_row(name) for name in names]
        return self.records.UpsertRecords(record_service_pb2.UpsertRecordsRequest(workspace=workspace, records=rows), timeout=timeout)

    async def until(self, found: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not found():
                await asyncio.sleep(0)

    def stored(self, *names: str) -> set[str]:
        return set(self.db.read(lambda tx: tx.records.get("default", list(names))))


@pytest.fixture
def open_house(tmp_path: Path, sales_database: Path) -> Callable[..., Any]:
    """Open the services with settings of one's own, over a small sales organisation."""

    @asynccontextmanager
    async def opened(**settings: Any) -> AsyncIterator[House]:
        house = House(f"sqlite:///{shutil.copy(sales_database, tmp_path / 'reallot.sqlite')}", settings)
        server = await house.serve()
        yield house
        await house.channel.close()
        await server.stop(None)
        house.db.close()

    return opened


async def refused(call: Awaitable[Any]) -> tuple[Refusal, float]:
    """Return how a call was refused, and when it may be tried again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    retry = error_details_pb2.RetryInfo()
    status = rpc_status.from_call(caught.value)
    assert any(detail.Unpack(retry) for detail in status.details)
    return refusal_of(caught.value), retry.retry_delay.ToMilliseconds() / 1_000


async def test_a_workspace_that_asks_too_often_is_told_when_to_come_again(open_house: Callable[..., Any]) -> None:
    async with open_house(requests_per_s=2) as house:
        await house.upsert("a")
        await house.upsert("b")
        found, again_s = await refused(house.upsert("c"))
        assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert found.metadata == {"limit": "requests_per_s", "workspace": "default"}
        assert (again_s, house.stored("a", "b", "c")) == (0.5, {"a", "b"})
        house.now_s = again_s
        await house.upsert("c")


async def test_rows_are_counted_and_a_large_request_is_paid_for_afterwards(open_house: Callable[..., Any]) -> None:
    async with open_house(rows_per_s=10) as house:
        await house.upsert(*(f"r{n}" for n in range(30)))
        found, again_s = await refused(house.upsert("a"))
        assert (found.reason, found.metadata["limit"], again_s) == ("RATE_LIMITED", "rows_per_s", 2.1)
        other = record_service_pb2.GetRecordRequest(record_id="r1", workspace="other")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await house.records.GetRecord(other)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        house.now_s = again_s
        await house.upsert("a")


async def test_callers_writes_wait_in_a_bounded_queue_and_the_roads_are_never_refused(open_house: Callable[..., Any]) -> None:
    async with open_house(most_queued_writes=3) as house:
        await house.hold_the_writer()
        waiting = [asyncio.ensure_future(house.upsert(name)) for name in "abc"]
        await house.until(lambda: house.door.calls == 3 and house.db.waiting_writes == 3)
        found, again_s = await refused(house.upsert("d"))
        assert (found.code, found.reason, found.metadata) == ("RESOURCE_EXHAUSTED", "SERVER_BUSY", {"limit": "most_queued_writes"})
        assert again_s > 0
        own = house.db.submit_write("default", lambda tx: tx.now_us, Lease("default"))
        with pytest.raises(StorageBusy):
            house.db.submit_write("default", lambda tx: tx.now_us)
        await house.release()
        await asyncio.gather(*waiting)
        assert await asyncio.wrap_future(own) == NOW_US
        assert house.stored(*"abcd") == set("abc")


async def test_a_server_full_of_calls_refuses_the_next(open_house: Callable[..., Any]) -> None:
    async with open_house(most_calls=2) as house:
        await house.hold_the_writer()
        waiting = [asyncio.ensure_future(house.upsert(name)) for name in "ab"]
        await house.until(lambda: house.door.calls == 2)
        found, _ = await refused(house.records.GetRecord(record_service_pb2.GetRecordRequest(record_id="a")))
        assert (found.reason, found.metadata) == ("SERVER_BUSY", {"limit": "most_calls"})
        await house.release()
        await asyncio.gather(*waiting)
        await house.upsert("c")
        assert house.door.calls == 0


async def test_streams_are_bounded_and_a_place_is_free_again_when_one_ends(open_house: Callable[..., Any]) -> None:
    async with open_house(most_streams=1) as house:
        stream = house.events.Watch(event_service_pb2.WatchRequest())
        await house.until(lambda: house.door.streams == 1)
        found, again_s = await refused(anext(aiter(house.events.Watch(event_service_pb2.WatchRequest()))))
        assert (found.reason, found.metadata, again_s) == ("SERVER_BUSY", {"limit": "most_streams"}, 5.0)
        stream.cancel()
        await house.until(lambda: house.door.streams == 0)


@pytest.mark.parametrize("gives_up", ["cancels", "deadline"])
async def test_a_write_whose_caller_has_given_up_is_not_done(open_house: Callable[..., Any], gives_up: str) -> None:
    async with open_house() as house:
        await house.hold_the_writer()
        call = house.upsert("given-up", timeout=0.3 if gives_up == "deadline" else None)
        task = asyncio.ensure_future(call)
        await house.until(lambda: house.db.waiting_writes == 1)
        if gives_up == "cancels":
            call.cancel()
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await task
        await house.until(lambda: house.door.calls == 0)
        await house.release()
        await house.upsert("later")
        assert house.stored("given-up", "later") == {"later"}


async def test_a_read_whose_caller_has_given_up_is_not_done(open_house: Callable[..., Any]) -> None:
    async with open_house() as house:
        await house.upsert("a")
        gate, begun = threading.Event(), threading.Semaphore(0)
        holders = [house.db.submit_read(lambda tx: (begun.release(), gate.wait(PATIENCE_S))) for _ in range(4)]
        for _ in holders:
            assert await asyncio.to_thread(begun.acquire, timeout=PATIENCE_S)
        carried_out: list[str] = []
        own = asyncio.ensure_future(house.runtime.read(lambda tx: carried_out.append("own")))
        call = house.records.GetRecord(record_service_pb2.GetRecordRequest(record_id="a"), timeout=0.3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await house.until(lambda: house.door.calls == 0)
        own.cancel()
        await asyncio.gather(own, return_exceptions=True)
        gate.set()
        await asyncio.gather(*(asyncio.wrap_future(holder) for holder in holders))
        await house.records.GetRecord(record_service_pb2.GetRecordRequest(record_id="a"))
        assert carried_out == []


async def test_the_client_comes_again_when_it_is_told_to(open_house: Callable[..., Any]) -> None:
    async with open_house(requests_per_s=1) as house, AsyncClient(house.address) as client:
        await house.upsert("a")
        waiting = asyncio.ensure_future(client.records.get("a"))
        await house.until(lambda: house.door.refused == 1)
        house.now_s = 5.0
        assert (await waiting).record_id == "a"


async def test_what_is_too_large_for_ever_is_not_tried_again(open_house: Callable[..., Any]) -> None:
    async with open_house() as house, AsyncClient(house.address) as client:
        with pytest.raises(Exhausted, match="larger than max") as caught:
            await client.call(
                client.stubs.records.DeleteRecords, record_service_pb2.DeleteRecordsRequest(record_ids=["x" * (5 * 1024 * 1024)])
            )
        assert caught.value.retry_after_s is None


async def test_at_the_end_streams_are_sent_elsewhere_and_running_calls_finish(open_house: Callable[..., Any]) -> None:
    async with open_house() as house:
        await house.hold_the_writer()
        running = asyncio.ensure_future(house.upsert("a"))
        streams = [asyncio.ensure_future(anext(aiter(house.events.Watch(event_service_pb2.WatchRequest())))) for _ in range(3)]
        await house.until(lambda: house.door.streams == 3 and house.door.calls == 1)
        house.door.close()
        for stream in streams:
            found, again_s = await refused(stream)
            assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
            assert again_s > 0
        found, _ = await refused(house.upsert("b"))
        assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
        await house.release()
        await running
        assert house.stored("a", "b") == {"a"}
