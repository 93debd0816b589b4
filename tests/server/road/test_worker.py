"""A real worker process: what it plans, and how it ends."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from reallot.server.road.batch import Plan, Task
from reallot.server.workers import Worker, WorkerFailed, WorkerKilled
from reallot.storage.errors import StorageUnavailable
from reallot.storage.moves import Move
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


class Answer(NamedTuple):
    plan: Plan
    moves: list[Move]


async def answer_of(worker: Worker, task: Task, on_stage: Callable[[str], None] = nothing, limit_s: float | None = None) -> Answer:
    """Return the whole answer to a task."""
    async with worker.plan(task, on_stage, limit_s) as planned:
        return Answer(planned.plan, [move async for piece in planned.pieces for move in piece.moves])


async def test_a_plan_of_many_records_arrives_whole_and_its_stages_in_order(worker: Worker) -> None:
    stages: list[str] = []
    plan, moves = await answer_of(worker, a_task(), stages.append)
    assert stages == ["read", "segment", "plan", "solve", "check", "commit"]
    assert plan.records == COUNT
    assert sorted(move.record_id for move in moves) == [f"L{i:05}" for i in range(COUNT)]
    assert plan.termination == ("OPTIMAL", "")


async def test_an_empty_plan_arrives_too(worker: Worker) -> None:
    assert (await answer_of(worker, a_task(record_ids=("unknown",)))).plan.records == 0


async def test_what_fails_in_the_worker_is_told_with_its_trace_and_the_worker_goes_on(worker: Worker) -> None:
    with pytest.raises(WorkerFailed) as failed:
        await answer_of(worker, a_task(kind="MANUAL", selection=b"\xff"), nothing)
    assert (failed.value.kind, "solve_task" in failed.value.trace) == ("DecodeError", True)
    assert (await answer_of(worker, a_task(record_ids=("L00001",)))).plan.records == 1


async def test_a_cancelled_task_ends_its_process_and_the_next_gets_a_fresh_one(worker: Worker) -> None:
    begun = asyncio.Event()
    task = asyncio.ensure_future(answer_of(worker, a_task(), lambda _stage: begun.set()))
    await begun.wait()
    before = worker.process_id
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await answer_of(worker, a_task(record_ids=("L00001",)))).plan.records == 1
    assert worker.process_id != before


async def test_a_task_that_reaches_its_time_limit_is_ended(worker: Worker) -> None:
    with pytest.raises(TimeoutError):
        await answer_of(worker, a_task(), nothing, 0.001)


async def test_a_worker_that_is_killed_from_outside_is_noticed(worker: Worker) -> None:
    await answer_of(worker, a_task(record_ids=("L00001",)), nothing)
    with pytest.raises(WorkerKilled):
        await answer_of(worker, a_task(), lambda _stage: os.kill(worker.process_id or 0, signal.SIGKILL))


async def test_a_database_that_cannot_be_read_is_no_fault_of_the_task(crowded: str, tmp_path: Path) -> None:
    there = tmp_path / "later.sqlite"
    made = Worker(f"sqlite:///{there}")
    with pytest.raises(StorageUnavailable):
        await answer_of(made, a_task())
    shutil.copy(crowded.removeprefix("sqlite:///"), there)
    assert (await answer_of(made, a_task())).plan.records > 0
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


async def test_whoever_leaves_with_one_piece_to_come_keeps_the_process(worker: Worker) -> None:
    await answer_of(worker, a_task(record_ids=("L00001",)))
    before = worker.process_id
    for record_ids in (("L00001",), tuple(f"L{n:05}" for n in range(3_000))):
        async with worker.plan(a_task(record_ids=record_ids), nothing) as planned:
            await anext(planned.pieces)
    assert (await answer_of(worker, a_task(record_ids=("L00001",)))).plan.records == 1
    assert worker.process_id == before


async def test_whoever_leaves_before_the_last_piece_gets_a_fresh_process(worker: Worker) -> None:
    async with worker.plan(a_task(), nothing) as planned:
        before = worker.process_id
        await anext(planned.pieces)
    assert (await answer_of(worker, a_task(record_ids=("L00001",)))).plan.records == 1
    assert worker.process_id != before
