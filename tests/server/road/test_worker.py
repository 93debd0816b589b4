"""A real worker process: what it plans, and how it ends."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from reallot.server.road.batch import ROW_COLUMNS, Plan, Task
from reallot.server.workers import Worker, WorkerFailed, WorkerKilled
from reallot.storage.errors import StorageUnavailable
from support.api import a_row
from support.office import Office, everybody, leads
from support.rows import a_seller

COUNT = 5_000
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> str:
    """A database with many leads that wait, and a segment condition that needs a declared field; return its URL."""
    url = f"sqlite:///{shutil.copy(empty_database, tmp_path_factory.mktemp('worker') / 'reallot.sqlite')}"
    office = Office(url, 1_772_438_400_000_000)
    office.apply(*leads(everybody()))
    office.hire(*(a_seller(f"s{i}") for i in range(20)))
    for start in range(0, COUNT, 1_000):
        office.upsert(*(a_row(f"L{i:05}") for i in range(start, start + 1_000)))
    office.close()
    return url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(crowded: str) -> AsyncIterator[Worker]:
    found = Worker(crowded)
    await found.warm_up()
    yield found
    found.close()


def a_task(**parts: object) -> Task:
    ids = tuple(f"L{i:05}" for i in range(COUNT))
    return Task(**{"workspace": "default", "now_us": 1, "kind": "INTAKE", "run_id": "r", "record_ids": ids, **parts})  # type: ignore[arg-type]


def nothing(_stage: str) -> None:
    """Hear of a stage."""


async def test_a_plan_of_many_records_arrives_whole_and_its_stages_in_order(worker: Worker) -> None:
    stages: list[str] = []
    plan = await worker.run(a_task(), stages.append)
    assert stages == ["read", "segment", "plan", "solve", "check", "commit"]
    assert {len(getattr(plan, name)) for name in ROW_COLUMNS} == {COUNT}
    assert sorted(plan.record_id) == [f"L{i:05}" for i in range(COUNT)]
    assert plan.termination == ("OPTIMAL", "")


async def test_an_empty_plan_arrives_too(worker: Worker) -> None:
    assert len(await worker.run(a_task(record_ids=("unknown",)), nothing)) == 0


async def test_what_fails_in_the_worker_is_told_with_its_trace_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(WorkerFailed) as failed:
        await worker.run(a_task(kind="MANUAL", selection=b"\xff"), nothing)
    assert (failed.value.kind, "solve_task" in failed.value.trace) == ("DecodeError", True)
    assert len(await worker.run(a_task(record_ids=("L00001",)), nothing)) == 1


async def test_a_cancelled_task_ends_its_process_and_the_next_gets_a_fresh_one(worker: Worker) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(worker.run(a_task(), lambda _stage: begun.set()))
    await begun.wait()
    before = worker.process_id
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await worker.run(a_task(record_ids=("L00001",)), nothing)) == 1
    assert worker.process_id != before


async def test_a_task_that_reaches_its_time_limit_is_ended(worker: Worker) -> None:
    with pytest.raises(TimeoutError):
        await worker.run(a_task(), nothing, 0.001)


async def test_a_worker_that_is_killed_from_outside_is_noticed(worker: Worker) -> None:
    await worker.run(a_task(record_ids=("L00001",)), nothing)
    with pytest.raises(WorkerKilled):
        await worker.run(a_task(), lambda _stage: os.kill(worker.process_id or 0, signal.SIGKILL))


async def test_a_database_that_cannot_be_read_is_no_fault_of_the_task(crowded: str, tmp_path: Path) -> None:
    there = tmp_path / "later.sqlite"
    made = Worker(f"sqlite:///{there}")
    with pytest.raises(StorageUnavailable):
        await made.run(a_task(), nothing)
    shutil.copy(crowded.removeprefix("sqlite:///"), there)
    assert len(await made.run(a_task(), nothing)) > 0
    made.close()


async def test_a_worker_ends_with_the_process_that_started_it(crowded: str) -> None:
    program = f"""
import asyncio, os
from reallot.server.workers import Worker
async def main():
    worker = Worker({crowded!r})
    await worker.warm_up()
    print(worker.process_id, flush=True)
    os.kill(os.getpid(), 9)
if __name__ == "__main__":
    asyncio.run(main())
"""
    child = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
    orphan = int(child.stdout)
    deadline = time.monotonic() + 30
    while _alive(orphan):
        assert time.monotonic() < deadline, "the worker outlives its server"
        await asyncio.sleep(0.02)


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(("rows", "traces", "size", "pieces"), [(0, 0, 2, 1), (1, 0, 2, 1), (5, 2, 2, 3), (2, 5, 2, 3), (4, 4, 2, 2)])
async def test_pieces_of_a_plan_put_together_are_the_plan(rows: int, traces: int, size: int, pieces: int) -> None:
    plan = Plan(3, levels=[("coverage", 1, 1)], termination=("OPTIMAL", ""), seconds={"plan": 1.0}, traces=[[i] for i in range(traces)])
    for row in range(rows):
        plan.add(**dict.fromkeys(ROW_COLUMNS, row))
    first, *others = plan.pieces(size)
    for other in others:
        first.extend(other)
    assert (first, 1 + len(others)) == (plan, pieces)
