"""Worker processes: where batches are read, planned and solved, away from the event loop (a flow solve holds the GIL).

A worker is a spawned process with a pipe. It keeps nothing between tasks but caches. Cancelling a task, or reaching its time limit,
kills the process; the next task starts a fresh one. A plan's moves come in pieces.
A worker whose server died reads the end of its pipe and ends.
"""

import asyncio
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

from reallot.server.road.batch import Piece, Plan, Planned, Task
from reallot.storage.errors import StorageError, StorageUnavailable

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
    from reallot.server.workspace_config import WorkspaceConfig
    from reallot.storage import Database, ReadTransaction

    collect_seldom()
    database: Database | None = None
    configs: dict[str, WorkspaceConfig] = {}

    def config_of(tx: ReadTransaction, workspace: str) -> WorkspaceConfig:
        version = tx.config.version(workspace)
        if workspace not in configs or configs[workspace].version != version:
            configs[workspace] = WorkspaceConfig.of(workspace, version, tx.config.resources(workspace))
        return configs[workspace]

    def run(task: Task) -> tuple[Plan, Iterator[Piece]]:
        nonlocal database
        if database is None:
            # Here, so that a database that cannot be opened at the moment fails the task and not the worker.
            try:
                database = Database(start.url, clock_us=lambda: 0, read_only=True, readers=1)
            except StorageError as error:
                raise StorageUnavailable(str(error)) from error
        return database.read(lambda tx: solve_task(tx, config_of(tx, task.workspace), task, lambda stage: pipe.send(("stage", stage))))

    while True:
        try:
            task = pipe.recv()
        except EOFError:
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
        self._start = _Start(url)
        self._context = multiprocessing.get_context("spawn")
        self._process: Any = None
        self._pipe: Connection | None = None
        self._busy = asyncio.Lock()
        # A start goes on in its thread when its task is cancelled; the next must not start beside it.
        self._starting = threading.Lock()

    async def warm_up(self) -> None:
        """Start the process, so that the first task need not wait for it."""
        async with self._busy:
            await asyncio.to_thread(self._ensure)

    @property
    def process_id(self) -> int | None:
        """Number of the process; None while there is none."""
        return self._process.pid if self._process is not None else None

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
            pipe = await asyncio.to_thread(self._ensure)
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
                    self._kill()

    async def _messages(self, pipe: Connection, task: Task) -> AsyncIterator[Message]:
        """Send a task, and yield what the worker says of it, up to its end."""
        try:
            await asyncio.to_thread(pipe.send, task)
            while True:
                await _readable(pipe)
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
        self._kill()

    def _ensure(self) -> Connection:
        with self._starting:
            if self._pipe is None or not self._process.is_alive():
                self._kill()
                ours, theirs = self._context.Pipe()
                self._process = self._context.Process(target=_main, args=(theirs, self._start), daemon=True, name="reallot-worker")
                self._process.start()
                theirs.close()
                self._pipe = ours
            return self._pipe

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None


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


async def _readable(pipe: Connection) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    descriptor = pipe.fileno()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
        # uvloop leaves a descriptor that it watched non-blocking; a long message would then be read only in part.
        os.set_blocking(descriptor, True)
