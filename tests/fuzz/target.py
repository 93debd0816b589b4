"""A server that is sent what nobody would send: no call may end as a fault of the server's own, and it must go on working."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message

from fuzz.mutations import changed_bytes, changed_fields, plausible_message, random_message
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
    workspace_service_pb2,
)
from support.api import a_row, a_seller_row, office_hours, sales, seller_owner
from support.contract import methods_of_the_contract

METHODS = {f"/{method.containing_service.full_name}/{method.name}": method for method in methods_of_the_contract()}
"""Every call of the contract, as its files say."""
FAULTS = ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE")
"""Codes with which no call may end, whatever is sent."""
STREAM_S, CALL_S = 0.1, 60.0
LONGEST_SHOWN = 2_000
AT_ONCE = 32
"""Calls in flight."""
COSTLY = frozenset(
    f"/reallot.v1.{name}"
    for name in (
        *("SolverService/Solve", "SolverService/CheckPlan", "AssignmentService/ReplayRun"),
        *("InsightService/ExplainRecord", "InsightService/ExplainSeller", "InsightService/WhatIf", "InsightService/GetWorth"),
        *("InsightService/GetFrontier", "InsightService/Compare"),
    )
)
"""Calls that plan in a process each, if they get that far."""
_WHOLE = ("/CreateWorkspace", "/RenameWorkspace", "/RestoreWorkspace", "/DeleteWorkspace")
"""Calls that are about a workspace as a whole: in a working day, not the one in which everybody works."""
SELLERS = (Seller("ann", attributes={"country": "DE"}, capacity=5), Seller("bob"))
RECORDS = [Record(f"r{n}", "lead", {"country": "DE", "revenue": float(n)}) for n in range(5)]


class Finding(AssertionError):
    """A message that the server did not take well; the text shows its bytes in hexadecimal digits."""

    def __init__(self, path: str, code: str, details: str, content: bytes) -> None:
        shown = content.hex() if len(content) <= LONGEST_SHOWN else f"{content[:40].hex()}… ({len(content)} bytes)"
        super().__init__(f"{path} ended with {code} ({details}) for {shown}")


@asynccontextmanager
async def target(folder: Path) -> AsyncIterator["Target"]:
    """Give a running server in this process, with a small sales organisation."""
    url = f"sqlite:///{folder / 'fuzz.sqlite'}"
    migrate(url)
    settings = Settings(database_url=url, port=0, most_segments=100, solve_time_limit_s=20)
    async with Application(settings) as app, aimed_at(f"127.0.0.1:{app.port}") as found:
        yield found


@asynccontextmanager
async def aimed_at(address: str) -> AsyncIterator["Target"]:
    """Give a server that runs at an address, with a small sales organisation."""
    async with AsyncClient(address) as client, grpc.aio.insecure_channel(address) as channel:
        found = Target(client, channel)
        await found.is_well()
        yield found


class Target:
    """A server under fire."""

    def __init__(self, client: AsyncClient, channel: grpc.aio.Channel) -> None:
        self.client = client
        self._channel = channel
        self.good: dict[str, list[Message]] = {}

    async def fire(self, path: str, fired: Iterable[bytes]) -> int:
        """Send messages, some at once; return how many.

        Raises:
            Finding: the server has failed.
        """
        waiting = list(fired)
        waiting.reverse()
        sent = len(waiting)

        async def one_after_the_other() -> None:
            while waiting:
                await self.send(path, waiting.pop())

        async with asyncio.TaskGroup() as group:
            for _ in range(2 if path in COSTLY else AT_ONCE):
                group.create_task(one_after_the_other())
        return sent

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
        """Fail unless the server still does what it is there for; what was removed of it meanwhile is made again."""
        stubs = self.client.stubs
        try:
            await stubs.workspaces.CreateWorkspace(workspace_service_pb2.CreateWorkspaceRequest(workspace="default"))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                # Half of it was removed or restored.
                await stubs.workspaces.DeleteWorkspace(workspace_service_pb2.DeleteWorkspaceRequest(workspace="default"))
                await stubs.workspaces.CreateWorkspace(workspace_service_pb2.CreateWorkspaceRequest(workspace="default"))
        await self.client.config.apply(sales(), prune=True)
        await self.client.sellers.upsert(SELLERS)
        await self.client.records.upsert([*RECORDS, Record("well", "lead", {"country": "DE"})])
        assert (await self.client.records.get("well")).record_id == "well"
        run = await self.client.call(stubs.assignment.StartRun, assignment_service_pb2.StartRunRequest(preview=True))
        exported = stubs.workspaces.ExportWorkspace(workspace_service_pb2.ExportWorkspaceRequest())
        self.good = good_messages(run.run_id, [row async for answer in exported for row in answer.rows])


def good_messages(run_id: str, exported: Sequence[workspace_service_pb2.ExportedRow] = ()) -> dict[str, list[Message]]:
    """Return messages of every call as they come in a working day, by path, to be changed.

    Args:
        run_id: A run that there is.
        exported: What a workspace was exported as.
    """
    found: dict[str, list[Message]] = {}
    for path, method in METHODS.items():
        spare = {"workspace": "spare"} if path.endswith(_WHOLE) else {}
        found[path] = [plausible_message(method.input_type, {"run_id": run_id, "apply_run_id": run_id} | spare)]
    by_kind = {method.input_type: path for path, method in METHODS.items()}
    restored = workspace_service_pb2.RestoreWorkspaceRequest(workspace="spare", rows=exported[:30])
    for message in (*_of_a_day(), restored):
        found[by_kind[message.DESCRIPTOR]].append(message)
    return found


def _of_a_day() -> list[Message]:
    """Return messages as they are written with care."""
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
        async with asyncio.timeout(CALL_S):
            more = await call.read() is not grpc.aio.EOF
        async with asyncio.timeout(STREAM_S):
            while more:
                more = await call.read() is not grpc.aio.EOF
    except TimeoutError:
        call.cancel()


def contents(method: MethodDescriptor, seed: int, good: Mapping[str, Sequence[Message]]) -> bytes:
    """Return the bytes that a seed makes for a call: a good message with changed fields or bytes, or now and then one at random."""
    chance = random.Random(f"{method.full_name} {seed}")
    known = chance.choice(good[f"/{method.containing_service.full_name}/{method.name}"])
    match chance.randrange(8):
        case 0:
            return random_message(method.input_type, chance).SerializeToString()
        case 1 | 2 | 3 | 4:
            return changed_fields(known, chance).SerializeToString()
        case _:
            return changed_bytes(known.SerializeToString(), chance)
