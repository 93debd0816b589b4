"""The two lanes of the road: intake works through pending records, runs through asked-for passes.

Each lane has a worker of its own, so a long run never holds up a change. What is waiting stands in the database; waking is a hint,
a poll covers lost ones. Whatever a killed server leaves behind is found and finished by the next.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import structlog

from reallot.server.road.batch import Plan, Task
from reallot.server.road.commit import Committer, Digests
from reallot.server.road.rescue import rescue
from reallot.server.runtime import Runtime
from reallot.server.workers import Worker, WorkerFailed, WorkerKilled
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.entities import OwnerKind, Pending, Run
from reallot.v1 import run_pb2

log = structlog.get_logger("reallot.lanes")

INTAKE_POLL_S, INTAKE_PATIENCE = 0.02, 1_500
"""How often, and how many times, a run looks whether intake has handled the changes from before it."""
POLL_S = 1.0
"""A lane looks for work at least this often."""
RERUN_TEXTS = {
    "CAPACITY_FREED": "somebody has room again",
    "SELLER_AVAILABLE": "a seller is available again",
    "SELLER_JOINED": "a seller joined or changed",
    "CONFIGURATION_CHANGED": "the configuration changed",
}


class Wake:
    """A signal that something may have to be done; several become one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Wake whoever waits, or the next who does."""
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        """Return when woken, or after a while."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            return
        finally:
            self._event.clear()


@dataclass
class Progress:
    """How far a run is, for those who watch it."""

    stage: str = ""
    done: int = 0
    total: int = 0


class ProgressBoard:
    """Progress of running runs; watchers wait for the next change."""

    def __init__(self) -> None:
        self._runs: dict[str, Progress] = {}
        self._changed = asyncio.Event()

    def of(self, run_id: str) -> Progress:
        """Return the progress of a run as last told."""
        return self._runs.get(run_id, Progress())

    def tell(self, run_id: str, progress: Progress | None) -> None:
        """Note the progress of a run (None = it has ended) and wake the watchers."""
        if progress is None:
            self._runs.pop(run_id, None)
        else:
            self._runs[run_id] = progress
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def changed(self, at_most_s: float) -> None:
        """Return at the next change, or after a while."""
        waited = self._changed
        try:
            async with asyncio.timeout(at_most_s):
                await waited.wait()
        except TimeoutError:
            return


class IntakeLane:
    """Works through pending records, batch by batch."""

    def __init__(self, runtime: Runtime, worker: Worker) -> None:
        self._runtime = runtime
        self._worker = worker
        self.wake = Wake()

    async def run_forever(self) -> None:
        """Take batches until cancelled."""
        while True:
            await self.wake.wait(POLL_S)
            await asyncio.sleep(self._runtime.settings.coalesce_ms / 1_000)
            for workspace in await self._runtime.read(lambda tx: tx.pending.workspaces()):
                await _guarded("intake", workspace, self._drain(workspace))

    async def _drain(self, workspace: str) -> None:
        while True:
            config = await self._runtime.config(workspace)
            marks = await self._runtime.read(lambda tx: tx.pending.oldest(workspace, self._runtime.settings.batch_records))
            if not marks or config.settings.paused:
                return
            await self._batch(workspace, marks)

    async def _batch(self, workspace: str, marks: list[Pending]) -> None:
        run_id = f"intake-{secrets.token_hex(8)}"
        now_us = self._runtime.clock.now_us()
        task = Task(workspace, now_us, "INTAKE", run_id, record_ids=tuple(mark.record_id for mark in marks))
        try:
            plan = await plan_of(self._worker, task, lambda _stage: None, self._runtime.settings.solve_time_limit_s)
        except (WorkerFailed, WorkerKilled) as error:
            await self._divide(workspace, marks, error)
            return
        run = Run(run_id, "INTAKE", "RUNNING", {"kind": "INTAKE"}, None, create_us=now_us, start_us=now_us)
        seen = {mark.record_id: mark.generation for mark in marks}
        for record_id in plan.record_id:
            seen.pop(record_id, None)

        def finish(tx: WriteTransaction, counts: Counter[str]) -> None:
            # What is not in the plan is not active any more, or of a type that is gone.
            tx.pending.clear(workspace, list(seen.items()))
            tx.runs.create(workspace, ended(run, plan, counts, self._runtime.clock.now_us()))

        await commit_plan(self._runtime, workspace, plan, run_id, finish)

    async def _divide(self, workspace: str, marks: list[Pending], error: WorkerFailed | WorkerKilled) -> None:
        """Find the record that a batch fails at by halving, and set it aside with a reason."""
        if len(marks) > 1:
            middle = len(marks) // 2
            await self._batch(workspace, marks[:middle])
            await self._batch(workspace, marks[middle:])
            return
        incident = secrets.token_hex(6)
        log.error("record failed", record=marks[0].record_id, incident=incident, error=str(error), trace=getattr(error, "trace", ""))
        await self._runtime.write(lambda tx: rescue(tx, self._runtime.configs.of(tx, workspace), marks[0], incident))


class RunLane:
    """Carries out runs in the order in which they were asked for."""

    def __init__(self, runtime: Runtime, worker: Worker, board: ProgressBoard) -> None:
        self._runtime = runtime
        self._worker = worker
        self._board = board
        self._at_work: tuple[str, str] | None = None
        self.wake = Wake()

    async def run_forever(self) -> None:
        """Carry out runs until cancelled."""
        while True:
            await self.wake.wait(POLL_S)
            await asyncio.sleep(self._runtime.settings.coalesce_ms / 1_000)
            for workspace in await self._runtime.read(lambda tx: tx.config.workspaces()):
                await _guarded("runs", workspace, self._drain(workspace))

    def cancel(self, workspace: str, run_id: str) -> None:
        """Stop the solve of a run that has been asked to stop, if it is at work."""
        if self._at_work == (workspace, run_id):
            self._worker.kill()

    async def _drain(self, workspace: str) -> None:
        while True:
            config = await self._runtime.config(workspace)
            if config.settings.paused:
                return
            runs = await self._runtime.write(lambda tx: self._due(tx, config)) if await self._anything(workspace) else []
            if not runs:
                return
            self._at_work = (workspace, runs[0].run_id)
            try:
                await self._execute(workspace, runs[0])
            finally:
                self._at_work = None
                self._board.tell(runs[0].run_id, None)

    async def _anything(self, workspace: str) -> bool:
        return await self._runtime.read(lambda tx: bool(tx.runs.unfinished(workspace) or tx.reruns.waiting(workspace)))

    def _due(self, tx: WriteTransaction, config: WorkspaceConfig) -> list[Run]:
        """Turn requests for reruns into a run, and return the runs that wait."""
        causes = tx.reruns.take(config.workspace)
        if causes:
            detail = " and ".join(RERUN_TEXTS[cause] for cause in causes)
            cause = {"kind": "EVENT", "detail": detail}
            tx.runs.create(config.workspace, Run(new_run_id(), "EVENT", "PENDING", cause, None, create_us=tx.now_us))
        return tx.runs.unfinished(config.workspace)

    async def _execute(self, workspace: str, run: Run) -> None:
        started = replace(run, state="RUNNING", stage="read", start_us=run.start_us or self._runtime.clock.now_us())
        if run.cancel_requested:
            await self._end(workspace, replace(started, state="CANCELLED"))
            return
        await self._save(workspace, started)
        await self._let_intake_pass(workspace)
        selection = run.selection or b""
        task = Task(
            workspace,
            self._runtime.clock.now_us(),
            run.kind,
            run.run_id,
            selection=bytes.fromhex(selection) if isinstance(selection, str) else b"",
            limit=max(run.limit - run.counts.get("assigned", 0), 1) if run.limit else 0,
            cause=run.cause,
        )
        limit_s = run.time_limit_us / 1e6 if run.time_limit_us else self._runtime.settings.solve_time_limit_s
        try:
            plan = await plan_of(self._worker, task, lambda stage: self._board.tell(run.run_id, Progress(stage)), limit_s)
        except WorkerFailed as error:
            log.error("run failed", run=run.run_id, error=str(error), trace=error.trace)
            await self._end(workspace, replace(started, state="FAILED", failure=str(error) or error.kind))
            return
        except WorkerKilled:
            stopped = await self._runtime.read(lambda tx: tx.runs.get(workspace, run.run_id))
            if stopped.cancel_requested:
                await self._end(workspace, replace(started, state="CANCELLED"))
            # Else it was killed from outside: the run stays RUNNING and is taken up again.
            return
        await self._commit(workspace, started, plan)

    async def _let_intake_pass(self, workspace: str) -> None:
        """Wait, within reason, for changes from before the run: what was written first is segmented first."""
        upto = await self._runtime.read(lambda tx: tx.pending.last_number(workspace))
        for _ in range(INTAKE_PATIENCE):
            oldest = await self._runtime.read(lambda tx: tx.pending.oldest(workspace, 1))
            if not oldest or oldest[0].number > upto:
                return
            await asyncio.sleep(INTAKE_POLL_S)

    async def _commit(self, workspace: str, run: Run, plan: Plan) -> None:
        total, board, clock = len(plan), self._board, self._runtime.clock
        before = Counter(run.counts)

        def told(tx: WriteTransaction, counts: Counter[str], done: int) -> bool:
            stored = tx.runs.get(workspace, run.run_id)
            tx.runs.update(workspace, replace(run, stage="commit", counts=dict(before + counts)))
            board_loop.call_soon_threadsafe(board.tell, run.run_id, Progress("commit", done, total))
            return not stored.cancel_requested

        def finish(tx: WriteTransaction, counts: Counter[str]) -> None:
            stopped = tx.runs.get(workspace, run.run_id).cancel_requested and sum(counts.values()) < total
            final = ended(run, plan, before + counts, clock.now_us())
            tx.runs.update(workspace, replace(final, state="CANCELLED") if stopped else final)
            tx.signal(workspace, "runs")

        board_loop = asyncio.get_running_loop()
        await commit_plan(self._runtime, workspace, plan, run.run_id, finish, told)

    async def _save(self, workspace: str, run: Run) -> None:
        await self._runtime.write(lambda tx: tx.runs.update(workspace, run))

    async def _end(self, workspace: str, run: Run) -> None:
        done = replace(run, stage="done", end_us=self._runtime.clock.now_us())

        def end(tx: WriteTransaction) -> None:
            tx.runs.update(workspace, done)
            tx.signal(workspace, "runs")

        await self._runtime.write(end)


def new_run_id() -> str:
    """Return the id of a new run."""
    return f"run-{secrets.token_hex(8)}"


async def plan_of(worker: Worker, task: Task, on_stage: Callable[[str], None], limit_s: float) -> Plan:
    """Return the plan of a task; at the time limit, that of the sequential rule.

    Raises:
        WorkerFailed: the task raised.
        WorkerKilled: the worker ended before it answered.
    """
    try:
        return await worker.run(task, on_stage, limit_s)
    except TimeoutError:
        log.warning("time limit reached", run=task.run_id, seconds=limit_s)
        return await worker.run(replace(task, sequential=True), on_stage)


async def commit_plan(
    runtime: Runtime,
    workspace: str,
    plan: Plan,
    run_id: str,
    finish: Callable[[WriteTransaction, Counter[str]], None],
    told: Callable[[WriteTransaction, Counter[str], int], bool] | None = None,
) -> None:
    """Commit a plan in chunks; `told` hears after each chunk, in its transaction, and may stop; `finish` is in the last one."""
    config = await runtime.config(workspace)
    owners = await runtime.read(
        lambda tx: {
            record.record_id: record.owner.id
            for record in tx.records.get(workspace, [r for r, t in zip(plan.record_id, plan.touches_owner, strict=True) if t]).values()
            if record.owner and record.owner.kind is OwnerKind.SELLER
        }
    )
    committer = Committer(workspace, config, plan, run_id, Digests.of(plan, owners, config.digest_above))
    counts: Counter[str] = Counter()
    for rows in committer.chunks():

        def chunk(tx: WriteTransaction, rows: range = rows) -> bool:
            counts.update(committer.commit(tx, rows))
            return told(tx, counts, rows.stop) if told is not None else True

        if not await runtime.write(chunk):
            break

    def last(tx: WriteTransaction) -> None:
        committer.finish(tx)
        finish(tx, counts)

    await runtime.write(last)


def ended(run: Run, plan: Plan, counts: Counter[str], now_us: int) -> Run:
    """Return a run that has done its work."""
    body: dict[str, Any] = {
        "levels": [list(level) for level in plan.levels],
        "termination": list(plan.termination),
        "solver": plan.solver,
        "seconds": plan.seconds,
        "config_version": plan.config_version,
    }
    numbers = {name: number for name, number in sorted(counts.items()) if number}
    return replace(run, state="SUCCEEDED", stage="done", end_us=now_us, counts=numbers, body=body)


def selection_text(selection: run_pb2.RunSelection) -> str:
    """Return a selection in the form that a run keeps."""
    return selection.SerializeToString(deterministic=True).hex()


async def _guarded(lane: str, workspace: str, work: Awaitable[None]) -> None:
    """Do some work; a fault is logged and tried again with the next wake, so that a lane never dies."""
    try:
        await work
    except asyncio.CancelledError:
        raise
    except Exception:
        log.exception("lane failed", lane=lane, workspace=workspace)
