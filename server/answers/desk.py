"""Where questions about plans are answered: processes of their own, because a solve holds the interpreter.

A process keeps the database open and compiled configurations from one question to the next. It is killed when its caller leaves or its
time is up.
"""

import asyncio
import signal
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Literal

import grpc

from reallot.server.errors import ApiError, Violation, failed_precondition
from reallot.server.processes import PipedProcess, readable
from reallot.server.workers import WorkerFailed, WorkerKilled

MOST_WAITING = 64
"""Questions that may wait for a process."""
AGAIN_S = 1.0


@dataclass(frozen=True)
class Question:
    """What is asked: the name of an answer and the request as bytes, as of an instant; `language` as of the call (see `LANGUAGE`)."""

    name: str
    workspace: str
    now_us: int
    request: bytes
    language: str = ""


def _main(pipe: Connection, url: str, languages_folder: str) -> None:
    """Answer questions until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from reallot.server.answers.questions import answered
    from reallot.server.garbage import collect_seldom
    from reallot.server.languages import LANGUAGES
    from reallot.server.snapshots import Snapshots

    collect_seldom()
    LANGUAGES.add_folder(languages_folder)
    snapshots = Snapshots(url)
    while True:
        try:
            question: Question = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send(_said(snapshots, question, answered))
        except BrokenPipeError:
            return


def _said(snapshots: Any, question: Question, answered: Any) -> tuple[Literal["done", "refused", "error"], Any]:
    from reallot.server.errors import to_api_error
    from reallot.server.languages import LANGUAGE
    from reallot.solver.segmentation import TooManyPairs
    from reallot.storage.errors import StorageError

    LANGUAGE.set(question.language)
    try:
        return "done", snapshots.read(question.workspace, lambda tx, config: answered(tx, config, question))
    except TooManyPairs as error:
        return "refused", _fields(failed_precondition("TOO_MANY_PAIRS", str(error)))
    except (ApiError, StorageError) as error:
        return "refused", _fields(to_api_error(error))
    except Exception as error:
        return "error", (type(error).__name__, str(error), traceback.format_exc())


def _fields(error: ApiError) -> tuple[Any, ...]:
    violations = [(v.field, v.description, v.reason) for v in error.violations]
    return (error.code.name, error.reason, error.text, error.metadata, violations, error.retry_after_s)


def _refusal(code: str, reason: str, text: str, metadata: dict[str, str], violations: list[Any], retry_after_s: float | None) -> ApiError:
    faults = [Violation(*violation) for violation in violations]
    return ApiError(grpc.StatusCode[code], reason, text, metadata=metadata, violations=faults, retry_after_s=retry_after_s)


class QuestionDesk:
    """The processes in which questions are answered, as many at once as may be; others wait. Belongs to the event loop."""

    def __init__(self, url: str, most: int, limit_s: float, languages_folder: str = "") -> None:
        """Answer up to `most` questions at once, each within `limit_s`; the folder is that of further languages."""
        self._arguments = (url, languages_folder)
        self._limit_s = limit_s
        self._free = asyncio.Semaphore(most)
        self._waiting = 0
        self._idle: list[PipedProcess] = []
        self._made: set[PipedProcess] = set()

    def close(self) -> None:
        """End all processes for good."""
        for process in self._made:
            process.kill()
        self._made.clear()
        self._idle.clear()

    async def ask(self, question: Question) -> bytes:
        """Return the answer to a question. Whoever leaves before kills the process.

        Raises:
            ApiError: it cannot be answered, it takes too long, or too many wait.
            WorkerFailed: the process failed.
            WorkerKilled: the process ended before it answered.
        """
        if self._waiting >= MOST_WAITING:
            text = f"{self._waiting} questions wait already"
            raise ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER_BUSY", text, metadata={"limit": "questions"}, retry_after_s=AGAIN_S)
        self._waiting += 1
        try:
            await self._free.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self._asked(question)
        finally:
            self._free.release()

    async def _asked(self, question: Question) -> bytes:
        process = self._idle.pop() if self._idle else PipedProcess(_main, *self._arguments, name="reallot-answers")
        self._made.add(process)
        ended = False
        try:
            pipe = await process.started()
            async with asyncio.timeout(self._limit_s):
                await asyncio.to_thread(pipe.send, question)
                await readable(pipe)
                said, content = await asyncio.to_thread(pipe.recv)
            ended = True
        except TimeoutError:
            text = f"the question was not answered within {self._limit_s:g} s: ask about fewer records"
            raise ApiError(grpc.StatusCode.DEADLINE_EXCEEDED, "TIME_LIMIT", text, metadata={"limit": "solve_time_limit_s"}) from None
        except (EOFError, OSError) as error:
            raise WorkerKilled("the process ended before it answered") from error
        finally:
            if ended:
                self._idle.append(process)
            else:
                process.kill()
                self._made.discard(process)
        if said == "refused":
            raise _refusal(*content)
        if said == "error":
            raise WorkerFailed(*content)
        answer: bytes = content
        return answer
