"""How long it takes from a change until the seller whom it concerns is told: records come at a fixed rate, and their owners follow.

A change counts from the instant at which it was to be made, so that a server that falls behind cannot hide it, until the notice has come
to the client that follows for the seller. Run with `make bench NAME=latency ARGS="--engine postgresql --seconds 60"`.
"""

import argparse
import asyncio
import time

from benchmarks.databases import Databases
from benchmarks.report import Promise, arguments, percentile_ms, run, tell
from benchmarks.servers import ServerProcess
from benchmarks.workload import Workload
from reallot.clients import AsyncClient
from reallot.v1 import event_pb2

MUST_HOLD_MS, AIM_MS = 250, 100
PATIENCE_S = 30.0
WARM_UP = 100


class Sellers:
    """Clients that follow for all sellers.

    Attributes:
        told: When the notice of its assignment came, by record, in seconds of `perf_counter`.
        since_commit: How many seconds after the instant of the assignment its notice came.
    """

    def __init__(self, client: AsyncClient, workload: Workload) -> None:
        self._client = client
        self._workload = workload
        self.told: dict[str, float] = {}
        self.since_commit: list[float] = []
        self._wanted = 0
        self._complete = asyncio.Event()

    async def follow(self, seller_id: str) -> None:
        """Hear a seller's notices for ever."""
        async for notice in self._client.events.subscribe(seller_id, unread_first=True):
            if not isinstance(notice, event_pb2.Notification) or notice.event.kind != event_pb2.EVENT_KIND_ASSIGNED:
                raise RuntimeError(f"seller {seller_id} was told of something else: {notice}")
            self.told.setdefault(notice.event.record_id, time.perf_counter())
            self.since_commit.append(time.time() - notice.event.time.ToNanoseconds() / 1e9)
            if len(self.told) >= self._wanted:
                self._complete.set()

    async def have_been_told(self, number: int) -> None:
        """Return when the notices of as many records have come, or after a long while."""
        self._wanted, self._complete = number, asyncio.Event()
        if len(self.told) < number:
            await asyncio.wait([asyncio.create_task(self._complete.wait())], timeout=PATIENCE_S)


async def _changes(client: AsyncClient, workload: Workload, first: int, given: argparse.Namespace) -> dict[str, float]:
    """Write records at the rate, one a call, whatever became of those before; return when each was to be written."""
    rows = workload.rows(given.rate * given.seconds, first)
    due: dict[str, float] = {}
    writing: list[asyncio.Task[object]] = []
    started = time.perf_counter()
    for number, row in enumerate(rows):
        instant = started + number / given.rate
        await asyncio.sleep(instant - time.perf_counter())
        due[row.record_id] = instant
        writing.append(asyncio.create_task(client.records.upsert([row])))
    await asyncio.gather(*writing)
    return due


async def _measured(address: str, workload: Workload, given: argparse.Namespace) -> tuple[Sellers, dict[str, float], float]:
    """Return who was told when, when each change was due, and the rate that was reached."""
    async with AsyncClient(address) as client:
        await workload.configure(client, waits=False)
        sellers = Sellers(client, workload)
        following = [asyncio.create_task(sellers.follow(f"s{number:05d}")) for number in range(given.sellers)]
        await client.records.upsert(workload.rows(WARM_UP))
        await sellers.have_been_told(WARM_UP)
        started = time.perf_counter()
        due = await _changes(client, workload, WARM_UP, given)
        rate = len(due) / (time.perf_counter() - started)
        await sellers.have_been_told(WARM_UP + len(due))
        for task in following:
            if task.done():
                task.result()
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    return sellers, due, rate


def measure(given: argparse.Namespace, databases: Databases) -> None:
    """Measure once."""
    workload = Workload(given.sellers, WARM_UP + given.rate * given.seconds)
    with ServerProcess(databases.fresh()) as server:
        sellers, due, rate = asyncio.run(_measured(server.address, workload, given))
        cpu = server.cpu_seconds()
    seconds = [sellers.told[name] - at for name, at in due.items() if name in sellers.told]
    last_part = sellers.since_commit[WARM_UP:]
    figures = {
        "changes": given.rate * given.seconds,
        "sellers": given.sellers,
        "changes_per_second": round(rate, 1),
        "p50_ms": percentile_ms(seconds, 0.5),
        "p90_ms": percentile_ms(seconds, 0.9),
        "worst_ms": percentile_ms(seconds, 1.0),
        "from_the_assignment": {"p50_ms": percentile_ms(last_part, 0.5), "p99_ms": percentile_ms(last_part, 0.99)},
        "server_cpu_seconds": round(cpu, 1),
    }
    promises = [
        Promise("p99 from the change to the notice, ms", percentile_ms(seconds, 0.99), MUST_HOLD_MS, AIM_MS, at_most=True),
        Promise("notices lost", len(due) - len(seconds), 0, 0, at_most=True),
    ]
    tell("latency", databases.engine, figures, promises)


def main() -> None:
    """Measure as the command line says."""
    run(arguments(__doc__, {"rate": 200, "seconds": 60, "sellers": 100}).parse_args(), measure)


if __name__ == "__main__":
    main()
