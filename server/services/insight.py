"""InsightService: why, why not, and what if."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc

from reallot.server.convert.decisions import decision_message
from reallot.server.convert.records import record_message
from reallot.server.errors import invalid_field, not_implemented
from reallot.server.explanation import record_of, rule_traces, rule_views, segment_traces
from reallot.server.reports import period_faults, report
from reallot.server.road.events import owner_name
from reallot.server.road.pool import Pool
from reallot.server.runtime import Runtime
from reallot.server.validation import refuse, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction
from reallot.storage.entities import Record
from reallot.v1 import insight_service_pb2 as pb
from reallot.v1 import insight_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
Status = Callable[[str], Awaitable[pb.GetStatusResponse]]
DEFAULT_NAMED, MOST_NAMED, SHOWN_DECISIONS = 5, 1_000, 10


class InsightService(insight_service_pb2_grpc.InsightServiceServicer):
    """Explains decisions."""

    def __init__(self, runtime: Runtime, status: Status | None = None) -> None:
        """Answer from a runtime; `status` tells how the server stands, None = it is not asked for that."""
        self._runtime = runtime
        self._status = status

    async def ExplainRecord(self, request: pb.ExplainRecordRequest, context: Context) -> pb.ExplainRecordResponse:  # noqa: N802
        """Explain where a record stands."""
        workspace, now_us = workspace_of(request), self._runtime.clock.now_us()
        named = request.sellers_per_verdict if request.HasField("sellers_per_verdict") else DEFAULT_NAMED
        if not 0 <= named <= MOST_NAMED:
            raise invalid_field("sellers_per_verdict", f"{named} is not between 0 and {MOST_NAMED}")

        def read(tx: ReadTransaction) -> pb.ExplainRecordResponse:
            config = self._runtime.configs.of(tx, workspace)
            record = record_of(tx, workspace, request.record_id)
            pool = Pool.read(tx, config, now_us)
            return pb.ExplainRecordResponse(
                record=record_message(record, config, pending=bool(tx.records.pending_ids(workspace, [record.record_id]))),
                segments=segment_traces(tx, config, record, now_us),
                rules=rule_traces(pool, rule_views(tx, pool, config, record, now_us), named),
                decisions=[decision_message(d) for d in tx.decisions.of_record(workspace, record.record_id, None, SHOWN_DECISIONS)],
                summary=_summary(record, config),
            )

        return await self._runtime.read(read)

    async def ExplainSeller(self, request: pb.ExplainSellerRequest, context: Context) -> pb.ExplainSellerResponse:  # noqa: N802
        """List the records that would suit a seller best."""
        raise not_implemented("best records for a seller")

    async def WhatIf(self, request: pb.WhatIfRequest, context: Context) -> pb.WhatIfResponse:  # noqa: N802
        """Plan on a changed snapshot."""
        raise not_implemented("what-if")

    async def GetWorth(self, request: pb.GetWorthRequest, context: Context) -> pb.GetWorthResponse:  # noqa: N802
        """Say what one more slot would be worth."""
        raise not_implemented("worth of a slot")

    async def Compare(self, request: pb.CompareRequest, context: Context) -> pb.CompareResponse:  # noqa: N802
        """Compare two policies."""
        raise not_implemented("comparing policies")

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


def _summary(record: Record, config: WorkspaceConfig) -> str:
    name = config.title(record.record_type, record.record_id, record.fields)
    segment = config.segments.get(record.segment_id)
    place = f"in the segment {segment.name}" if segment else "in no segment"
    if record.owner is not None:
        how = f"by rule {record.rule_id}" if record.rule_id else "by hand or by the CRM"
        return f"{name} is {place} and belongs to {owner_name(record.owner, config)}, chosen {how}."
    return f"{name} is {place} and has no owner: {record.reason or 'it was not looked at yet'}."
