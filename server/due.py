"""Loops that do something when the clock comes to an instant that stands in the database, in all workspaces that this server works.

The instants were written with what they follow from, so a server that was down makes up for what it missed.
"""

from abc import ABC, abstractmethod
from functools import partial

import structlog

from reallot.server.clock import MICROSECONDS
from reallot.server.runtime import Runtime
from reallot.server.wake import Rest, Wake
from reallot.storage import ReadTransaction, WriteTransaction

log = structlog.get_logger("reallot.due")

BATCH = 1_000
"""Most of what is due that one commit deals with."""
AFTER_FAULT_US = 5 * MICROSECONDS


class DueLoop(ABC):
    """Deals with what is due. Belongs to the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._rest = Rest(runtime.clock)

    @property
    def wake(self) -> Wake:
        """Has it look at once."""
        return self._rest.wake

    @property
    def busy(self) -> bool:
        """Whether it is at work or will be: not yet waiting for the next instant."""
        return self._rest.is_over

    @abstractmethod
    def next_due(self, tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return the first instant at which something of each workspace is due."""

    @abstractmethod
    def deal(self, tx: WriteTransaction, workspace: str) -> int:
        """Deal with up to BATCH of what is due; return how many were."""

    async def run_forever(self) -> None:
        """Look until cancelled."""
        while True:
            self._rest.rise()
            try:
                due_us = await self._deal_with_due()
            except Exception:
                log.exception("what is due could not be read", loop=type(self).__name__)
                due_us = self._runtime.clock.now_us() + AFTER_FAULT_US
            await self._rest.until(due_us)

    async def _deal_with_due(self) -> int | None:
        """Deal with everything that is due, but in paused workspaces, which wake this loop when they go on; return when the next is."""
        later: list[int] = []
        for workspace, due_us in await self._runtime.read(self.next_due):
            if due_us > self._runtime.clock.now_us():
                later.append(due_us)
                continue
            lease = self._runtime.leases.of(workspace)
            if lease is None or (await self._runtime.config(workspace)).settings.paused:
                continue
            try:
                while await self._runtime.write(workspace, partial(self.deal, workspace=workspace), lease) == BATCH:
                    pass
            except Exception:
                # One workspace must not keep the others waiting.
                log.exception("what is due could not be dealt with", loop=type(self).__name__, workspace=workspace)
                later.append(self._runtime.clock.now_us() + AFTER_FAULT_US)
                continue
            following = dict(await self._runtime.read(self.next_due)).get(workspace)
            later += [following] if following is not None else []
        return min(later, default=None)
