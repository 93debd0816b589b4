"""The loop that carries enrollments on: steps fall due or are overdue, pauses end, forks are decided, records and owners have changed.

When a record's steps are to be looked at stands in the database, written with what makes that necessary. A look and what follows from it
are one commit, under the workspace's lease: a server that was down makes up for what it missed, and nothing is told twice.
"""

from functools import partial

import structlog

from reallot.server.clock import MICROSECONDS
from reallot.server.passages import attend
from reallot.server.runtime import Runtime
from reallot.server.wake import Rest, Wake
from reallot.storage import WriteTransaction
from reallot.storage.errors import LeaseLost, StorageUnavailable
from reallot.storage.leases import Lease
from reallot.storage.steps import StepLook

log = structlog.get_logger("reallot.steps")

BATCH = 200
"""Most records that one commit looks at."""
AFTER_FAULT_US = 5 * MICROSECONDS
SET_ASIDE_US = 300 * MICROSECONDS
"""When a record is looked at again whose look has failed."""


class StepLoop:
    """Looks at what is due, in all workspaces that this server works. Belongs to the event loop."""

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

    async def run_forever(self) -> None:
        """Look until cancelled."""
        while True:
            self._rest.rise()
            try:
                due_us = await self.look()
            except Exception:
                log.exception("looking at steps failed")
                due_us = self._runtime.clock.now_us() + AFTER_FAULT_US
            await self._rest.until(due_us)

    async def look(self) -> int | None:
        """Look at everything that is due, but in paused workspaces, which wake this loop when they go on; return when the next is."""
        later: list[int] = []
        for workspace, due_us in await self._runtime.read(lambda tx: tx.steps.next_due()):
            if due_us > self._runtime.clock.now_us():
                later.append(due_us)
                continue
            lease = self._runtime.leases.of(workspace)
            if lease is None or (await self._runtime.config(workspace)).settings.paused:
                continue
            try:
                while await self._look_at_some(workspace, lease):
                    pass
            except Exception:
                # One workspace must not keep the others waiting.
                log.exception("looking at steps failed", workspace=workspace)
                later.append(self._runtime.clock.now_us() + AFTER_FAULT_US)
                continue
            following = dict(await self._runtime.read(lambda tx: tx.steps.next_due())).get(workspace)
            later += [following] if following is not None else []
        return min(later, default=None)

    async def _look_at_some(self, workspace: str, lease: Lease) -> bool:
        """Look at a part of what is due; return whether there was anything."""
        looks = await self._runtime.read(lambda tx: tx.steps.due(workspace, self._runtime.clock.now_us(), BATCH))
        try:
            await self._runtime.write(workspace, partial(self._attend, workspace=workspace, most=BATCH), lease)
        except (StorageUnavailable, LeaseLost):
            raise
        except Exception as error:
            log.warning("a part is looked at one by one", workspace=workspace, exc_info=error)
            for look in looks:
                await self._look_at_one(workspace, lease, look)
        return bool(looks)

    async def _look_at_one(self, workspace: str, lease: Lease, look: StepLook) -> None:
        try:
            await self._runtime.write(workspace, lambda tx: attend(tx, self._runtime.configs.of(tx, workspace), [look]), lease)
        except (StorageUnavailable, LeaseLost):
            raise
        except Exception:
            # It must not keep the others waiting.
            log.exception("the steps of a record cannot be looked at", workspace=workspace, record=look.record_id)
            again_us = self._runtime.clock.now_us() + SET_ASIDE_US
            await self._runtime.write(workspace, lambda tx: tx.steps.plan(workspace, {look.record_id: again_us}), lease)

    def _attend(self, tx: WriteTransaction, workspace: str, most: int) -> None:
        looks = tx.steps.due(workspace, tx.now_us, most)
        if looks:
            attend(tx, self._runtime.configs.of(tx, workspace), looks)
