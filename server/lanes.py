"""The two lanes of the road: intake works through pending records, runs through asked-for passes.

Each lane has a worker of its own, so a long run never holds up a change. What is waiting stands in the database; waking is a hint,
a poll covers lost ones. Whatever a killed server leaves behind is found and finished by the next.
"""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import structlog

from reallot.server.commitment import Commitment
from reallot.server.dropping import note_dropped
from reallot.server.languages.saying import listed, say
from reallot.server.previewing import APPLY, Doing, Saying, begun, mode_of, only_says, previewed
from reallot.server.progress import Progress, ProgressBoard
from reallot.server.road.batch import Handed, Place, Plan, Planned, Task
from reallot.server.road.replaying import joined_digest
from reallot.server.road.rescue import rescue
from reallot.server.runtime import ABSENCE, NEXT_TRY, Runtime
from reallot.server.wake import Wake
from reallot.server.workers import WorkerFailed, WorkerKilled
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Pending, Run
from reallot.storage.errors import LeaseLost, StorageUnavailable
from reallot.storage.leases import Lease
from reallot.storage.pending import united_sellers
from reallot.v1 import run_pb2

log = structlog.get_logger("reallot.lanes")

POLL_S = 1.0
"""A lane looks for work at least this often."""
INTAKE_POLL_S, INTAKE_LOOKS = 0.02, 1_500
"""How often, and how many times, a run looks whether intake has dealt with the changes from before it."""
MOST_DEATHS = 3
INTAKES_BETWEEN = 100
"""After so many intakes it is looked at which of them are still to be replayable."""
"""A run whose worker dies this often has failed."""
RERUN_TEXTS = {
    "CAPACITY_FREED": say("room_again"),
    "SELLER_AVAILABLE": say("seller_available"),
    "SELLER_JOINED": say("seller_joined"),
    "CONFIGURATION_CHANGED": say("configuration_changed"),
    NEXT_TRY: say("works_again"),
    ABSENCE: say("will_be_absent"),
}
ENDED = ("SUCCEEDED", "CANCELLED", "FAILED", "DROPPED")
"""States that a run does not leave."""


class Planning(Protocol):
    """Where tasks are planned: a worker process."""

    def plan(self, task: Task, on_stage: Callable[[str], None], time_limit_s: float | None = None) -> AbstractAsyncContextManager[Planned]:
        """Give the plan of a task; see `Worker.plan`."""
        ...


class Lane(ABC):
    """A loop that works through what stands in the database, one piece of each workspace after the other."""

    def __init__(self, runtime: Runtime, worker: Planning) -> None:
        self._runtime = runtime
        self._worker = worker
        self.wake = Wake()
        self.busy = False
        """Something is at work, even if nothing waits any more."""

    async def run_forever(self) -> None:
        """Work until cancelled."""
        while True:
            await self.wake.wait(POLL_S)
            await asyncio.sleep(self._runtime.settings.coalesce_ms / 1_000)
            try:
                await self.drain()
            except StorageUnavailable as error:
                # It looks again at the next wake or poll, until the database is back.
                log.warning("storage unavailable", lane=type(self).__name__, exc_info=error)

    async def drain(self) -> None:
        """Work until nothing is left that can be done now."""
        self.busy = True
        try:
            while await self._round():
                pass
        finally:
            self.busy = False

    async def _round(self) -> bool:
        """Do one piece of work in every workspace; return whether any got on. A fault is logged, so that a lane never dies."""
        got_on = False
        try:
            workspaces = await self._runtime.read(self._workspaces)
        except Exception:
            log.exception("lane found no way to what waits", lane=type(self).__name__)
            return False
        for workspace in workspaces:
            try:
                lease = self._runtime.leases.of(workspace)
                if lease is not None:
                    config = await self._runtime.config(workspace)
                    got_on |= not config.settings.paused and await self._step(config, lease)
            except StorageUnavailable as error:
                log.warning("storage unavailable", lane=type(self).__name__, workspace=workspace, exc_info=error)
            except LeaseLost:
                log.warning("the workspace is not worked here any more", lane=type(self).__name__, workspace=workspace)
            except Exception:
                log.exception("lane failed", lane=type(self).__name__, workspace=workspace)
        return got_on

    @abstractmethod
    def _workspaces(self, tx: ReadTransaction) -> list[str]:
        """Return the workspaces in which something may wait."""

    @abstractmethod
    async def _step(self, config: WorkspaceConfig, lease: Lease) -> bool:
        """Do one piece of work under a lease; return whether there was any and it got on.

        Raises:
            LeaseLost: another server took over; nothing was written that is not whole.
        """


class IntakeLane(Lane):
    """Works through pending records, batch by batch."""

    def __init__(self, runtime: Runtime, worker: Planning) -> None:
        super().__init__(runtime, worker)
        self._kept: Counter[str] = Counter()

    def _workspaces(self, tx: ReadTransaction) -> list[str]:
        return tx.pending.workspaces()

    async def _step(self, config: WorkspaceConfig, lease: Lease) -> bool:
        most = self._runtime.settings.batch_records
        marks = await self._runtime.read(lambda tx: tx.pending.oldest(config.workspace, most))
        return await self._batch(config, lease, marks) if marks else False

    async def _batch(self, config: WorkspaceConfig, lease: Lease, marks: list[Pending], again: bool = False) -> bool:
        """Carry out a batch; at a fault, look for the record that is to blame by halving."""
        if not marks:
            return True
        try:
            return await self._carry_out(config, lease, marks)
        except (StorageUnavailable, LeaseLost):
            raise
        except WorkerKilled:
            # Whatever killed it need not lie in the records: they are to blame when it happens again.
            if not again:
                return await self._batch(config, lease, await self._left(config, marks), again=True)
            return await self._halve(config, lease, await self._left(config, marks), WorkerKilled("the worker was killed twice"))
        except Exception as error:
            return await self._halve(config, lease, await self._left(config, marks), error)

    async def _left(self, config: WorkspaceConfig, marks: list[Pending]) -> list[Pending]:
        """Return the marks that still stand: pieces of a batch may have been committed before its fault."""
        ids = await self._runtime.read(lambda tx: tx.records.pending_ids(config.workspace, [mark.record_id for mark in marks]))
        return [mark for mark in marks if mark.record_id in ids]

    async def _halve(self, config: WorkspaceConfig, lease: Lease, marks: list[Pending], error: Exception) -> bool:
        if not marks:
            return True
        if len(marks) == 1:
            await self._set_aside(config, lease, marks[0], error)
            return True
        middle = len(marks) // 2
        first = await self._batch(config, lease, marks[:middle])
        return await self._batch(config, lease, marks[middle:]) or first

    async def _carry_out(self, config: WorkspaceConfig, lease: Lease, marks: list[Pending]) -> bool:
        run_id, now_us = f"intake-{secrets.token_hex(8)}", self._runtime.clock.now_us()
        task = Task(
            config.workspace,
            now_us,
            "INTAKE",
            run_id,
            record_ids=tuple(mark.record_id for mark in marks),
            forgets=not config.replayable_intakes,
        )
        run = Run(run_id, "INTAKE", "RUNNING", {"kind": "INTAKE"}, None, create_us=now_us, start_us=now_us)
        async with planned_of(self._worker, task, lambda _stage: None, self._runtime.settings.solve_time_limit_s) as planned:
            plan = planned.plan
            gone = [(mark.record_id, mark.generation) for mark in marks if mark.record_id in plan.undecided]
            commitment = Commitment(self._runtime, config, lease, planned, run_id)

            def finish(tx: WriteTransaction, counts: Counter[str], _stopped: bool) -> None:
                tx.pending.clear(config.workspace, gone)
                tx.runs.create(config.workspace, ended(run, plan, counts, tx.now_us))
                self._keep(tx, config, run_id, plan)

            done = await commitment.carry_out(finish)
            commitment.tell(run.kind)
        # Without progress it waits for the next wake: trying the same again at once would end the same.
        return bool(gone) or not done or commitment.counts["lost"] < plan.records

    def _keep(self, tx: WriteTransaction, config: WorkspaceConfig, run_id: str, plan: Plan) -> None:
        """Keep what an intake was planned from; now and then remove it of those that are not among the newest any more."""
        if plan.input:
            tx.inputs.keep(config.workspace, run_id, 1, plan.input, tx.now_us)
        if self._kept[config.workspace] % INTAKES_BETWEEN == 0:
            tx.inputs.keep_newest(config.workspace, "INTAKE", config.replayable_intakes)
        self._kept[config.workspace] += 1

    async def _set_aside(self, config: WorkspaceConfig, lease: Lease, mark: Pending, error: Exception) -> None:
        incident = secrets.token_hex(6)
        trace = getattr(error, "trace", "")
        log.error("record failed", record=mark.record_id, incident=incident, trace=trace, exc_info=error)
        await self._runtime.write(
            config.workspace, lambda tx: rescue(tx, self._runtime.configs.of(tx, config.workspace), mark, incident), lease
        )


class RunLane(Lane):
    """Carries out runs in the order in which they were asked for."""

    def __init__(self, runtime: Runtime, worker: Planning, board: ProgressBoard) -> None:
        super().__init__(runtime, worker)
        self._board = board
        self._planning: tuple[str, str, asyncio.Task[Planned]] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._look_again = False
        self._deaths: Counter[str] = Counter()

    def look_for_cancel(self) -> None:
        """Stop planning the run that is at work, if it has been asked to stop, here or on another server."""
        self._look_again = self._planning is not None
        if self._planning is not None and self._looking is None:
            self._looking = asyncio.create_task(self._look(*self._planning))

    async def _look(self, workspace: str, run_id: str, planning: asyncio.Task[Planned]) -> None:
        try:
            while self._look_again:
                self._look_again = False
                if await self._runtime.read(lambda tx: tx.runs.get(workspace, run_id).cancel_requested):
                    planning.cancel()
        except StorageUnavailable as error:
            # Every chunk asks again before it is committed.
            log.warning("whether a run is to stop could not be read", run=run_id, exc_info=error)
        finally:
            self._looking = None

    def _workspaces(self, tx: ReadTransaction) -> list[str]:
        return sorted({*tx.runs.workspaces(), *tx.reruns.workspaces()})

    async def _step(self, config: WorkspaceConfig, lease: Lease) -> bool:
        run = await self._runtime.write(config.workspace, lambda tx: self._begin(tx, config), lease)
        if run is None:
            return True
        try:
            await self._execute(config, lease, run)
        except (StorageUnavailable, LeaseLost):
            raise
        except Exception as error:
            incident = secrets.token_hex(6)
            log.error("run failed", run=run.run_id, incident=incident, trace=getattr(error, "trace", ""), exc_info=error)
            told = str(error) if isinstance(error, WorkerFailed) else say("server_failed", incident=incident)
            await self._end(config, lease, run, "FAILED", told)
        finally:
            self._board.tell(run.run_id, None)
        return True

    def _begin(self, tx: WriteTransaction, config: WorkspaceConfig) -> Run | None:
        """Turn requests for reruns into a run, and return the first run that waits, begun; None if it is not to be carried out."""
        requests = tx.reruns.take(config.workspace)
        due = requests.keys() == {NEXT_TRY}
        waiting_now = RecordFilter(owned=False, active=True, next_try_upto_us=tx.now_us if due else None)
        if requests and tx.records.page(config.workspace, waiting_now, limit=1):
            cause = {"kind": "EVENT", "detail": listed([RERUN_TEXTS[cause] for cause in requests])}
            selection = run_pb2.RunSelection(seller_ids=united_sellers(requests.values()))
            selection.due = due or (NEXT_TRY in requests and bool(selection.seller_ids))
            run = Run(new_run_id(), "EVENT", "PENDING", cause, selection_text(selection), create_us=tx.now_us)
            tx.runs.create(config.workspace, run)
        waiting = tx.runs.unfinished(config.workspace)
        if not waiting:
            return None
        run = replace(waiting[0], state="RUNNING", stage="read", start_us=waiting[0].start_us or tx.now_us)
        if run.limit and _given(run) >= run.limit:
            # It was cut off after its last record and before its end.
            run = replace(run, state="SUCCEEDED", stage="done", end_us=tx.now_us)
        elif run.cancel_requested:
            run = replace(run, state="CANCELLED", stage="done", end_us=tx.now_us)
        run = begun(run, config)
        tx.runs.update(config.workspace, run)
        tx.signal(config.workspace, "runs")
        return run if run.state == "RUNNING" else None

    async def _let_intake_pass(self, workspace: str) -> None:
        """Wait, within reason, for changes from before the run: what was written first is segmented first."""
        upto = await self._runtime.read(lambda tx: tx.pending.last_number(workspace))
        for _ in range(INTAKE_LOOKS):
            oldest = await self._runtime.read(lambda tx: tx.pending.oldest(workspace, 1))
            if not oldest or oldest[0].number > upto:
                return
            await asyncio.sleep(INTAKE_POLL_S)

    async def _execute(self, config: WorkspaceConfig, lease: Lease, run: Run) -> None:
        await self._let_intake_pass(config.workspace)
        after: Place | None = None
        told: Sequence[Handed] = ()
        try:
            while True:
                async with AsyncExitStack() as stack:
                    planned = await self._plan(config, run, stack, after)
                    if planned is None:
                        await self._end(config, lease, run, "CANCELLED")
                        return
                    kind = Saying if only_says(run) else Doing if mode_of(run) == APPLY else Commitment
                    commitment = kind(self._runtime, config, lease, planned, run.run_id, told)
                    went_on = await self._commit(config, run, planned, commitment)
                    commitment.tell(run.kind)
                after, told = planned.plan.next_after, commitment.digests.told
                run = await self._runtime.read(partial(_stored_run, config.workspace, run.run_id))
                if not went_on or after is None or run.state != "RUNNING":
                    return
        except WorkerKilled:
            self._deaths[run.run_id] += 1
            if self._deaths[run.run_id] >= MOST_DEATHS:
                raise
            # The run stays RUNNING and is taken up again.

    async def _plan(self, config: WorkspaceConfig, run: Run, stack: AsyncExitStack, after: Place | None) -> Planned | None:
        """Return the plan of a run's next batch, which `stack` keeps open; None if it was asked to stop."""
        selection = bytes.fromhex(run.selection or "")
        if mode_of(run) == APPLY:
            # Whoever came since takes no part.
            ids = await self._runtime.read(lambda tx: tx.previews.record_ids(config.workspace, run.run_id))
            only = run_pb2.RunSelection.FromString(selection)
            only.record_ids[:] = ids or [""]
            selection = only.SerializeToString(deterministic=True)
        task = Task(
            config.workspace,
            self._runtime.clock.now_us(),
            run.kind,
            run.run_id,
            selection=selection,
            limit=run.limit - _given(run) if run.limit else 0,
            cause=run.cause,
            # A batch that is not committed would not be seen by the next.
            most=0 if mode_of(run) else self._runtime.settings.run_batch_records,
            after=after,
            seed=run.seed,
            applies=mode_of(run) == APPLY,
        )
        limit_s = run.time_limit_us / 1e6 if run.time_limit_us else self._runtime.settings.solve_time_limit_s
        asked = planned_of(self._worker, task, lambda stage: self._board.tell(run.run_id, Progress(stage)), limit_s)
        planning = asyncio.ensure_future(stack.enter_async_context(asked))
        self._planning = (config.workspace, run.run_id, planning)
        try:
            # Whoever asked for the stop before this point has found nothing to cancel.
            stopped = await self._runtime.read(lambda tx: tx.runs.get(config.workspace, run.run_id).cancel_requested)
            if stopped:
                planning.cancel()
            return await planning
        except asyncio.CancelledError:
            here = asyncio.current_task()
            if here is not None and here.cancelling():
                raise
            return None
        finally:
            self._planning = None
            planning.cancel()

    async def _commit(self, config: WorkspaceConfig, run: Run, planned: Planned, commitment: Commitment) -> bool:
        plan, workspace, before = planned.plan, config.workspace, Counter(run.counts)
        loop = asyncio.get_running_loop()

        def may_go_on(tx: WriteTransaction) -> bool:
            return not tx.runs.get(workspace, run.run_id).cancel_requested

        def told(tx: WriteTransaction, counts: Counter[str]) -> None:
            tx.runs.update(workspace, replace(run, stage="commit", counts=dict(before + counts)))
            loop.call_soon_threadsafe(partial(self._board.tell, run.run_id, Progress("commit", commitment.done, plan.records)))

        def finish(tx: WriteTransaction, counts: Counter[str], stopped: bool) -> None:
            if mode_of(run) == APPLY:
                counts = counts + Counter(lost=note_dropped(tx, config, run.run_id, stopped=stopped))
            final = ended(run, plan, before + counts, tx.now_us)
            enough = 0 < run.limit <= _given(final)
            if stopped:
                final = replace(final, state="CANCELLED")
            elif only_says(run):
                final = previewed(tx, config, final)
            elif plan.next_after is not None and not enough:
                final = replace(final, state="RUNNING", stage="read", end_us=None)
            if final.state in ENDED and mode_of(run) != APPLY:
                tx.previews.clear(workspace, run.run_id)
            if plan.input:
                tx.inputs.keep(workspace, run.run_id, (final.body or {}).get("batches", 1), plan.input, tx.now_us)
            tx.runs.update(workspace, final)
            tx.signal(workspace, "runs")

        return await commitment.carry_out(finish, may_go_on, told)

    async def _end(self, config: WorkspaceConfig, lease: Lease, run: Run, state: str, failure: str = "") -> None:
        def end(tx: WriteTransaction) -> None:
            counts = tx.runs.get(config.workspace, run.run_id).counts
            done = replace(run, state=state, failure=failure, stage="done", end_us=tx.now_us, counts=counts)
            tx.runs.update(config.workspace, done)
            tx.signal(config.workspace, "runs")

        await self._runtime.write(config.workspace, end, lease)


def _given(run: Run) -> int:
    """Return how many records a run has assigned or offered so far: what its limit is about."""
    return run.counts.get("assigned", 0) + run.counts.get("offered", 0)


def new_run_id() -> str:
    """Return the id of a new run."""
    return f"run-{secrets.token_hex(8)}"


@asynccontextmanager
async def planned_of(worker: Planning, task: Task, on_stage: Callable[[str], None], limit_s: float) -> AsyncIterator[Planned]:
    """Give the plan of a task; at the time limit, that of the sequential rule.

    Raises:
        WorkerFailed: the task raised.
        WorkerKilled: the worker ended before it answered.
    """
    async with AsyncExitStack() as stack:
        try:
            planned = await stack.enter_async_context(worker.plan(task, on_stage, limit_s))
        except TimeoutError:
            log.warning("time limit reached", run=task.run_id, seconds=limit_s)
            planned = await stack.enter_async_context(worker.plan(replace(task, sequential=True), on_stage))
        yield planned


def _stored_run(workspace: str, run_id: str, tx: ReadTransaction) -> Run:
    return tx.runs.get(workspace, run_id)


def ended(run: Run, plan: Plan, counts: Counter[str], now_us: int) -> Run:
    """Return a run that has done its work; one that was planned in batches says of each level to which it belongs."""
    earlier = run.body or {}
    batch = earlier.get("batches", 0) + 1
    in_batches = batch > 1 or plan.next_after is not None
    digests = [*(earlier.get("digests") or ()), plan.digest]
    seconds = Counter(earlier.get("seconds") or {})
    seconds.update(plan.seconds)
    proven = plan.termination if not in_batches or plan.termination[0] == "FEASIBLE" else ("FEASIBLE", "BATCHES")
    body: dict[str, Any] = {
        **({"mode": earlier["mode"]} if earlier.get("mode") else {}),
        "batches": batch,
        "levels": [*(earlier.get("levels") or ()), *([*level, batch if in_batches else 0] for level in plan.levels)],
        "termination": list(proven),
        "solver": plan.solver,
        "seconds": dict(seconds),
        "config_version": plan.config_version,
        "digests": digests,
        "digest": joined_digest(digests),
    }
    numbers = {name: number for name, number in sorted(counts.items()) if number}
    return replace(run, state="SUCCEEDED", stage="done", end_us=now_us, counts=numbers, body=body)


def selection_text(selection: run_pb2.RunSelection) -> str:
    """Return a selection in the form that a run keeps."""
    return selection.SerializeToString(deterministic=True).hex()
