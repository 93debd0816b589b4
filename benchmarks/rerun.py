"""A rerun of many waiting records, from the call to the events: how it compares with the bare statements for the same bytes.

Prints the seconds in all and by stage, the seconds of the floor, and the ratio of the two without the seconds of the solver. Run with
`make bench NAME=rerun ARGS="--engine postgresql"`.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.databases import Databases
from benchmarks.floors import Written, bare_seconds, written_between
from benchmarks.report import Promise, arguments, run, tell
from benchmarks.servers import ServerProcess
from benchmarks.workload import Workload
from reallot.clients import AsyncClient, Gap
from reallot.server.road.batch import CHUNK
from reallot.v1 import run_pb2

FLOORS = 2
"""How often the floor is measured; the quickest counts."""
STAGES = ("begin", "read", "segment", "plan", "solve", "check", "commit")


@dataclass(frozen=True)
class Rerun:
    """What a run took. Seconds from the call until it had ended, with all of its events committed; those by stage as the run says.

    "begin" lies before the stages, "commit" after them: what comes after the plan, writing up and committing.
    """

    seconds: float
    stages: dict[str, float]
    assigned: int
    peak_mib: dict[str, float]


async def _followed(client: AsyncClient) -> None:
    async for event in client.events.watch():
        if isinstance(event, Gap):
            raise RuntimeError(f"the follower missed events: {event}")


async def _run(client: AsyncClient, selection: run_pb2.RunSelection) -> tuple[run_pb2.Run, dict[str, float]]:
    """Return a run that has ended, and when each of its stages was first heard of, in seconds after the call."""
    started = time.perf_counter()
    heard: dict[str, float] = {}
    run = await client.runs.start(selection)
    async for answer in client.runs.watch(run.run_id):
        run = answer.run
        heard.setdefault(_name(run.stage), time.perf_counter() - started)
    if run.state != run_pb2.RUN_STATE_SUCCEEDED:
        raise RuntimeError(f"the run ended as {run_pb2.RunState.Name(run.state)}: {run.failure}")
    return run, heard


def _name(stage: "run_pb2.RunStage.ValueType") -> str:
    return run_pb2.RunStage.Name(stage).removeprefix("RUN_STAGE_").lower()


async def _rerun(server: ServerProcess, warm_up: str, followers: int) -> Rerun:
    async with AsyncClient(server.address) as client:
        # Whoever runs a server has it running: the first task of a worker loads half of its program.
        await _run(client, run_pb2.RunSelection(record_ids=[warm_up]))
        following = [asyncio.create_task(_followed(client)) for _ in range(followers)]
        run, heard = await _run(client, run_pb2.RunSelection(record_type="lead"))
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    stages = {_name(s.stage): s.seconds for s in run.stage_seconds}
    seconds = heard["done"]
    # The board tells only changes; a run that is over in no time may be heard of as done at once.
    begin = max(heard.get("commit", seconds) - sum(stages.values()), 0.0)
    return Rerun(
        seconds, {"begin": begin, **stages, "commit": seconds - begin - sum(stages.values())}, run.counts.assigned, server.peak_mib()
    )


def rerun(url: str, warm_up: str, followers: int = 0) -> Rerun:
    """Start a server on a database in which records wait, and run over them: over the record `warm_up` first, then over the others."""
    with ServerProcess(url) as server:
        return asyncio.run(_rerun(server, warm_up, followers))


async def _configure(address: str, workload: Workload) -> None:
    async with AsyncClient(address) as client:
        await workload.configure(client, waits=True)


def prepared(databases: Databases, workload: Workload, waiting: int, others: int = 0) -> str:
    """Return a database in which records wait for a run, beside others."""
    url = databases.fresh()
    with ServerProcess(url) as server:
        asyncio.run(_configure(server.address, workload))
    workload.load(url, waiting, others)
    return url


def _floor(databases: Databases, before: str, written: list[Written]) -> float:
    seconds = []
    for _ in range(FLOORS):
        copy = databases.copy(before)
        seconds.append(bare_seconds(copy, written, CHUNK))
        databases.drop(copy)
    return min(seconds)


def measure(given: argparse.Namespace, databases: Databases) -> None:
    """Run once, then write the same with the bare driver."""
    workload = Workload(given.sellers, given.records)
    # One more, which warms the server up.
    url = prepared(databases, workload, given.records + 1)
    before = databases.copy(url)
    made = rerun(url, workload.name(given.records), given.followers)
    written = written_between(before, url)
    rows = {w.table: w.rows for w in written}
    if made.assigned != given.records or rows["events"] != given.records + 1:
        raise RuntimeError(f"{made.assigned} of {given.records} records were assigned, and {rows['events']} events told")
    floor = _floor(databases, before, written)
    ratio = (made.seconds - made.stages.get("solve", 0.0)) / floor
    figures: dict[str, Any] = {
        "records": given.records,
        "sellers": given.sellers,
        "followers": given.followers,
        "seconds": round(made.seconds, 2),
        "stage_seconds": {name: round(made.stages.get(name, 0.0), 2) for name in STAGES},
        "floor_seconds": round(floor, 2),
        "rows_written": rows,
        "peak_mib": made.peak_mib,
    }
    promise = Promise("seconds without the solver's, to the floor's", round(ratio, 2), 2.0, 1.3, at_most=True)
    tell("rerun", databases.engine, figures, [promise])


def main() -> None:
    """Measure as the command line says."""
    run(arguments(__doc__, {"records": 100_000, "sellers": 1_000, "followers": 0}).parse_args(), measure)


if __name__ == "__main__":
    main()
