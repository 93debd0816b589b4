"""Reads that come while others of their kind are under way wait for these, and are then answered by one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Asked(NamedTuple, Generic[Item, Answer]):
    item: Item
    answer: "asyncio.Future[Answer]"


class Gathering(Generic[Item, Answer]):
    """One line a workspace. Belongs to the event loop."""

    def __init__(self, together: Callable[[str, Sequence[Item]], Awaitable[Sequence[Answer]]]) -> None:
        """Gather what `together` is asked for: it answers some items of a workspace in their order."""
        self._together = together
        self._lines: dict[str, list[_Asked[Item, Answer]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, workspace: str, item: Item) -> Answer:
        """Return the answer to an item. Whoever stops waiting before it is read is left out."""
        line = self._lines.get(workspace)
        if line is None:
            line = self._lines[workspace] = []
            # It begins after this turn of the loop, so that what arrived in the same turn is together from the first.
            task = asyncio.create_task(self._work_off(workspace, line))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        asked = _Asked[Item, Answer](item, asyncio.get_running_loop().create_future())
        line.append(asked)
        return await asked.answer

    async def _work_off(self, workspace: str, line: list[_Asked[Item, Answer]]) -> None:
        while some := [asked for asked in line if not asked.answer.done()]:
            line.clear()
            await self._answer(workspace, some)
        del self._lines[workspace]

    async def _answer(self, workspace: str, some: Sequence[_Asked[Item, Answer]]) -> None:
        try:
            answers = await self._together(workspace, [asked.item for asked in some])
        except Exception as error:
            for asked in some:
                if not asked.answer.done():
                    asked.answer.set_exception(error)
            return
        for asked, answer in zip(some, answers, strict=True):
            if not asked.answer.done():
                asked.answer.set_result(answer)
