"""Where problems of the caller's own are solved: processes of their own, because a solve holds the interpreter.

A request's messages go to the process as the bytes they came in, and only there become columns; answers come back as bytes too. A
process is kept for the next problem when it has answered, and killed when its caller leaves or its time is up.
"""

import asyncio
import pickle  # nosec B403 # see its use below
import signal
import threading
import traceback
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import grpc

from reallot.server.errors import ApiError, invalid_field
from reallot.server.processes import PipedProcess, readable
from reallot.server.workers import WorkerFailed, WorkerKilled

Kind = Literal["solve", "check"]
Said = Literal["progress", "done", "invalid", "error"]
AGAIN_S = 1.0
"""When a caller may try again whom a busy server has refused."""
GRACE_S = 30.0
"""How long beyond its time limit a solve may take, before its process is killed."""


@dataclass(frozen=True)
class Job:
    """What a process is asked: the parts of the problem follow as bytes, and an empty message ends them."""

    kind: Kind
    time_limit_s: float
    seed: int
    fairness: int = 0
    price_steps: int = 0


def _main(pipe: Connection) -> None:
    """Serve jobs until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from reallot.solver.problems.compiling import prepare

    # The first machine-wide compilation should not come out of a caller's time limit.
    prepare()
    while True:
        try:
            job: Job = pipe.recv()
            parts = list(iter(pipe.recv_bytes, b""))
        except EOFError:
            return
        try:
            _say(pipe, *_answered(pipe, job, parts))
        except BrokenPipeError:
            return
        except Exception as error:
            _say(pipe, "error", pickle.dumps((type(error).__name__, str(error), traceback.format_exc())))


def _answered(pipe: Connection, job: Job, parts: list[bytes]) -> tuple[Said, bytes]:
    """Return the answer to a job, with progress on the way."""
    import numpy as np

    from reallot.server.convert.problems import checked_message, progress_message, solution_message, to_fairness, to_problem
    from reallot.solver.problems import InvalidProblem, Progress, solve
    from reallot.v1 import solver_service_pb2 as pb

    lock = threading.Lock()

    def told(progress: Progress) -> None:
        with lock:
            _say(pipe, "progress", progress_message(progress).SerializeToString())

    kind: Any = pb.SolveRequest if job.kind == "solve" else pb.CheckPlanRequest
    messages = [kind.FromString(part) for part in parts]
    parts.clear()
    try:
        problem = to_problem(messages)
    except InvalidProblem as error:
        return "invalid", pickle.dumps((error.field, error.text))
    if job.kind == "check":
        chosen = np.array([pair for message in messages for pair in message.chosen], dtype=np.int64)
        return "done", checked_message(problem, chosen).SerializeToString()
    messages.clear()
    fairness: Any = job.fairness
    try:
        solution = solve(
            problem,
            time_limit_s=job.time_limit_s,
            seed=job.seed,
            on_progress=told,
            fairness=to_fairness(fairness),
            price_steps=job.price_steps,
        )
    except InvalidProblem as error:
        return "invalid", pickle.dumps((error.field, error.text))
    return "done", solution_message(solution).SerializeToString()


def _say(pipe: Connection, said: Said, content: bytes) -> None:
    pipe.send_bytes(said.encode() + b" " + content)


class SolvingDesk:
    """The processes in which problems are solved, as many at once as may be. Belongs to the event loop."""

    def __init__(self, most: int) -> None:
        """Allow `most` problems at once."""
        self._most = most
        self._busy = 0
        self._idle: list[PipedProcess] = []
        self._made: set[PipedProcess] = set()

    def close(self) -> None:
        """End all processes for good."""
        for process in self._made:
            process.kill()
        self._made.clear()
        self._idle.clear()

    @property
    def process_ids(self) -> list[int]:
        """Numbers of the processes that are there."""
        return [process.process_id for process in self._made if process.process_id is not None]

    async def answers(self, job: Job, parts: AsyncIterator[bytes]) -> AsyncIterator[tuple[Said, bytes]]:
        """Yield what a process says of a job: progress, then what it has done. Whoever leaves before the end kills the process.

        Raises:
            ApiError: the problem cannot be understood, or too many are being solved.
            WorkerFailed: the process failed.
            WorkerKilled: the process ended before it answered.
            TimeoutError: it took far longer than its time limit.
        """
        if self._busy >= self._most:
            text = f"{self._busy} problems are being solved, as many as may be at once"
            metadata = {"limit": "most_solves"}
            raise ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY", text, metadata=metadata, retry_after_s=AGAIN_S)
        self._busy += 1
        process = self._idle.pop() if self._idle else PipedProcess(_main, name="reallot-solver")
        self._made.add(process)
        ended = False
        try:
            pipe = await process.started()
            await _send(pipe, job, parts)
            async with asyncio.timeout(job.time_limit_s + GRACE_S):
                async for said, content in _heard(pipe):
                    ended = said != "progress"
                    yield _understood(said, content)
        except (EOFError, OSError) as error:
            raise WorkerKilled("the process ended before it answered") from error
        finally:
            self._busy -= 1
            if ended:
                self._idle.append(process)
            else:
                process.kill()
                self._made.discard(process)


async def _send(pipe: Connection, job: Job, parts: AsyncIterator[bytes]) -> None:
    await asyncio.to_thread(pipe.send, job)
    async for part in parts:
        if part:
            await asyncio.to_thread(pipe.send_bytes, part)
    await asyncio.to_thread(pipe.send_bytes, b"")


async def _heard(pipe: Connection) -> AsyncIterator[tuple[Any, bytes]]:
    """Yield what a process says, up to its last word."""
    said = b"progress"
    while said == b"progress":
        await readable(pipe)
        said, _, content = (await asyncio.to_thread(pipe.recv_bytes)).partition(b" ")
        yield said.decode(), content


def _understood(said: Said, content: bytes) -> tuple[Said, bytes]:
    if said == "invalid":
        field, text = pickle.loads(content)  # nosec B301 # sent by a worker that this server started
        raise invalid_field(field, text)
    if said == "error":
        raise WorkerFailed(*pickle.loads(content))  # nosec B301 # the same
    return said, content
