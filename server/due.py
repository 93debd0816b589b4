"""The loop behind everything that falls due at an instant which stands in the database, as rechecks and offers do.

Instants are written with what makes them known, so a server that was down makes up for what it missed, and what is due is taken in the
transaction that carries it out, under the workspace's lease, so that nothing is done twice.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import structlog

from reallot.server.clock import MICROSECONDS
from reallot.server.runtime import Runtime
from reallot.server.wake import Rest, Wake
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction

log = structlog.get_logger("reallot.due")

AFTER_FAULT_US = 5 * MICROSECONDS


class DueLoop(ABC):
    """Carries out what is due, in all workspaces that this server works. Belongs to the event loop.

    Attributes:
        TOPIC: Signal of a commit by which something may fall due earlier; a change of the configuration is one for every loop.
    """

    TOPIC: ClassVar[str]

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

    @staticmethod
    @abstractmethod
    def next_due(tx: ReadTransaction) -> list[tuple[str, int]]:
        """Return the workspaces in which something falls due, and when the first does in each, the earliest first."""

    @staticmethod
    @abstractmethod
    def carry_out(tx: WriteTransaction, config: WorkspaceConfig) -> bool:
        """Carry out a part of what is due in a workspace; return whether there may be more."""

    async def run_forever(self) -> None:
        """Look until cancelled."""
        while True:
            self._rest.rise()
            try:
                due_us = await self._look()
            except Exception:
                log.exception("what is due could not be carried out", loop=type(self).__name__)
                due_us = self._runtime.clock.now_us() + AFTER_FAULT_US
            await self._rest.until(due_us)

    async def _look(self) -> int | None:
        """Carry out everything that is due, but in paused workspaces, which wake this loop when they go on; return when the next is."""
        due, later = await self._runtime.read(self._due)
        for workspace in due:
            lease = self._runtime.leases.of(workspace)
            if lease is None:
                continue

            def work(tx: WriteTransaction, workspace: str = workspace) -> bool:
                return self.carry_out(tx, self._runtime.configs.of(tx, workspace))

            try:
                while await self._runtime.write(workspace, work, lease):
                    pass
            except Exception:
                # One workspace must not keep the others waiting.
                log.exception("what is due could not be carried out", loop=type(self).__name__, workspace=workspace)
                later.append(self._runtime.clock.now_us() + AFTER_FAULT_US)
                continue
            following = dict(await self._runtime.read(self.next_due)).get(workspace)
            later += [following] if following is not None else []
        return min(later, default=None)

    def _due(self, tx: ReadTransaction) -> tuple[list[str], list[int]]:
        """Return the workspaces in which something is due and which are not paused, and when it falls due in others."""
        now_us, found = self._runtime.clock.now_us(), self.next_due(tx)
        awake = self._runtime.configs.not_paused(tx, [workspace for workspace, due_us in found if due_us <= now_us])
        return [workspace for workspace, _ in found if workspace in awake], [due_us for _, due_us in found if due_us > now_us]
