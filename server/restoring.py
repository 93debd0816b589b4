"""Putting a workspace back from what was given out of it, message by message; it takes no other writes until all of it is there."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping

from google.protobuf import json_format

from reallot.server.errors import ApiError, failed_precondition, invalid_field
from reallot.server.lifetimes import NO_WORKSPACE, SCHEMA, locked
from reallot.server.runtime import Runtime
from reallot.server.validation import MOST_ROWS, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import WriteTransaction
from reallot.storage.entities import Json
from reallot.storage.errors import AlreadyExists
from reallot.storage.schema import present
from reallot.v1 import workspace_service_pb2 as pb

OWN = "workspaces"
"""Table of the row that comes after that of the schema: the workspace's own."""
TOPICS = ("config", "pending", "runs", "events", "sellers", "offers", "timers", "rechecks", "fanouts", "steps")


class Restoring:
    """One restoration. Belongs to the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._workspace = ""
        self._revision: str | None = None
        self._own: Mapping[str, Json] | None = None
        self._counts = Counter[str]()
        self._taken = 0

    async def carry_out(self, requests: AsyncIterator[pb.RestoreWorkspaceRequest]) -> pb.RestoreWorkspaceResponse:
        """Restore what comes, and return how many rows that was.

        Raises:
            ApiError: the workspace has content, or a row is none that can be restored; it takes no writes then until it is deleted.
        """
        async for request in requests:
            if len(request.rows) > MOST_ROWS:
                raise invalid_field("rows", f"at most {MOST_ROWS} rows fit into one message", "BATCH_TOO_LARGE")
            rows = [self._read(row) for row in request.rows]
            if rows and self._revision is None:
                self._revision = self._checked(request, *rows.pop(0))
            if rows and self._own is None:
                await self._begin(*rows.pop(0))
            await self._put(rows)
        own = self._own
        if own is None:
            raise _not_in_place(0 if self._revision is None else 1)
        await self._runtime.write(NO_WORKSPACE, lambda tx: self._end(tx, own))
        return pb.RestoreWorkspaceResponse(tables=[pb.TableCount(table=name, rows=n) for name, n in sorted(self._counts.items())])

    def _read(self, row: pb.ExportedRow) -> tuple[str, dict[str, Json]]:
        path, self._taken = f"rows[{self._taken}]", self._taken + 1
        try:
            content = json.loads(row.content)
        except ValueError as error:
            raise invalid_field(f"{path}.content", f"it is no JSON: {error}") from None
        if not isinstance(content, dict):
            raise invalid_field(f"{path}.content", "it is no JSON object")
        return row.table, content

    def _checked(self, request: pb.RestoreWorkspaceRequest, table: str, row: Mapping[str, Json]) -> str:
        """Take the workspace and the first row, which says the revision of the schema; return that.

        Raises:
            ApiError: something else comes first, or no workspace is said.
        """
        if not request.workspace:
            raise invalid_field("workspace", "the workspace has to be said", "INVALID_ID")
        self._workspace = workspace_of(request)
        if table != SCHEMA or not isinstance(revision := row.get("revision"), str):
            raise _not_in_place(0)
        return revision

    async def _begin(self, table: str, own: Mapping[str, Json]) -> None:
        if table != OWN:
            raise _not_in_place(1)
        workspace, revision, self._own = self._workspace, self._revision, own

        def work(tx: WriteTransaction) -> None:
            here = present(tx.connection)
            if here != revision:
                advice = "restore it with the program that wrote it, migrate that database, and export it anew"
                text = f"the export is of schema revision {revision}, this database has {here}: {advice}"
                raise failed_precondition("SCHEMA_MISMATCH", text, exported=str(revision), present=here)
            tx.workspaces.begin_restore(workspace, tx.now_us)

        try:
            await self._runtime.write(NO_WORKSPACE, work)
        except AlreadyExists as error:
            raise failed_precondition("WORKSPACE_NOT_EMPTY", str(error), workspace=workspace) from None

    async def _put(self, rows: list[tuple[str, dict[str, Json]]]) -> None:
        by_table: dict[str, list[dict[str, Json]]] = {}
        for table, row in rows:
            by_table.setdefault(table, []).append(row)

        def work(tx: WriteTransaction) -> None:
            locked(tx, self._workspace)
            for table, some in by_table.items():
                try:
                    tx.workspaces.put(self._workspace, table, some)
                except ValueError as error:
                    raise _refused(table, error) from None

        if by_table:
            await self._runtime.write(NO_WORKSPACE, work)
        self._counts.update({table: len(some) for table, some in by_table.items()})

    def _end(self, tx: WriteTransaction, own: Mapping[str, Json]) -> None:
        locked(tx, self._workspace)
        try:
            tx.workspaces.end_restore(self._workspace, own)
        except ValueError as error:
            raise _refused(OWN, error) from None
        rows = tx.config.resources(self._workspace)
        try:
            broken = WorkspaceConfig.of(self._workspace, 0, rows).violations
        except (json_format.ParseError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise _refused("config", ValueError(str(error))) from None
        if broken:
            raise _refused("config", ValueError(broken[0].description))
        tx.audit.note(self._workspace, [("workspace", self._workspace, None, {"restored": dict(self._counts)})])
        for topic in TOPICS:
            tx.signal(self._workspace, topic)


def _not_in_place(place: int) -> ApiError:
    table, meaning = ((SCHEMA, "says the revision of the schema"), (OWN, "is the workspace's own"))[place]
    return invalid_field(f"rows[{place}].table", f"this row {meaning}, of the table {table!r}")


def _refused(table: str, error: ValueError) -> ApiError:
    return invalid_field("rows", f"a row of the table {table!r} cannot be restored: {error}")
