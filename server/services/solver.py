"""SolverService: problems of the caller's own. Part of the contract, not served yet."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from reallot.server.errors import not_implemented
from reallot.v1 import solver_service_pb2 as pb
from reallot.v1 import solver_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class SolverService(solver_service_pb2_grpc.SolverServiceServicer):
    """Says plainly that it is not served yet."""

    async def Solve(  # type: ignore[override]  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SolveRequest], context: Context
    ) -> None:
        """Solve a problem that is handed in."""
        raise not_implemented("solving problems of your own")

    async def CheckPlan(self, request_iterator: AsyncIterator[pb.CheckPlanRequest], context: Context) -> pb.CheckPlanResponse:  # noqa: N802
        """Score a given plan."""
        raise not_implemented("checking plans of your own")
