"""The life of a workspace: made, named, given out as it stands at one moment, and removed piece by piece, so that others' writes pass."""

import asyncio
import threading
from collections.abc import AsyncIterator

from reallot.server.erasing import Eraser, signature_of_call
from reallot.server.exported import parts_of
from reallot.server.idempotency import answered_before, once
from reallot.server.patience import too_slow
from reallot.server.runtime import Runtime
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.entities import Json
from reallot.storage.erasures import Erasure
from reallot.storage.errors import StorageUnavailable
from reallot.storage.leases import lock_for_writing
from reallot.storage.schema import present
from reallot.storage.workspaces import CONTENT, Workspace
from reallot.v1 import workspace_service_pb2 as pb

PIECE = 1_000
"""Most rows that one commit removes, or one message gives out."""
AHEAD = 4
"""Messages that are read before they are asked for."""
SCHEMA = "schema"
"""Table, in exports, of the row that comes first: it says to which revision of the schema the others belong."""
WORKSPACE = "workspace"
"""Subject of the removal of a workspace."""
NO_WORKSPACE = ""
"""Units of work on workspaces themselves go by this name: a removed workspace takes none of its own."""


def workspace_message(found: Workspace) -> pb.Workspace:
    """Return a workspace as a message."""
    return pb.Workspace(workspace=found.workspace, display_name=found.display_name or found.workspace, last_event=found.last_event)


async def export_workspace(runtime: Runtime, workspace: str) -> AsyncIterator[pb.ExportWorkspaceResponse]:
    """Yield everything that stands in a workspace, as it is at one moment.

    Raises:
        ApiError: there is no such workspace; WATCH_TOO_SLOW, what was read is not taken.
    """
    reader = _Reader(workspace, runtime.settings.slow_after_s)
    reading = asyncio.ensure_future(runtime.read(reader.read))
    try:
        while (answer := await reader.next(reading)) is not None:
            yield answer
        await reading
    finally:
        reader.stopped.set()
        reading.cancel()


class _Reader:
    """Reads one snapshot in a thread of storage, and hands over what it reads as it is taken. Made on the event loop, for one reading."""

    def __init__(self, workspace: str, slow_after_s: float) -> None:
        self.stopped = threading.Event()
        self._workspace = workspace
        self._slow_after_s = slow_after_s
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Queue[pb.ExportWorkspaceResponse | None] = asyncio.Queue(AHEAD)
        self._begun = False

    async def next(self, reading: "asyncio.Future[None]") -> pb.ExportWorkspaceResponse | None:
        """Return what was read next; None at the end.

        Raises:
            ApiError: reading has failed.
        """
        waiting = asyncio.ensure_future(self._ready.get())
        try:
            await asyncio.wait((waiting, reading), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done() and self._ready.empty():
                await reading
                return None
            return await waiting
        finally:
            # Whoever asked may have left meanwhile.
            waiting.cancel()

    def read(self, tx: ReadTransaction) -> None:
        """Read everything; in a thread of storage."""
        if self._begun:
            # What was handed over cannot be taken back.
            raise StorageUnavailable("the connection was lost while a workspace was read")
        self._begun = True
        tx.workspaces.present(self._workspace)
        revision: Json = {"workspace": self._workspace, "revision": present(tx.connection)}
        self._put(pb.ExportWorkspaceResponse(rows=next(parts_of(SCHEMA, [revision]))))
        for table, rows in tx.workspaces.rows(self._workspace, PIECE):
            for part in parts_of(table, rows):
                self._put(pb.ExportWorkspaceResponse(rows=part))
                if self.stopped.is_set():
                    return
        self._put(None)

    def _put(self, answer: pb.ExportWorkspaceResponse | None) -> None:
        putting = asyncio.run_coroutine_threadsafe(self._ready.put(answer), self._loop)
        try:
            putting.result(self._slow_after_s)
        except TimeoutError:
            putting.cancel()
            raise too_slow() from None


async def delete_workspace(
    runtime: Runtime, eraser: Eraser, workspace: str, request: pb.DeleteWorkspaceRequest
) -> pb.DeleteWorkspaceResponse:
    """Remove everything in a workspace, which takes no writes from the first piece on; return how many rows there were.

    Raises:
        ApiError: there never was one.
    """
    if request.validate_only:
        return await runtime.read(lambda tx: _counted(tx, workspace))
    answered = await runtime.read(lambda tx: answered_before(tx, request, NO_WORKSPACE, pb.DeleteWorkspaceResponse))
    if answered is not None:
        return answered
    signature = signature_of_call()

    def begin(tx: WriteTransaction) -> Erasure:
        counts = {row.table: row.rows for row in _counted(tx, workspace).tables}
        tx.workspaces.close(locked(tx, workspace), tx.now_us)
        for topic in ("events", "config", "runs"):
            tx.signal(workspace, topic)
        state = {"signature": signature, "counts": counts}
        return tx.erasures.begin(Erasure(workspace, WORKSPACE, request.SerializeToString(), state, runtime.db.replica_id))

    answer: pb.DeleteWorkspaceResponse = await eraser.finished(await runtime.write(NO_WORKSPACE, begin))
    return answer


async def erase_workspace(runtime: Runtime, erasure: Erasure) -> pb.DeleteWorkspaceResponse:
    """Remove what is left of a workspace that was closed, and return how many rows there were."""
    workspace, request = erasure.workspace, pb.DeleteWorkspaceRequest.FromString(erasure.request)
    for table in CONTENT:
        while await runtime.write(NO_WORKSPACE, lambda tx, table=table: tx.workspaces.empty_some(table, locked(tx, workspace), PIECE)):  # type: ignore[misc]
            pass
    while await runtime.write(NO_WORKSPACE, lambda tx: tx.workspaces.blank_some(locked(tx, workspace), tx.now_us, PIECE)):
        pass
    counts = erasure.state["counts"]
    answer = pb.DeleteWorkspaceResponse(tables=[pb.TableCount(table=name, rows=rows) for name, rows in sorted(counts.items())])

    def finish(tx: WriteTransaction) -> pb.DeleteWorkspaceResponse:
        if tx.erasures.end(locked(tx, workspace), WORKSPACE) is not None:
            tx.erasures.end_all(workspace)
            tx.audit.note(workspace, [("workspace", workspace, {"rows": counts}, None)])
        return answer

    return await runtime.write(NO_WORKSPACE, once(request, NO_WORKSPACE, pb.DeleteWorkspaceResponse, finish))


def locked(tx: WriteTransaction, workspace: str) -> str:
    """Take the lock of a workspace, and return its name."""
    lock_for_writing(tx.connection, [workspace], [])
    return workspace


def _counted(tx: ReadTransaction, workspace: str) -> pb.DeleteWorkspaceResponse:
    tx.workspaces.known(workspace)
    counts = sorted(tx.workspaces.counts(workspace).items())
    return pb.DeleteWorkspaceResponse(tables=[pb.TableCount(table=name, rows=rows) for name, rows in counts])
