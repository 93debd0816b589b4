"""Single reads, many callers at once: GetRecord, and ListRecords of a few, beside a handler that gives out as many bytes made before.

The caller handles bytes only, so that it does not hold up either; it and the server have a process each. What the server's processor
spends on a call is told too, as that is what remains of the ratio where the caller is the slower of the two. Run with
`make bench NAME=unary ARGS="--engine postgresql"`.
"""

import argparse
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import grpc
import uvloop

from benchmarks.databases import Databases
from benchmarks.load import Call, closed_loop, rate
from benchmarks.prebuilt import PrebuiltServer
from benchmarks.report import Promise, arguments, percentile_ms, run, tell
from benchmarks.rerun import prepared
from benchmarks.servers import ServerProcess
from benchmarks.workload import Workload
from reallot.v1 import record_service_pb2

GET, LIST = "/reallot.v1.RecordService/GetRecord", "/reallot.v1.RecordService/ListRecords"
BOUNDS = {"sqlite": (0.45, 0.6), "postgresql": (0.3, 0.5)}
"""Shares of the floor that must hold, and those aimed at."""
WARM_UP, ROUNDS = 500, 3
"""Calls before the measured ones; how often both are measured in turn. The median counts."""


@dataclass(frozen=True)
class Reads:
    """What some calls of one kind took."""

    per_second: float
    p99_ms: float
    server_us: float


def _calls(channel: grpc.aio.Channel, method: str, requests: Sequence[bytes]) -> Iterator[Call]:
    call = channel.unary_unary(method)
    return (partial(_awaited, call, request) for request in requests)


async def _awaited(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], request: bytes) -> bytes:
    return await call(request)


async def _read(address: str, process_id: int, method: str, requests: Sequence[bytes], in_flight: int) -> Reads:
    async with grpc.aio.insecure_channel(address) as channel:
        await closed_loop(_calls(channel, method, requests[:WARM_UP]), in_flight)
        before = _processor_s(process_id)
        times = await closed_loop(_calls(channel, method, requests), in_flight)
        spent = _processor_s(process_id) - before
    return Reads(rate(times), percentile_ms([end - begun for begun, end in times], 0.99), spent / len(requests) * 1e6)


def _processor_s(process_id: int) -> float:
    """Return the seconds of processor time that a process has had."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _size(address: str, method: str, request: bytes) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        return len(await channel.unary_unary(method)(request))


def measure(given: argparse.Namespace, databases: Databases) -> None:
    """Read from a server, and from an empty one, in turn."""
    workload = Workload(given.sellers, given.records)
    url = prepared(databases, workload, 0, given.records)
    chance = random.Random(1)
    gets = [
        record_service_pb2.GetRecordRequest(record_id=workload.name(chance.randrange(given.records))).SerializeToString()
        for _ in range(given.reads)
    ]
    lists = [record_service_pb2.ListRecordsRequest(page_size=given.page).SerializeToString()] * (given.reads // given.page)
    with ServerProcess(url) as server:
        kinds = {"GetRecord": (GET, gets), "ListRecords": (LIST, lists)}
        sizes = {method: uvloop.run(_size(server.address, method, requests[0])) for method, requests in kinds.values()}
        with PrebuiltServer(sizes) as empty:
            for name, (method, requests) in kinds.items():
                both = [
                    [uvloop.run(_read(s.address, s.process_id, method, requests, given.in_flight)) for s in (server, empty)]
                    for _ in range(ROUNDS)
                ]
                _tell(
                    name, databases.engine, sizes[method], given, *sorted(both, key=lambda pair: pair[0].per_second / pair[1].per_second)[1]
                )


def _tell(name: str, engine: str, size: int, given: argparse.Namespace, found: Reads, floor: Reads) -> None:
    must_hold, aim = BOUNDS[engine]
    share = Promise("share of the floor's calls a second", round(found.per_second / floor.per_second, 3), must_hold, aim)
    figures = {
        "call": name,
        "answer_bytes": size,
        "in_flight": given.in_flight,
        "reads_per_second": round(found.per_second),
        "p99_ms": found.p99_ms,
        "server_us_per_call": round(found.server_us),
        "floor_per_second": round(floor.per_second),
        "floor_server_us_per_call": round(floor.server_us),
    }
    # Of a list, every record counts: what a page costs beyond one is its content.
    tell("unary", engine, figures, [share] if name == "GetRecord" else [Promise(share.name, share.measured, None)])


def main() -> None:
    """Measure as the command line says."""
    run(arguments(__doc__, {"records": 10_000, "reads": 20_000, "page": 10, "sellers": 100, "in-flight": 32}).parse_args(), measure)


if __name__ == "__main__":
    main()
