"""A server that is told to stop finishes what it has begun, sends followers elsewhere, and leaves the rest to the next."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status
from sqlalchemy import create_engine

from reallot.clients import AsyncClient, Client, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.v1 import event_pb2, event_service_pb2, record_service_pb2, run_pb2
from support.api import refusal_of
from support.postgres import fresh_postgresql

sys.path.insert(0, str(Path(__file__).parent))
from servers import Server, server

PATIENCE_S = 30
LEADS, SELLERS, CAPACITY = 6_000, 20, 200
HealthCheck = health_pb2.HealthCheckResponse


@contextmanager
def nobody_may_write(url: str) -> Iterator[None]:
    """Hold the lock that every write needs."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    statements = ["BEGIN", "SELECT * FROM workspaces FOR UPDATE"] if engine.dialect.name == "postgresql" else ["BEGIN IMMEDIATE"]
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        yield
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


def team(client: Client, **segment: Any) -> None:
    leads = {"record_type": "lead", "fields": [{"field_id": "stage", "type": "FIELD_TYPE_TEXT"}]}
    base = {"segment_id": "leads", "record_type": "lead", "is_default": True, "rules": [{"rule_id": "all", "policy": "POLICY_ROUND_ROBIN"}]}
    resources, _ = parse_bundle({"record_types": [leads], "segments": [base | segment]})
    client.config.apply(resources)
    client.sellers.upsert(Seller(f"s{n:02d}", capacity=CAPACITY) for n in range(SELLERS))


def a_lead(name: str) -> record_service_pb2.UpsertRecordsRequest:
    return record_service_pb2.UpsertRecordsRequest(records=[Record(name, "lead").to_upsert()])


@asynccontextmanager
async def while_a_write_runs(process: Server) -> AsyncIterator[tuple[AsyncClient, Any, Any]]:
    """Give a client, its write that the server is at work on but cannot finish, and the stream of the server's health."""
    async with AsyncClient(process.address) as client:
        watching = health_pb2_grpc.HealthStub(client.channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watching.read()).status == HealthCheck.SERVING
        write = client.stubs.records.UpsertRecords(a_lead("last"))
        with pytest.raises(grpc.aio.AioRpcError):
            # It came later over the same connection, so the server has taken the write.
            await client.stubs.records.GetRecord(record_service_pb2.GetRecordRequest(record_id="none"))
        yield client, write, watching


def test_running_calls_finish_and_new_ones_are_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALLOT_STOP_GRACE_S", "20")
    with server(url) as process:
        with Client(process.address) as client:
            team(client)
        asyncio.run(stopped_while_it_writes(process))
        assert process.ended() == 0
        process.start()
        with Client(process.address) as client:
            assert client.records.get("last").record_id == "last"


async def stopped_while_it_writes(process: Server) -> None:
    async with AsyncExitStack() as stack:
        lock = stack.enter_context(ExitStack())
        lock.enter_context(nobody_may_write(process.url))
        client, write, watching = await stack.enter_async_context(while_a_write_runs(process))
        process.signal(signal.SIGTERM)
        assert (await watching.read()).status == HealthCheck.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.stubs.records.UpsertRecords(a_lead("too-late"))
        # Or, if it crosses with the end of the connection, what gRPC makes of that.
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        lock.close()
        assert (await write).results[0].created
        watching.cancel()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_whoever_asks_twice_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    monkeypatch.setenv("REALLOT_STOP_GRACE_S", "300")
    with server(f"sqlite:///{tmp_path / 'e2e.sqlite'}") as process:
        with Client(process.address) as client:
            team(client)

        async def asks_twice() -> None:
            async with while_a_write_runs(process) as (_, write, watching):
                process.signal(number)
                assert (await watching.read()).status == HealthCheck.NOT_SERVING
                process.signal(number)
                with pytest.raises(grpc.aio.AioRpcError):
                    await write

        with nobody_may_write(process.url):
            asyncio.run(asks_twice())
            assert process.ended() == -number


def test_streams_that_have_no_end_of_their_own_do_not_hold_up_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALLOT_STOP_GRACE_S", "300")
    with server(f"sqlite:///{tmp_path / 'e2e.sqlite'}") as process, grpc.insecure_channel(process.address) as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watching).status == HealthCheck.SERVING
        assert process.stop() == 0
        assert next(watching).status == HealthCheck.NOT_SERVING


async def end_of(stream: AsyncIterator[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in stream:
            pass
    return caught.value


def test_streams_end_with_the_reason_and_the_moment_to_come_again(url: str) -> None:
    with server(url) as process:
        with Client(process.address) as client:
            team(client, on_arrival="ON_ARRIVAL_WAIT")

        async def follow_to_the_end() -> list[grpc.aio.AioRpcError]:
            async with AsyncClient(process.address) as client:
                notices = aiter(client.stubs.events.Subscribe(event_service_pb2.SubscribeRequest(seller_id="s00")))
                events = aiter(client.stubs.events.Watch(event_service_pb2.WatchRequest(snapshot=True)))
                assert (await anext(events)).WhichOneof("item") == "snapshot_end"
                process.signal(signal.SIGTERM)
                return [await end_of(events), await end_of(notices)]

        for error in asyncio.run(follow_to_the_end()):
            assert (refusal_of(error).code, refusal_of(error).reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
            assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in rpc_status.from_call(error).details)
        assert process.ended() == 0


def test_a_follower_goes_on_with_another_server() -> None:
    url = fresh_postgresql()
    with server(url) as first, server(url) as second:
        with Client(first.address) as client:
            team(client, on_arrival="ON_ARRIVAL_WAIT")

        async def follow() -> list[str]:
            found: list[str] = []
            async with AsyncClient(f"ipv4:{first.address},{second.address}") as client, AsyncClient(second.address) as writer:
                stream = client.events.watch(kinds=[event_pb2.EVENT_KIND_CREATED])
                reading = asyncio.ensure_future(anext(stream))
                number = 0
                async with asyncio.timeout(PATIENCE_S):
                    while not reading.done():
                        # It may not be following yet.
                        await writer.records.upsert([Record(f"early-{number}", "lead")])
                        number += 1
                    assert await asyncio.to_thread(first.stop) == 0
                    last = await writer.records.upsert([Record("late", "lead")])
                    assert last[0].created
                    while not found or found[-1] != "late":
                        found.append((await anext(stream)).record_id)
            begun = int((await reading).record_id.removeprefix("early-"))
            assert found == [*(f"early-{n}" for n in range(begun + 1, number)), "late"]
            return found

        asyncio.run(follow())


def test_a_run_stops_between_two_commits_and_the_next_server_takes_it_up(url: str) -> None:
    with server(url) as process:
        with Client(process.address) as client:
            team(client, on_arrival="ON_ARRIVAL_WAIT")
            client.records.upsert((Record(f"lead-{n:04d}", "lead") for n in range(LEADS)), quiet=True)
            run_id = client.runs.start().run_id
            for answer in client.runs.watch(run_id):
                if answer.done:
                    break
        assert process.stop() == 0
        process.start()
        with Client(process.address) as client:
            run = client.runs.wait(run_id)
            assert run.state == run_pb2.RUN_STATE_SUCCEEDED
            records = client.records.list()
            assert len(records) == LEADS
            assert run.counts.assigned == sum(r.HasField("owner") for r in records) == SELLERS * CAPACITY
            assert {s.free for s in client.sellers.list()} == {0}
