"""WorkspaceService: workspaces as a whole, and what is kept about a person."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from reallot.server.erasing import Eraser
from reallot.server.errors import invalid_field
from reallot.server.idempotency import once
from reallot.server.lifetimes import NO_WORKSPACE, delete_workspace, export_workspace, locked, workspace_message
from reallot.server.personal import check_person, export_person, redact_person
from reallot.server.restoring import Restoring
from reallot.server.runtime import Runtime
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import LONGEST_NAME, page_size_of, workspace_of
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.v1 import workspace_service_pb2 as pb
from reallot.v1 import workspace_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class WorkspaceService(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    """Makes, names, gives out and removes workspaces, and what they keep about a person."""

    def __init__(self, runtime: Runtime, eraser: Eraser) -> None:
        self._runtime = runtime
        self._eraser = eraser

    async def ExportPersonalData(  # noqa: N802
        self, request: pb.ExportPersonalDataRequest, context: Context
    ) -> AsyncIterator[pb.ExportPersonalDataResponse]:
        """Give out what is kept about a person."""
        workspace = workspace_of(request)
        check_person(request)
        async for answer in export_person(self._runtime, workspace, request):
            yield answer

    async def RedactPersonalData(  # noqa: N802
        self, request: pb.RedactPersonalDataRequest, context: Context
    ) -> pb.RedactPersonalDataResponse:
        """Remove the names and personal values of a person."""
        workspace = workspace_of(request)
        check_person(request)
        return await redact_person(self._runtime, self._eraser, workspace, request)

    async def CreateWorkspace(self, request: pb.CreateWorkspaceRequest, context: Context) -> pb.Workspace:  # noqa: N802
        """Make a workspace."""
        workspace, name = _named(request), _name_of(request)

        def work(tx: WriteTransaction) -> pb.Workspace:
            # Its lock is taken by what is stored: taking it before would make it.
            found = tx.workspaces.create(workspace, name)
            tx.audit.note(workspace, [("workspace", workspace, None, {"display_name": name})])
            tx.signal(workspace, "config")
            return workspace_message(found)

        return await self._runtime.write(NO_WORKSPACE, once(request, NO_WORKSPACE, pb.Workspace, work))

    async def ListWorkspaces(self, request: pb.ListWorkspacesRequest, context: Context) -> pb.ListWorkspacesResponse:  # noqa: N802
        """List workspaces by id."""
        size, after = page_size_of(request), read_page_token(request)

        def read(tx: ReadTransaction) -> pb.ListWorkspacesResponse:
            found = tx.workspaces.page(after or "", size + 1)
            token = page_token(request, found[size - 1].workspace) if len(found) > size else ""
            return pb.ListWorkspacesResponse(workspaces=[workspace_message(w) for w in found[:size]], next_page_token=token)

        return await self._runtime.read(read)

    async def RenameWorkspace(self, request: pb.RenameWorkspaceRequest, context: Context) -> pb.Workspace:  # noqa: N802
        """Give a workspace another name."""
        workspace, name = workspace_of(request), _name_of(request)

        def work(tx: WriteTransaction) -> pb.Workspace:
            before = tx.workspaces.present(workspace)
            found = tx.workspaces.rename(locked(tx, workspace), name)
            old, new = ({"display_name": w.display_name} for w in (before, found))
            tx.audit.note(workspace, [("workspace", workspace, old, new)])
            return workspace_message(found)

        return await self._runtime.write(NO_WORKSPACE, once(request, NO_WORKSPACE, pb.Workspace, work))

    async def ExportWorkspace(  # noqa: N802
        self, request: pb.ExportWorkspaceRequest, context: Context
    ) -> AsyncIterator[pb.ExportWorkspaceResponse]:
        """Give out everything that stands in a workspace."""
        async for answer in export_workspace(self._runtime, workspace_of(request)):
            yield answer

    async def RestoreWorkspace(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.RestoreWorkspaceRequest], context: Context
    ) -> pb.RestoreWorkspaceResponse:
        """Put back what was given out of a workspace."""
        return await Restoring(self._runtime).carry_out(request_iterator)

    async def DeleteWorkspace(self, request: pb.DeleteWorkspaceRequest, context: Context) -> pb.DeleteWorkspaceResponse:  # noqa: N802
        """Remove everything that stands in a workspace."""
        return await delete_workspace(self._runtime, self._eraser, _named(request), request)


def _named(request: pb.CreateWorkspaceRequest | pb.DeleteWorkspaceRequest) -> str:
    """Return the workspace that a request says.

    Raises:
        ApiError: it says none, or one that cannot be.
    """
    if not request.workspace:
        raise invalid_field("workspace", "the workspace has to be said", "INVALID_ID")
    return workspace_of(request)


def _name_of(request: pb.CreateWorkspaceRequest | pb.RenameWorkspaceRequest) -> str:
    if len(request.display_name) > LONGEST_NAME:
        raise invalid_field("display_name", f"a name has at most {LONGEST_NAME} characters")
    return request.display_name
