"""Reports: how long records wait for an owner and why, and what sellers carry."""

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from reallot.server.convert.records import assignment_status
from reallot.server.convert.sellers import counted_load
from reallot.server.convert.values import from_us, instant_fault, to_us
from reallot.server.errors import Violation
from reallot.server.sequence_config import HUMAN
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction
from reallot.storage.entities import Load
from reallot.storage.reports import FirstContact, FirstOwner, SegmentMove, Waiting
from reallot.v1 import insight_service_pb2, run_pb2

MOST_BOUNCING = 100
"""Bouncing records that a report names."""
CONTACTS = HUMAN - {"task"}
"""Kinds of steps by which somebody gets in touch."""
_BEGINNING_US, _END_US = -(2**62), 2**62


def period_faults(request: insight_service_pb2.GetReportRequest) -> Iterator[Violation]:
    """Yield what is wrong with the period that is asked for."""
    for name in ("start_time", "end_time"):
        if (fault := instant_fault(getattr(request, name))) is not None:
            yield Violation(name, fault)
    if request.HasField("start_time") and request.HasField("end_time") and to_us(request.end_time) <= to_us(request.start_time):
        yield Violation("end_time", "the period ends before it starts")


def report(
    tx: ReadTransaction, config: WorkspaceConfig, request: insight_service_pb2.GetReportRequest
) -> insight_service_pb2.GetReportResponse:
    """Return the report on a period; without its start or end it has none."""
    start_us = to_us(request.start_time) if request.HasField("start_time") else _BEGINNING_US
    end_us = to_us(request.end_time) if request.HasField("end_time") else _END_US
    loads: dict[str, list[Load]] = {seller_id: [] for seller_id in tx.sellers.get(config.workspace)}
    for load in tx.sellers.loads(config.workspace):
        loads.setdefault(load.seller_id, []).append(load)
    bouncing = bouncing_records(tx.reports.moves(config.workspace, start_us, end_us))
    return insight_service_pb2.GetReportResponse(
        bouncing=bouncing[:MOST_BOUNCING],
        bouncing_records=len(bouncing),
        waiting=waiting_reports(
            tx.reports.first_owners(config.workspace, start_us, end_us),
            tx.reports.waiting(config.workspace, start_us, end_us),
            tx.reports.first_contacts(config.workspace, CONTACTS, start_us, end_us),
        ),
        load_by_seller={seller_id: counted_load(rows, config) for seller_id, rows in loads.items()},
    )


def bouncing_records(moves: Sequence[SegmentMove]) -> list[insight_service_pb2.BouncingRecord]:
    """Return the records that came back to a segment which they had left, those that did most often first, then by id."""
    found = []
    for record_id, group in groupby(moves, key=lambda move: move.record_id):
        path = list(group)
        left: set[str] = set()
        returns = 0
        for move in path:
            left.add(move.old)
            returns += move.new in left
        if returns:
            found.append(
                insight_service_pb2.BouncingRecord(
                    record_id=record_id,
                    moves=len(path),
                    returns=returns,
                    segment_ids=dict.fromkeys([path[0].old, *(move.new for move in path if move.new)]),
                    fields=sorted({name for move in path for name in move.fields}),
                    last_time=from_us(path[-1].time_us),
                )
            )
    return sorted(found, key=lambda row: (-row.returns, row.record_id))


def waiting_reports(
    owned: Sequence[FirstOwner], waiting: Sequence[Waiting], contacted: Sequence[FirstContact]
) -> list[insight_service_pb2.WaitingReport]:
    """Return one row for each segment of which there is anything to say, by segment; "" = in none."""
    found = []
    for segment_id in sorted({row.segment_id for rows in (owned, waiting, contacted) for row in rows}):
        here = [row for row in waiting if row.segment_id == segment_id]
        assigned, median, p90 = _spread([row.wait_us for row in owned if row.segment_id == segment_id])
        reached, contact_median, contact_p90 = _spread([row.wait_us for row in contacted if row.segment_id == segment_id])
        found.append(
            insight_service_pb2.WaitingReport(
                segment_id=segment_id,
                assigned=assigned,
                waiting=sum(row.records for row in here),
                median_seconds=median,
                p90_seconds=p90,
                contacted=reached,
                median_contact_seconds=contact_median,
                p90_contact_seconds=contact_p90,
                waiting_by_status=[run_pb2.StatusCount(status=assignment_status(row.status), records=row.records) for row in here],
            )
        )
    return found


def _spread(waits_us: Sequence[int]) -> tuple[int, float, float]:
    """Return how many waits there are, and their median and 90th percentile in seconds, 0 where there are none."""
    if not waits_us:
        return 0, 0.0, 0.0
    median, p90 = np.percentile(np.array(waits_us, dtype=np.int64) / 1e6, [50, 90]).tolist()
    return len(waits_us), median, p90
