"""InsightService: why, why not, and what if."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from reallot.server.answers.desk import Question, QuestionDesk
from reallot.server.configuration import selection_faults
from reallot.server.errors import Violation, invalid_field, not_implemented
from reallot.server.explanation import MOST_NAMED, named_per_verdict, standing
from reallot.server.languages import LANGUAGE
from reallot.server.reports import period_faults, report
from reallot.server.runtime import Runtime
from reallot.server.validation import refuse, workspace_of
from reallot.v1 import insight_service_pb2 as pb
from reallot.v1 import insight_service_pb2_grpc, run_pb2

Context = grpc.aio.ServicerContext[Any, Any]
Answer = TypeVar("Answer", bound=Message)
Status = Callable[[str], Awaitable[pb.GetStatusResponse]]


class InsightService(insight_service_pb2_grpc.InsightServiceServicer):
    """Explains decisions."""

    def __init__(self, runtime: Runtime, desk: QuestionDesk, status: Status | None = None) -> None:
        """Answer from a runtime; `status` tells how the server stands, None = it is not asked for that."""
        self._runtime = runtime
        self._desk = desk
        self._status = status

    async def _ask(self, name: str, workspace: str, request: Any, kind: type[Answer]) -> Answer:
        """Return the answer that a process of its own gives on a snapshot."""
        question = Question(name, workspace, self._runtime.clock.now_us(), request.SerializeToString(), LANGUAGE.get())
        return kind.FromString(await self._desk.ask(question))

    async def _check_selection(self, workspace: str, selection: run_pb2.RunSelection) -> None:
        faults = selection_faults(await self._runtime.config(workspace), selection)
        refuse([Violation(f"selection.{path}", text, reason) for path, text, reason in faults])

    async def ExplainRecord(self, request: pb.ExplainRecordRequest, context: Context) -> pb.ExplainRecordResponse:  # noqa: N802
        """Explain where a record stands."""
        workspace, now_us = workspace_of(request), self._runtime.clock.now_us()
        if not 0 <= named_per_verdict(request) <= MOST_NAMED:
            raise invalid_field("sellers_per_verdict", f"{request.sellers_per_verdict} is not between 0 and {MOST_NAMED}")

        if request.prove or request.other_seller_id:
            return await self._ask("record", workspace, request, pb.ExplainRecordResponse)
        return await self._runtime.read(lambda tx: standing(tx, self._runtime.configs.of(tx, workspace), request, now_us))

    async def ExplainSeller(self, request: pb.ExplainSellerRequest, context: Context) -> pb.ExplainSellerResponse:  # noqa: N802
        """List the records that would suit a seller best."""
        if not 0 <= request.count <= MOST_NAMED:
            raise invalid_field("count", f"{request.count} is not between 1 and {MOST_NAMED}")
        return await self._ask("seller", workspace_of(request), request, pb.ExplainSellerResponse)

    async def WhatIf(self, request: pb.WhatIfRequest, context: Context) -> pb.WhatIfResponse:  # noqa: N802
        """Plan on a changed snapshot."""
        return await self._ask("what_if", workspace_of(request), request, pb.WhatIfResponse)

    async def GetWorth(self, request: pb.GetWorthRequest, context: Context) -> pb.GetWorthResponse:  # noqa: N802
        """Say what one more slot would be worth."""
        workspace = workspace_of(request)
        await self._check_selection(workspace, request.selection)
        return await self._ask("worth", workspace, request, pb.GetWorthResponse)

    async def Compare(self, request: pb.CompareRequest, context: Context) -> pb.CompareResponse:  # noqa: N802
        """Compare two policies."""
        return await self._ask("compare", workspace_of(request), request, pb.CompareResponse)

    async def GetFrontier(self, request: pb.GetFrontierRequest, context: Context) -> pb.GetFrontierResponse:  # noqa: N802
        """Weigh owner changes against what they gain."""
        workspace = workspace_of(request)
        await self._check_selection(workspace, request.selection)
        return await self._ask("frontier", workspace, request, pb.GetFrontierResponse)

    async def GetReport(self, request: pb.GetReportRequest, context: Context) -> pb.GetReportResponse:  # noqa: N802
        """Report waiting times and loads."""
        workspace = workspace_of(request)
        refuse(period_faults(request))
        return await self._runtime.read(lambda tx: report(tx, self._runtime.configs.of(tx, workspace), request))

    async def GetStatus(self, request: pb.GetStatusRequest, context: Context) -> pb.GetStatusResponse:  # noqa: N802
        """Tell how the server and a workspace stand."""
        workspace = workspace_of(request)
        if self._status is None:
            raise not_implemented("the status of this server")
        return await self._status(workspace)
