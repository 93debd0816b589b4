"""Thousands of followers of all events on one server: how many messages a second reach them, and how many a bare stream delivers.

The floor: a server of the same gRPC library that sends messages of the same size to as many followers, in a loop. Both servers have all
their followers from the beginning to the end, the same clients in the same process, and are measured in turns, so that whatever else
the machine does touches both. Run with `make bench NAME=fanout ARGS="--at-once 1"`.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import grpc

from benchmarks.bare import FOLLOW, SEND
from benchmarks.databases import Databases
from benchmarks.report import Promise, arguments, run, tell
from benchmarks.servers import Process, ServerProcess
from benchmarks.workload import Workload
from reallot.clients import AsyncClient
from reallot.v1 import event_pb2
from reallot.v1 import event_service_pb2 as pb

WATCH = "/reallot.v1.EventService/Watch"
OPENED_AT_ONCE = 200
SELLERS = 10


class Followers:
    """Followers of one server, over some connections, who count what they hear. What they hear first, each one message, does not count.

    Attributes:
        heard: Messages by follower.
        latest: The last message of the first follower.
    """

    def __init__(self, address: str, method: str, request: bytes, number: int, connections: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._channels = [grpc.aio.insecure_channel(address, options=options) for _ in range(connections)]
        calls = [channel.unary_stream(method) for channel in self._channels]
        self._streams = [calls[n % connections](request) for n in range(number)]
        self.heard = [0] * number
        self.latest = b""
        self._left = 0
        self._complete = asyncio.Event()

    async def __aenter__(self) -> Self:
        for start in range(0, len(self._streams), OPENED_AT_ONCE):
            await asyncio.gather(*(stream.read() for stream in self._streams[start : start + OPENED_AT_ONCE]))
        self._tasks = [asyncio.create_task(self._hear(number)) for number in range(len(self._streams))]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _hear(self, number: int) -> None:
        while (message := await self._streams[number].read()) is not grpc.aio.EOF:
            self.heard[number] += 1
            if not number:
                self.latest = message
            self._left -= 1
            if not self._left:
                self._complete.set()

    async def reached(self, act: Callable[[], Awaitable[object]], each: int) -> float:
        """Do something that sends `each` messages to every follower; return the seconds until they were all heard.

        Raises:
            RuntimeError: a stream ended.
        """
        self._left, self._complete = each * len(self._streams), asyncio.Event()
        started = time.perf_counter()
        waits = asyncio.create_task(self._complete.wait())
        await act()
        await asyncio.wait([waits, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if not waits.done():
            raise RuntimeError(f"{self._left} messages have not come, and a stream has ended")
        return time.perf_counter() - started


class Side:
    """What one of the two servers has taken so far."""

    def __init__(self, process: Process, followers: Followers) -> None:
        self._process = process
        self.followers = followers
        self.seconds = self.cpu_seconds = 0.0
        self.messages = 0

    async def round(self, act: Callable[[], Awaitable[object]], each: int, *, counts: bool) -> None:
        """Measure once."""
        before = self._process.cpu_seconds()
        seconds = await self.followers.reached(act, each)
        if counts:
            self.seconds += seconds
            self.cpu_seconds += self._process.cpu_seconds() - before
            self.messages += each * len(self.followers.heard)

    @property
    def rate(self) -> float:
        """Messages delivered in a second."""
        return self.messages / self.seconds

    def shown(self) -> dict[str, float]:
        """Return what is printed."""
        return {"messages_per_second": round(self.rate), "server_cpu_us_per_message": round(self.cpu_seconds / self.messages * 1e6, 1)}


async def _measured(given: argparse.Namespace, server: Process, bare: Process) -> tuple[Side, Side, int]:
    """Return both sides, and the size of a message."""
    workload = Workload(SELLERS, given.rounds * given.at_once)
    watched = pb.WatchRequest(filter=pb.EventFilter(kinds=[event_pb2.EVENT_KIND_CREATED]))
    watched.heartbeat.FromSeconds(300)
    size = (given.followers, given.connections)
    async with (
        AsyncClient(server.address) as client,
        grpc.aio.insecure_channel(bare.address) as direct,
        Followers(server.address, WATCH, watched.SerializeToString(), *size) as followers,
        Followers(bare.address, FOLLOW, b"", *size) as floor,
    ):
        await workload.configure(client, waits=True)
        ours, theirs = Side(server, followers), Side(bare, floor)
        send = direct.unary_unary(SEND)
        for number in range(given.rounds + 1):
            rows = workload.rows(given.at_once, number * given.at_once)
            await ours.round(lambda rows=rows: client.records.upsert(rows), given.at_once, counts=number > 0)  # type: ignore[misc]
            asked = json.dumps({"bytes": len(followers.latest), "count": given.at_once}).encode()
            await theirs.round(lambda asked=asked: send(asked), given.at_once, counts=number > 0)  # type: ignore[misc]
        expected = given.at_once * (given.rounds + 1)
        if any(heard != expected for side in (followers, floor) for heard in side.heard):
            raise RuntimeError("a follower has heard more or less than was sent")
        return ours, theirs, len(followers.latest)


def measure(given: argparse.Namespace, databases: Databases) -> None:
    """Measure both in turns."""
    with ServerProcess(databases.fresh()) as server, Process(sys.executable, "-m", "benchmarks.bare") as bare:
        ours, theirs, size = asyncio.run(_measured(given, server, bare))
        peak = server.peak_mib()["server"]
    figures = {
        "followers": given.followers,
        "connections": given.connections,
        "at_once": given.at_once,
        "message_bytes": size,
        **ours.shown(),
        "floor": theirs.shown(),
        "peak_mib": peak,
    }
    promise = Promise("share of a bare stream's messages a second", round(ours.rate / theirs.rate, 3), 0.7, 0.85)
    tell("fanout", databases.engine, figures, [promise])


def main() -> None:
    """Measure as the command line says."""
    run(arguments(__doc__, {"followers": 5_000, "connections": 100, "at-once": 10, "rounds": 3}).parse_args(), measure)


if __name__ == "__main__":
    main()
