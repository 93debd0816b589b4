"""The loop that has records segmented again when an answer about them can change with the clock, as that of "in the last 30 days".

The instants stand in the database, written with the pass that found them, so a server that was down makes up for what it missed.
"""

from functools import partial

import structlog

from reallot.server.clock import MICROSECONDS
from reallot.server.runtime import Runtime
from reallot.server.wake import Rest, Wake
from reallot.storage import WriteTransaction
from reallot.storage.entities import PendingMark

log = structlog.get_logger("reallot.rechecks")

BATCH = 1_000
"""Most records that one commit puts back."""
AFTER_FAULT_US = 5 * MICROSECONDS
CAUSE = {"kind": "TIME", "resegment": True}


class RecheckLoop:
    """Puts back what is due, in all workspaces that this server works. Belongs to the event loop."""

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
                due_us = await self._put_back_due()
            except Exception:
                log.exception("rechecks failed")
                due_us = self._runtime.clock.now_us() + AFTER_FAULT_US
            await self._rest.until(due_us)

    async def _put_back_due(self) -> int | None:
        """Put back everything that is due, but in paused workspaces, which wake this loop when they go on; return when the next is."""
        later: list[int] = []
        for workspace, due_us in await self._runtime.read(lambda tx: tx.rechecks.next_due()):
            if due_us > self._runtime.clock.now_us():
                later.append(due_us)
                continue
            lease = self._runtime.leases.of(workspace)
            if lease is None or (await self._runtime.config(workspace)).settings.paused:
                continue
            try:
                while await self._runtime.write(workspace, partial(put_back, workspace=workspace), lease) == BATCH:
                    pass
            except Exception:
                # One workspace must not keep the others waiting.
                log.exception("rechecks failed", workspace=workspace)
                later.append(self._runtime.clock.now_us() + AFTER_FAULT_US)
                continue
            following = dict(await self._runtime.read(lambda tx: tx.rechecks.next_due())).get(workspace)
            later += [following] if following is not None else []
        return min(later, default=None)


def put_back(tx: WriteTransaction, workspace: str) -> int:
    """Have up to BATCH records that are due segmented again; return how many were due."""
    due, active = tx.rechecks.take(workspace, tx.now_us, BATCH)
    if active:
        tx.pending.mark(workspace, [PendingMark(record_id, tx.now_us, CAUSE) for record_id in active])
        tx.signal(workspace, "pending")
    return due
