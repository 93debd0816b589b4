"""How a server and its workspaces stand: for `reallot status`, and for whoever scrapes metrics."""

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

from reallot.server.convert.records import assignment_status
from reallot.server.convert.runs import run_message
from reallot.server.convert.values import from_us, maybe_from_us
from reallot.server.door import Door
from reallot.server.meters import Meters
from reallot.server.runtime import Runtime
from reallot.server.streams import Hub
from reallot.server.workers import Worker
from reallot.storage import ReadTransaction
from reallot.storage.leases import holder_of
from reallot.storage.schema import head
from reallot.v1 import insight_service_pb2, run_pb2


@dataclass(frozen=True)
class WorkspaceStatus:
    """How the work of a workspace stands.

    Attributes:
        waiting: Active records without an owner, by assignment status.
        oldest_waiting_us: Since when the first of them has waited; None = nobody waits.
        pending: Records that changed and were not looked at yet.
        oldest_pending_us: Since when the first of them has waited; None = there is none.
        holder: Address of the server that works the workspace; "" = nobody does.
        works_here: Whether that is this server.
    """

    waiting: dict[str, int]
    oldest_waiting_us: int | None
    pending: int
    oldest_pending_us: int | None
    holder: str
    works_here: bool


@dataclass(frozen=True)
class Desk:
    """Where everything is known that shows how a server stands. Belongs to the event loop, but for `workspace` and `restarts`."""

    runtime: Runtime
    hub: Hub
    door: Door
    meters: Meters
    workers: tuple[Worker, ...]
    is_ready: Callable[[], bool]
    address: Callable[[], str]
    start_us: int

    @property
    def restarts(self) -> int:
        """How often a worker process had to be started again."""
        return sum(worker.restarts for worker in self.workers)

    def workspace(self, tx: ReadTransaction, workspace: str) -> WorkspaceStatus:
        """Return how the work of a workspace stands."""
        standing = tx.reports.unowned(workspace)
        oldest = tx.pending.oldest(workspace, 1)
        here = self.runtime.leases.of(workspace) is not None
        return WorkspaceStatus(
            {row.status: row.records for row in standing},
            min((row.since_us for row in standing), default=None),
            tx.pending.count(workspace),
            oldest[0].since_us if oldest else None,
            self.address() if here else holder_of(tx.connection, workspace),
            here,
        )

    async def answer(self, workspace: str) -> insight_service_pb2.GetStatusResponse:
        """Return how the server and one workspace stand, as callers see it."""
        now_us = self.runtime.clock.now_us()

        def read(tx: ReadTransaction) -> insight_service_pb2.GetStatusResponse:
            found = self.workspace(tx, workspace)
            return insight_service_pb2.GetStatusResponse(
                waiting=[
                    run_pb2.StatusCount(status=assignment_status(status), records=count) for status, count in sorted(found.waiting.items())
                ],
                oldest_waiting_time=maybe_from_us(found.oldest_waiting_us),
                pending=found.pending,
                oldest_pending_time=maybe_from_us(found.oldest_pending_us),
                lease_holder=found.holder,
                works_here=found.works_here,
                paused=self.runtime.configs.of(tx, workspace).settings.paused,
                runs=[run_message(run, self.runtime.speech(tx, workspace)) for run in tx.runs.unfinished(workspace)],
            )

        answer = await self.runtime.read(read)
        answer.ready = self.is_ready()
        answer.version = importlib.metadata.version("reallot")
        answer.schema = head()
        answer.engine = "postgresql" if self.runtime.db.is_shared else "sqlite"
        answer.time.CopyFrom(from_us(now_us))
        answer.start_time.CopyFrom(from_us(self.start_us))
        answer.calls, answer.streams, answer.refused = self.door.calls, self.door.streams, self.door.refused
        answer.queued_writes, answer.write_failures = self.runtime.db.waiting_writes, self.runtime.db.write_failures
        answer.worker_restarts = self.restarts
        answer.followers, answer.follower_lag = self.hub.standing(workspace)
        return answer
