"""Worker processes: where batches are read, planned and solved, away from the event loop (a flow solve holds the GIL).

A worker is a spawned process with a pipe. It keeps nothing between tasks but caches. Cancelling a task, or reaching its time limit,
kills the process; the next task starts a fresh one. A plan's moves come in pieces.
A worker whose server died reads the end of its pipe and ends.
"""

import asyncio
import signal
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from reallot.server.processes import PipedProcess, readable
from reallot.server.road.batch import Piece, Plan, Planned, Task
from reallot.storage.errors import StorageUnavailable

Message = tuple[Literal["stage", "plan", "piece", "end", "error"], Any]


class WorkerFailed(RuntimeError):
    """A task failed in the worker; carries the text of its traceback. `kind` is the name of the exception's class."""

    def __init__(self, kind: str, text: str, trace: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.trace = trace


class WorkerKilled(RuntimeError):
    """The worker ended before it answered: cancelled, out of time, or killed from outside."""


@dataclass(frozen=True)
class _Start:
    url: str


def _main(pipe: Connection, start: _Start) -> None:
    """Serve tasks until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from reallot.server.garbage import collect_seldom
    from reallot.server.road.solve import solve_task
    from reallot.server.snapshots import Snapshots

    collect_seldom()
    snapshots = Snapshots(start.url)

    def run(task: Task) -> tuple[Plan, Iterator[Piece]]:
        return snapshots.read(task.workspace, lambda tx, config: solve_task(tx, config, task, lambda stage: pipe.send(("stage", stage))))

    while True:
        try:
            task = pipe.recv()
        except (EOFError, ConnectionResetError):
            return
        try:
            plan, pieces = run(task)
            pipe.send(("plan", plan))
            for piece in pieces:
                pipe.send(("piece", piece))
            pipe.send(("end", None))
        except BrokenPipeError:
            return
        except Exception as error:
            pipe.send(("error", (type(error).__name__, str(error), traceback.format_exc())))


class Worker:
    """One worker process and its pipe. Runs one task at a time; belongs to the event loop."""

    def __init__(self, url: str) -> None:
        self._process = PipedProcess(_main, _Start(url), name="reallot-worker")
        self._busy = asyncio.Lock()

    async def warm_up(self) -> None:
        """Start the process, so that the first task need not wait for it."""
        async with self._busy:
            await self._process.started()

    @property
    def process_id(self) -> int | None:
        """Number of the process; None while there is none."""
        return self._process.process_id

    @property
    def restarts(self) -> int:
        """How often the process was started after the first time."""
        return max(0, self._process.starts - 1)

    @asynccontextmanager
    async def plan(self, task: Task, on_stage: Callable[[str], None], time_limit_s: float | None = None) -> AsyncIterator[Planned]:
        """Run a task and give its plan; whoever leaves with more than one piece to come kills the process.

        The moves are written up while earlier ones are committed: the worker is at most two pieces ahead.

        Raises:
            WorkerFailed: the task raised.
            WorkerKilled: the worker ended before it answered.
            StorageUnavailable: the worker could not read the database.
            TimeoutError: the time limit was reached before the plan was made; the worker was killed.
        """
        async with self._busy:
            pipe = await self._process.started()
            messages = self._messages(pipe, task)
            pieces = _Pieces(messages)
            try:
                async with asyncio.timeout(time_limit_s):
                    plan = await _first_of(messages, on_stage)
                async with aclosing(pieces.ahead()) as ahead:
                    yield Planned(plan, ahead)
                    # One piece more is sooner heard than a process started.
                    if not pieces.ended and await anext(ahead, None) is not None:
                        await anext(ahead, None)
            except (WorkerFailed, StorageUnavailable):
                pieces.ended = True
                raise
            finally:
                if not pieces.ended:
                    self._process.kill()

    async def _messages(self, pipe: Connection, task: Task) -> AsyncIterator[Message]:
        """Send a task, and yield what the worker says of it, up to its end."""
        try:
            await asyncio.to_thread(pipe.send, task)
            while True:
                await readable(pipe)
                # Unpacking takes a while, and a message may still be on its way: not on the loop.
                message: Message = await asyncio.to_thread(pipe.recv)
                if message[0] == "error":
                    raise _failure(*message[1])
                if message[0] == "end":
                    return
                yield message
        except (EOFError, OSError) as error:
            raise WorkerKilled("the worker ended before it answered") from error

    def close(self) -> None:
        """End the process for good."""
        self._process.kill()


def _failure(kind: str, text: str, trace: str) -> Exception:
    return StorageUnavailable(text) if kind == StorageUnavailable.__name__ else WorkerFailed(kind, text, trace)


async def _first_of(messages: AsyncIterator[Message], on_stage: Callable[[str], None]) -> Plan:
    async for kind, content in messages:
        if kind == "plan":
            plan: Plan = content
            return plan
        on_stage(content)
    raise WorkerKilled("the worker ended its answer before the plan")


class _Pieces:
    """The pieces of one answer. `ended`: the worker has said all and waits for the next task."""

    def __init__(self, messages: AsyncIterator[Message]) -> None:
        self._messages = messages
        self.ended = False

    async def ahead(self) -> AsyncGenerator[Piece]:
        """Yield the pieces, each while the next is on its way already."""
        following = asyncio.ensure_future(self._next())
        try:
            while (message := await following) is not None:
                following = asyncio.ensure_future(self._next())
                yield message[1]
            self.ended = True
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _next(self) -> Message | None:
        return await anext(self._messages, None)
