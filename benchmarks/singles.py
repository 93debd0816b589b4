"""Records that come one by one, many callers at once: how many a second are stored for good while the road assigns them.

The floor: the bare driver writes the same rows, as many records in a commit as calls are in flight. With `--during-rerun` the records
come while a run over waiting records is planned and committed, and what is told is how long a caller waits. Run with
`make bench NAME=singles ARGS="--during-rerun"`.
"""

import argparse
import asyncio
import time
from collections.abc import Iterator
from functools import partial

from sqlalchemy import create_engine, func, select

from benchmarks.databases import Databases
from benchmarks.floors import bare_seconds, written_between
from benchmarks.load import Call, closed_loop, rate
from benchmarks.report import Promise, arguments, percentile_ms, run, tell
from benchmarks.rerun import prepared
from benchmarks.servers import ServerProcess
from benchmarks.workload import Workload
from reallot.clients import AsyncClient, Record
from reallot.storage.tables import records
from reallot.v1 import run_pb2

MUST_HOLD = {"sqlite": 1_000, "postgresql": 600}
POLL_S = 0.05
WARM_UP = 200


def _upserts(client: AsyncClient, rows: list[Record]) -> Iterator[Call]:
    return (partial(client.records.upsert, [row]) for row in rows)


async def _settled(url: str, number: int) -> None:
    """Return when as many records have an owner."""
    engine = create_engine(url)
    owned = select(func.count()).select_from(records).where(records.c.owner_id != "")
    try:
        while True:
            with engine.connect() as connection:
                if connection.execute(owned).scalar_one() >= number:
                    return
            await asyncio.sleep(POLL_S)
    finally:
        engine.dispose()


async def _alone(address: str, url: str, workload: Workload, given: argparse.Namespace) -> tuple[float, float]:
    """Return the upserts a second, and the seconds from the first until all records had an owner."""
    async with AsyncClient(address) as client:
        await closed_loop(_upserts(client, workload.rows(WARM_UP)), given.in_flight)
        await _settled(url, WARM_UP)
        times = await closed_loop(_upserts(client, workload.rows(given.writes, WARM_UP)), given.in_flight)
        await _settled(url, WARM_UP + given.writes)
        return rate(times), time.perf_counter() - min(begun for begun, _ in times)


def alone(given: argparse.Namespace, databases: Databases) -> None:
    """Upsert records that are assigned as they come, then write the same with the bare driver."""
    workload = Workload(given.sellers, given.writes + WARM_UP)
    url, before = databases.fresh(), databases.fresh()
    with ServerProcess(url) as server:
        asyncio.run(_configured(server.address, workload))
        found, settled = asyncio.run(_alone(server.address, url, workload, given))
    # The floor begins with an empty database and writes the configuration, sellers and warm-up rows too: a few hundred of many.
    written = written_between(before, url)
    floor = (given.writes + WARM_UP) / bare_seconds(before, written, given.in_flight)
    figures = {
        "writes": given.writes,
        "in_flight": given.in_flight,
        "writes_per_second": round(found),
        "seconds_until_all_had_an_owner": round(settled, 2),
        "floor_per_second": round(floor),
        "rows_written": {w.table: w.rows for w in written},
    }
    promises = [
        Promise("durable upserts a second", round(found), MUST_HOLD[databases.engine]),
        Promise("share of the floor's", round(found / floor, 3), 0.5, 0.75),
    ]
    tell("singles", databases.engine, figures, promises)


async def _configured(address: str, workload: Workload) -> None:
    async with AsyncClient(address) as client:
        await workload.configure(client, waits=False)


async def _beside(address: str, workload: Workload, given: argparse.Namespace) -> tuple[list[float], list[float], float]:
    """Return the seconds of the writes before and during the run, and those of the run."""
    async with AsyncClient(address) as client:
        idle = await closed_loop(_upserts(client, workload.rows(given.writes // 10, given.records)), given.in_flight)
        started = time.perf_counter()
        run_id = (await client.runs.start(run_pb2.RunSelection(record_type="lead"))).run_id
        waits = asyncio.create_task(_ended(client, run_id))
        fresh = workload.rows(given.writes, given.records + given.writes // 10)
        times = await closed_loop(_upserts(client, fresh), given.in_flight)
        ended = await waits
        during = [end - begun for begun, end in times if begun < ended]
        return [end - begun for begun, end in idle], during, ended - started


async def _ended(client: AsyncClient, run_id: str) -> float:
    async for answer in client.runs.watch(run_id):
        state = answer.run.state
    if state != run_pb2.RUN_STATE_SUCCEEDED:
        raise RuntimeError(f"the run ended as {run_pb2.RunState.Name(state)}")
    return time.perf_counter()


def beside(given: argparse.Namespace, databases: Databases) -> None:
    """Upsert records while a run goes over those that wait."""
    workload = Workload(given.sellers, given.records)
    url = prepared(databases, workload, given.records)
    with ServerProcess(url) as server:
        idle, during, seconds = asyncio.run(_beside(server.address, workload, given))
    figures = {
        "records": given.records,
        "in_flight": given.in_flight,
        "run_seconds": round(seconds, 2),
        "idle": {"writes": len(idle), "p50_ms": percentile_ms(idle, 0.5), "p99_ms": percentile_ms(idle, 0.99)},
        "during": {"writes": len(during), "p50_ms": percentile_ms(during, 0.5), "worst_ms": percentile_ms(during, 1.0)},
    }
    promise = Promise("p99 of the writes during the run, ms", percentile_ms(during, 0.99), 250, at_most=True)
    tell("singles", databases.engine, figures, [promise])


def main() -> None:
    """Measure as the command line says."""
    parser = arguments(__doc__, {"writes": 10_000, "sellers": 1_000, "in-flight": 32, "records": 100_000})
    parser.add_argument("--during-rerun", action="store_true", help="beside a run over --records waiting records")
    given = parser.parse_args()
    run(given, beside if given.during_rerun else alone)


if __name__ == "__main__":
    main()
