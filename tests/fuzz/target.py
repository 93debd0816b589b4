"""A server that is sent what nobody would send: no call may end as a fault of the server's own, and it must go on working."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from fuzz.mutations import changed_bytes, changed_fields, random_message
from reallot.clients import AsyncClient, Record, Seller
from reallot.server.app import Application
from reallot.server.settings import Settings
from reallot.storage import migrate
from reallot.v1 import (
    assignment_service_pb2,
    config_service_pb2,
    event_service_pb2,
    insight_service_pb2,
    record_service_pb2,
    run_pb2,
    seller_service_pb2,
    sequence_service_pb2,
    solver_service_pb2,
    workspace_service_pb2,
)
from support.api import a_row, a_seller_row, office_hours, sales, seller_owner

MODULES = (
    *(assignment_service_pb2, config_service_pb2, event_service_pb2, insight_service_pb2),
    *(record_service_pb2, seller_service_pb2, sequence_service_pb2, solver_service_pb2, workspace_service_pb2),
)
METHODS = {
    f"/{service.full_name}/{method.name}": method
    for module in MODULES
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
FAULTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE")
"""Codes with which no call may end, whatever is sent."""
STREAM_S, CALL_S = 0.3, 60.0
LONGEST_SHOWN = 2_000
COSTLY = frozenset({"/reallot.v1.SolverService/Solve", "/reallot.v1.SolverService/CheckPlan"})
"""Calls that start a process each."""


class Finding(AssertionError):
    """A message that the server did not take well; the text shows its bytes in hexadecimal digits."""

    def __init__(self, path: str, code: str, details: str, content: bytes) -> None:
        shown = content.hex() if len(content) <= LONGEST_SHOWN else f"{content[:40].hex()}… ({len(content)} bytes)"
        super().__init__(f"{path} ended with {code} ({details}) for {shown}")


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator["Target"]:
    """Give a running server with a small sales organisation."""
    url = f"sqlite:///{folder / 'fuzz.sqlite'}"
    migrate(url)
    async with Application(Settings(database_url=url, port=0, most_segments=100, solve_time_limit_s=20)) as app:
        address = f"127.0.0.1:{app.port}"
        async with AsyncClient(address) as client, grpc.aio.insecure_channel(address) as channel:
            await client.config.apply(sales())
            await client.sellers.upsert([Seller("ann", attributes={"country": "DE"}, capacity=5), Seller("bob")])
            await client.records.upsert([Record(f"r{n}", "lead", {"country": "DE", "revenue": float(n)}) for n in range(5)])
            yield Target(app, client, channel)


class Target:
    """A server under fire."""

    def __init__(self, app: Application, client: AsyncClient, channel: grpc.aio.Channel) -> None:
        self.app = app
        self.client = client
        self._channel = channel
        self.good = good_messages()

    async def send(self, path: str, content: bytes) -> str:
        """Make a call with one message, and return the code with which it ended; a stream is left after a moment.

        Raises:
            Finding: the server has failed.
        """
        method = METHODS[path]
        kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
        call = getattr(self._channel, kind)(path)(_one(content) if method.client_streaming else content)
        try:
            if method.server_streaming:
                await _taken(call)
            else:
                await asyncio.wait_for(call, CALL_S)
        except grpc.aio.AioRpcError as error:
            if error.code().name in FAULTS:
                raise Finding(path, error.code().name, error.details() or "", content) from None
            return error.code().name
        except TimeoutError:
            raise Finding(path, "NO ANSWER", f"within {CALL_S:g} s", content) from None
        finally:
            call.cancel()
        return "OK"

    async def is_well(self) -> None:
        """Fail unless the server still does what it is there for."""
        await self.client.config.apply(sales())
        await self.client.records.upsert([Record("well", "lead", {"country": "DE"})])
        assert (await self.client.records.get("well")).record_id == "well"


def good_messages() -> list[Message]:
    """Return messages of calls as they come in a working day, to be changed."""
    config = config_service_pb2.ApplyRequest(resources=sales())
    rows = [a_row(f"r{n}", {"country": "DE", "revenue": 7.0, "hot": True, "tags": ["a"], "note": "x"}) for n in range(3)]
    selection = run_pb2.RunSelection(record_type="lead", segment_ids=["big"], filter="record.revenue > 1.0")
    segment = next(resource.segment for resource in sales() if resource.HasField("segment"))
    return [
        config,
        record_service_pb2.UpsertRecordsRequest(records=rows),
        record_service_pb2.ImportRecordsRequest(records=rows),
        record_service_pb2.ListRecordsRequest(record_type="lead", filter="record.revenue > 1.0", page_size=2),
        seller_service_pb2.UpsertSellersRequest(sellers=[a_seller_row("ann", attributes={"country": "DE"}, calendar=office_hours())]),
        seller_service_pb2.SetCalendarRequest(seller_ids=["ann"], calendar=office_hours()),
        assignment_service_pb2.StartRunRequest(selection=selection, preview=True),
        assignment_service_pb2.AssignRecordsRequest(record_ids=["r1"], owner=seller_owner("ann")),
        config_service_pb2.CheckConditionRequest(record_type="lead", condition='record.country in ["DE"] && record.revenue > 1.0'),
        config_service_pb2.SimulateSegmentRequest(segment=segment, sample_size=2),
        config_service_pb2.PreviewScheduleRequest(
            schedule=next(resource.schedule for resource in sales() if resource.HasField("schedule")), count=3
        ),
        insight_service_pb2.ExplainRecordRequest(record_id="r1"),
        event_service_pb2.WatchRequest(filter=event_service_pb2.EventFilter(segment_ids=["big"], owner_changed=True), snapshot=True),
    ]


async def _one(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _taken(call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> None:
    try:
        async with asyncio.timeout(STREAM_S):
            async for _ in call:
                pass
    except TimeoutError:
        call.cancel()


def contents(method: MethodDescriptor, seed: int, good: Iterable[Message]) -> bytes:
    """Return the bytes that a seed makes for a call: a message at random, or a good one with changed fields or bytes."""
    chance = random.Random(f"{method.full_name} {seed}")
    known = [message for message in good if message.DESCRIPTOR is method.input_type] or [random_message(method.input_type, chance)]
    match chance.randrange(4):
        case 0:
            return random_message(method.input_type, chance).SerializeToString()
        case 1 | 2:
            return changed_fields(chance.choice(known), chance).SerializeToString()
        case _:
            return changed_bytes(chance.choice(known).SerializeToString(), chance)
