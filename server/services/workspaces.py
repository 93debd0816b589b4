"""WorkspaceService: what is kept about a person."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from reallot.server.personal import check_person, export_person, redact_person
from reallot.server.runtime import Runtime
from reallot.server.validation import workspace_of
from reallot.v1 import workspace_service_pb2 as pb
from reallot.v1 import workspace_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class WorkspaceService(workspace_service_pb2_grpc.WorkspaceServiceServicer):
    """Gives out and removes what a workspace keeps."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

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
        return await redact_person(self._runtime, workspace, request)
