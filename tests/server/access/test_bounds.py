"""What one caller may take of the server, and how the server shows what it does: status and metrics."""

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fortress import METHODS, OWN, Fortress, signed
from prometheus_client.parser import text_string_to_metric_families

from reallot.clients import AsyncClient, Record, Seller
from reallot.clients.bundle import parse_bundle
from reallot.clients.errors import InvalidArgument
from reallot.testing.v1 import clock_service_pb2, clock_service_pb2_grpc
from reallot.v1 import event_service_pb2, insight_service_pb2, record_pb2, record_service_pb2, seller_service_pb2
from support.api import refusal, refusal_of

LEADS: dict[str, Any] = {"record_types": [{"record_type": "lead", "fields": [{"field_id": "revenue", "type": "FIELD_TYPE_DECIMAL"}]}]}


def segments(*names: str, **rest: Any) -> dict[str, Any]:
    common = {"record_type": "lead", "condition": "record.revenue > 1.0", **rest}
    return {"segments": [{"segment_id": name, "priority": ord(name[0]), **common} for name in names]}


def caller(walls: Fortress, name: str, role: str) -> AsyncClient:
    return AsyncClient(walls.address, workspace=OWN, security=walls.security(signed(name, f"{OWN}:{role}")))


async def first(stream: AsyncIterator[Any]) -> Any:
    return await asyncio.wait_for(anext(aiter(stream)), 20)


async def test_each_caller_has_bounds_of_its_own(fortress: Fortress) -> None:
    fortress.principals.write_text("")
    async with (
        fortress.served(requests_per_s_per_caller=0.001, most_streams_per_caller=1) as walls,
        caller(walls, "greedy", "viewer") as greedy,
        caller(walls, "modest", "viewer") as modest,
    ):
        request = seller_service_pb2.ListSellersRequest(workspace=OWN)
        await greedy.stubs.sellers.ListSellers(request)
        found = await refusal(greedy.stubs.sellers.ListSellers(request))
        assert (found.code, found.reason) == ("RESOURCE_EXHAUSTED", "RATE_LIMITED")
        assert found.metadata == {"limit": "requests_per_s_per_caller", "caller": "greedy"}
        await modest.stubs.sellers.ListSellers(request)
    async with (
        fortress.served(most_streams_per_caller=1) as walls,
        caller(walls, "greedy", "viewer") as greedy,
        caller(walls, "modest", "viewer") as modest,
    ):
        watch = event_service_pb2.WatchRequest(workspace=OWN)
        held = greedy.stubs.events.Watch(watch)
        await first(held)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await first(greedy.stubs.events.Watch(watch))
        assert refusal_of(caught.value).metadata == {"limit": "most_streams_per_caller"}
        await first(modest.stubs.events.Watch(watch))
        held.cancel()
        async with asyncio.timeout(20):
            while walls.app._door._streams_of["greedy"]:
                await asyncio.sleep(0)
        await first(greedy.stubs.events.Watch(watch))


async def test_a_workspace_has_only_so_many_segments(fortress: Fortress) -> None:
    fortress.principals.write_text("")
    async with fortress.served(most_segments=2) as walls, caller(walls, "boss", "admin") as boss:
        await boss.config.apply(parse_bundle(LEADS | segments("a", "b"))[0])
        with pytest.raises(InvalidArgument, match="would have 3 segments, at most 2") as caught:
            await boss.config.apply(parse_bundle(segments("c"))[0])
        assert (caught.value.reason, caught.value.metadata) == ("LIMIT_EXCEEDED", {"limit": "most_segments"})
        await boss.config.apply(parse_bundle(segments("a", display_name="A"))[0])
        assert len([r for r in await boss.config.export() if r.HasField("segment")]) == 2


async def settled(client: AsyncClient) -> None:
    await clock_service_pb2_grpc.ClockServiceStub(client.channel).Advance(clock_service_pb2.AdvanceRequest(duration={"seconds": 90}))


async def scraped(port: int) -> dict[tuple[str, ...], float]:
    """Return what the metrics say, by name and values of the labels in order of the labels' names."""
    with await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{port}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    return {
        (sample.name, *(text for _, text in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


async def test_status_and_metrics_tell_what_waits_and_what_was_done(fortress: Fortress) -> None:
    fortress.principals.write_text("")
    security = fortress.security(signed("boss", f"{OWN}:admin", f"{OWN}:integrator", "*:operator"))
    async with fortress.served(metrics_port=0) as walls, AsyncClient(walls.address, workspace=OWN, security=security) as client:
        await client.config.apply(parse_bundle(LEADS | segments("rich", rules=[{"rule_id": "any", "policy": "POLICY_ROUND_ROBIN"}]))[0])
        await client.sellers.upsert([Seller("ann", capacity=1)])
        await client.records.upsert([Record(f"r{n}", "lead", {"revenue": 9.0}) for n in range(3)])
        await settled(client)
        stream = client.stubs.events.Watch(event_service_pb2.WatchRequest(workspace=OWN))
        await stream.read()
        found = await client.call(client.stubs.insight.GetStatus, insight_service_pb2.GetStatusRequest())
        assert (found.ready, found.engine, found.works_here, found.pending, found.followers) == (True, "sqlite", True, 0, 1)
        assert [(w.status, w.records) for w in found.waiting] == [(record_pb2.ASSIGNMENT_STATUS_NO_CAPACITY, 2)]
        assert found.time.ToSeconds() - found.oldest_waiting_time.ToSeconds() == 90
        assert found.lease_holder == walls.address
        told = await scraped(walls.app.metrics_port)
        assert told["reallot_waiting_records", "no_capacity", OWN] == 2
        assert told["reallot_oldest_waiting_seconds", OWN] == 90
        assert told["reallot_batches_total", "intake"] >= 1
        assert told["reallot_batch_stage_seconds_total", "intake", "solve"] >= 0
        assert told["reallot_batch_gap", "intake"] == 0
        assert told["reallot_calls_total", "OK", "/reallot.v1.RecordService/UpsertRecords"] == 1
        assert told["reallot_call_seconds_count", "/reallot.v1.RecordService/UpsertRecords"] == 1
        assert (told["reallot_ready",], told["reallot_lease_held", OWN], told["reallot_followers",]) == (1, 1, 1)
        assert told["reallot_worker_restarts_total",] == 0
        await refusal(client.stubs.records.GetRecord(record_service_pb2.GetRecordRequest(workspace=OWN)))
        again = await scraped(walls.app.metrics_port)
        assert again["reallot_calls_total", "INVALID_ARGUMENT", "/reallot.v1.RecordService/GetRecord"] == 1


async def test_bytes_that_are_no_message_are_refused_as_such(walls: Fortress) -> None:
    roles = ("viewer", "integrator", "admin")
    metadata = (("authorization", f"Bearer {signed('a', *(f'{OWN}:{role}' for role in roles), '*:operator')}"),)
    ours = [(name, method) for name, method in METHODS.items() if method.containing_service.full_name.startswith("reallot.")]
    async with walls.channel(walls.authority) as channel:
        for name, method in ours:
            path = f"/{method.containing_service.full_name}/{method.name}"
            kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
            made = getattr(channel, kind)(path)(iter([b"\xff"]) if method.client_streaming else b"\xff", metadata=metadata)
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await (first(made) if method.server_streaming else made)
            assert refusal_of(caught.value).reason == "MALFORMED_MESSAGE", name
