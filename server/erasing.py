"""Carries out removals to their end: whether the caller waits, has left, or the server that began was killed.

Belongs to the event loop. A removal runs as a task of its own; who asks for one that is under way waits for that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import structlog
from google.protobuf.message import Message

from reallot.server.access.acting import ACT, Act
from reallot.server.runtime import Runtime
from reallot.server.wake import Wake
from reallot.storage.entities import Signature
from reallot.storage.erasures import Erasure

log = structlog.get_logger("reallot.erasing")

LOOK_S = 5.0
"""How often it looks for what was left behind."""
Erase = Callable[[Runtime, Erasure], Awaitable[Message]]


class Eraser:
    """All removals of this server."""

    def __init__(self, runtime: Runtime, kinds: Mapping[str, Erase]) -> None:
        """Prepare.

        Args:
            runtime: Of the server.
            kinds: What carries out a removal, by the first word of its subject.
        """
        self._runtime = runtime
        self._kinds = kinds
        self._tasks: dict[tuple[str, str], asyncio.Task[Message]] = {}
        self.wake = Wake()

    async def finished(self, erasure: Erasure) -> Any:
        """Carry out a removal that was noted, or wait for it, and return its answer. It goes on if whoever waits is cancelled."""
        return await asyncio.shield(self._started(erasure))

    async def run_forever(self) -> None:
        """Finish what was left behind, until cancelled."""
        while True:
            try:
                await self._resume()
            except Exception:
                log.exception("what was left to be removed was not looked for")
            await self.wake.wait(LOOK_S)

    async def close(self) -> None:
        """Stop; what is not finished is by the next server."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resume(self) -> None:
        me = self._runtime.db.replica_id
        for erasure in await self._runtime.read(lambda tx: tx.erasures.left_behind(me)):
            if (erasure.workspace, erasure.subject) in self._tasks:
                continue
            if await self._runtime.write("", partial(_taken_over, erasure, me)):
                log.info("a removal goes on", workspace=erasure.workspace, subject=erasure.subject.partition(":")[0])
                self._started(erasure)

    def _started(self, erasure: Erasure) -> "asyncio.Task[Message]":
        key = erasure.workspace, erasure.subject
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(self._carry_out(erasure))
            task.add_done_callback(partial(self._ended, key))
        return task

    async def _carry_out(self, erasure: Erasure) -> Message:
        ACT.set(Act(Signature(**erasure.state["signature"])))
        return await self._kinds[erasure.subject.partition(":")[0]](self._runtime, erasure)

    def _ended(self, key: tuple[str, str], task: "asyncio.Task[Message]") -> None:
        del self._tasks[key]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a removal was interrupted, and is tried again", workspace=key[0], exc_info=error)


def _taken_over(erasure: Erasure, replica: str, tx: Any) -> bool:
    return erasure.replica == replica or bool(tx.erasures.take_over(erasure, replica))


def signature_of_call() -> dict[str, str]:
    """Return who signs for the present call, in a form that can be kept."""
    act = ACT.get()
    signature = act.signature if act is not None else Signature("", "", "")
    return {name: getattr(signature, name) for name in ("principal", "origin", "method", "on_behalf_of", "remark")}
