"""Single reads, many callers at once: GetRecord, and ListRecords of a few, beside a handler that gives out as many bytes made before.

The caller handles bytes only, so that it does not hold up either; it and the server have a process each. What the server's processor
spends on a call is told too, as that is what remains of the ratio where the caller is the slower of the two. In the end, the same reads
with a token, from a server that asks for one and counts for Prometheus, beside one that does neither. Run with
`make bench NAME=unary ARGS="--engine postgresql"`.
"""

import argparse
import hashlib
import os
import random
import tempfile
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
SECURED = (0.85, 0.93)
"""Shares of the calls a second without authentication and metrics that must remain with both, and those aimed at."""
TOKEN = "reallot_benchmark"
Shown = tuple[tuple[str, str], ...]
WARM_UP, ROUNDS = 500, 3
"""Calls before the measured ones; how often both are measured in turn. The median counts."""


@dataclass(frozen=True)
class Reads:
    """What some calls of one kind took."""

    per_second: float
    p99_ms: float
    server_us: float


def _calls(channel: grpc.aio.Channel, method: str, requests: Sequence[bytes], shown: Shown) -> Iterator[Call]:
    call = channel.unary_unary(method)
    return (partial(_awaited, call, request, shown) for request in requests)


async def _awaited(call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes], request: bytes, shown: Shown) -> bytes:
    return await call(request, metadata=shown)


async def _read(address: str, process_id: int, method: str, requests: Sequence[bytes], in_flight: int, shown: Shown = ()) -> Reads:
    async with grpc.aio.insecure_channel(address) as channel:
        await closed_loop(_calls(channel, method, requests[:WARM_UP], shown), in_flight)
        before = _processor_s(process_id)
        times = await closed_loop(_calls(channel, method, requests, shown), in_flight)
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
    _secured(given, databases, url, gets)


def _secured(given: argparse.Namespace, databases: Databases, url: str, gets: Sequence[bytes]) -> None:
    """Read from a server that asks for a token and counts for Prometheus, and from one that does neither, in turn."""
    with tempfile.TemporaryDirectory(prefix="reallot-bench-") as folder:
        principals, settings = Path(folder) / "principals.toml", Path(folder) / "settings.toml"
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        principals.write_text(f'[[tokens]]\nname = "benchmark"\nsha256 = "{digest}"\ngrants = ["default:viewer"]\n')
        settings.write_text(f'principals_file = "{principals}"\nmetrics_port = 0\n')
        shown = (("authorization", f"Bearer {TOKEN}"),)
        with ServerProcess(databases.copy(url)) as plain, ServerProcess(url, "--config", str(settings)) as secured:
            both = [
                [uvloop.run(_read(s.address, s.process_id, GET, gets, given.in_flight, how)) for s, how in ((secured, shown), (plain, ()))]
                for _ in range(ROUNDS)
            ]
    found, base = sorted(both, key=lambda pair: pair[0].per_second / pair[1].per_second)[1]
    share = Promise(
        "share of the calls a second without authentication and metrics", round(found.per_second / base.per_second, 3), *SECURED
    )
    figures = {
        "call": "GetRecord, secured",
        "in_flight": given.in_flight,
        "reads_per_second": round(found.per_second),
        "server_us_per_call": round(found.server_us),
        "plain_per_second": round(base.per_second),
        "plain_server_us_per_call": round(base.server_us),
    }
    tell("unary", databases.engine, figures, [share])


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
