"""Records that come many at once: how many rows a second are stored for good, by UpsertRecords and by ImportRecords as Arrow columns.

The floor: the bare driver writes the same rows, as many records in a commit. The workspace is paused, so what is measured, and read back
for the floor, is intake alone. Beside the first load stands what it takes to send the same rows again, and to change one field of each.
Run with `make bench NAME=ingest ARGS="--engine postgresql"`.
"""

import argparse
import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import polars as pl

from benchmarks.databases import Databases
from benchmarks.floors import bare_seconds, written_between
from benchmarks.load import closed_loop
from benchmarks.report import Promise, arguments, run, tell
from benchmarks.servers import ServerProcess
from benchmarks.workload import Workload
from reallot.clients import AsyncClient, Record
from reallot.v1 import record_service_pb2

Send = Callable[[AsyncClient, Sequence[Record], argparse.Namespace], Any]
FLOORS = 2
"""How often the floor is measured; the quickest counts."""
WARM_UP = 2_000
BOUNDS = {"upsert": (8_000, 12_000), "import": (30_000, 60_000)}
"""Rows a second that must hold, and those aimed at."""


def _parts(rows: Sequence[Record], size: int) -> list[Sequence[Record]]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


async def _upsert(client: AsyncClient, rows: Sequence[Record], given: argparse.Namespace) -> float:
    """Return the seconds that it takes to upsert rows, some requests at once."""
    requests = [
        record_service_pb2.UpsertRecordsRequest(records=[row.to_upsert() for row in part], quiet=True)
        for part in _parts(rows, given.rows_a_request)
    ]
    started = time.perf_counter()
    await closed_loop((partial(client.call, client.stubs.records.UpsertRecords, request) for request in requests), given.in_flight)
    return time.perf_counter() - started


async def _import(client: AsyncClient, rows: Sequence[Record], given: argparse.Namespace) -> float:
    """Return the seconds that it takes to import rows as one stream of batches in columns."""
    batches = [record_service_pb2.ImportRecordsRequest(arrow=_arrow(part)) for part in _parts(rows, given.rows_a_batch)]

    async def stream() -> AsyncIterator[record_service_pb2.ImportRecordsRequest]:
        for batch in batches:
            yield batch

    started = time.perf_counter()
    answer = await client.stubs.records.ImportRecords(stream())
    if answer.created + answer.updated + answer.unchanged != len(rows):
        raise RuntimeError(f"not all of {len(rows)} rows were imported: {answer}")
    return time.perf_counter() - started


def _arrow(rows: Sequence[Record]) -> bytes:
    table = pl.DataFrame(
        {
            "record_id": [row.record_id for row in rows],
            "record_type": [row.record_type for row in rows],
            "fields": [row.fields for row in rows],
        }
    )
    written = io.BytesIO()
    table.write_ipc_stream(written)
    return written.getvalue()


def _changed(rows: Sequence[Record]) -> list[Record]:
    return [Record(row.record_id, row.record_type, {**row.fields, "score": row.fields["score"] + 1}) for row in rows]


async def _seconds(address: str, send: Send, rows: Sequence[Record], given: argparse.Namespace) -> float:
    async with AsyncClient(address) as client:
        return float(await send(client, rows, given))


async def _prepared(address: str, workload: Workload, send: Send, warm_up: Sequence[Record], given: argparse.Namespace) -> None:
    async with AsyncClient(address) as client:
        await workload.configure(client, waits=False, paused=True)
        await send(client, warm_up, given)


def measure(name: str, send: Send, size: int, given: argparse.Namespace, databases: Databases) -> None:
    """Load rows into a fresh database, then write the same with the bare driver; then send them again, and changed."""
    workload = Workload(given.sellers, given.rows)
    rows, warm_up = workload.rows(given.rows), workload.rows(WARM_UP, given.rows)
    url = databases.fresh()
    with ServerProcess(url) as server:
        asyncio.run(_prepared(server.address, workload, send, warm_up, given))
    before = databases.copy(url)
    with ServerProcess(url) as server:
        # Some rows sent again load what the first call of a kind loads.
        asyncio.run(_seconds(server.address, send, warm_up, given))
        took = asyncio.run(_seconds(server.address, send, rows, given))
    written = written_between(before, url)
    floor = min(_floor(databases, before, written, size) for _ in range(FLOORS))
    with ServerProcess(url) as server:
        again, changed = (asyncio.run(_seconds(server.address, send, some, given)) for some in (rows, _changed(rows)))
    figures = {
        "call": name,
        "rows": given.rows,
        "rows_in_one_commit": size,
        "rows_per_second": round(given.rows / took),
        "floor_per_second": round(given.rows / floor),
        "unchanged_per_second": round(given.rows / again),
        "changed_per_second": round(given.rows / changed),
        "rows_written": {w.table: w.rows for w in written},
    }
    must_hold, aim = BOUNDS[name]
    promises = [
        Promise("rows a second", round(given.rows / took), must_hold, aim),
        Promise("share of the floor's", round(floor / took, 3), None),
    ]
    tell("ingest", databases.engine, figures, promises)


def _floor(databases: Databases, before: str, written: Sequence[Any], size: int) -> float:
    copy = databases.copy(before)
    seconds = bare_seconds(copy, written, size)
    databases.drop(copy)
    return seconds


def both(given: argparse.Namespace, databases: Databases) -> None:
    """Measure both calls."""
    measure("upsert", _upsert, given.rows_a_request, given, databases)
    measure("import", _import, given.rows_a_batch, given, databases)


def main() -> None:
    """Measure as the command line says."""
    defaults = {"rows": 100_000, "sellers": 100, "rows-a-request": 1_000, "rows-a-batch": 10_000, "in-flight": 4}
    run(arguments(__doc__, defaults).parse_args(), both)


if __name__ == "__main__":
    main()
