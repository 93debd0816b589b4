"""What a segment would take of the stored records, without changing anything."""

from collections import Counter

import numpy as np

from reallot.server.configuration import validate
from reallot.server.convert.records import record_message
from reallot.server.errors import invalid, invalid_field
from reallot.server.road.joined import with_related
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import evaluate, first_match, frame_from_json
from reallot.storage import ReadTransaction, RecordFilter
from reallot.v1 import config_pb2, config_service_pb2

LARGEST_SAMPLE = 100


def simulate_segment(
    tx: ReadTransaction, config: WorkspaceConfig, request: config_service_pb2.SimulateSegmentRequest, now_us: int
) -> config_service_pb2.SimulateSegmentResponse:
    """Return how many active records a segment matches and would take, some of them, and what would move where.

    Raises:
        ApiError: the segment could not be saved.
    """
    if not 0 <= request.sample_size <= LARGEST_SAMPLE:
        raise invalid_field("sample_size", f"{request.sample_size} is not between 0 and {LARGEST_SAMPLE}")
    segment = request.segment
    key = ("segment", segment.segment_id)
    resources = {**config.resources, key: config_pb2.ConfigResource(segment=segment)}
    candidate = WorkspaceConfig(config.workspace, 0, resources, {key: "segment"})
    validate(candidate)
    if candidate.violations:
        raise invalid(candidate.violations)
    records = tx.records.snapshot(config.workspace, RecordFilter(record_types=[segment.record_type], active=True))
    segments = candidate.segments_by_type.get(segment.record_type, ())
    conditions = [s.condition for s in segments if s.condition is not None]
    needed = sorted({name for c in conditions for name in c.fields("record")})
    frame = frame_from_json("record", candidate.record_types[segment.record_type].schema, records.fields, only=needed)
    reads = {read for c in conditions for read in c.reads}
    frame = with_related(tx, candidate, segment.record_type, frame, records.record_id, reads)
    holds = evaluate(conditions, frame, now_us=now_us)
    if len(conditions) < len(segments):
        holds = np.column_stack([holds, np.ones((frame.height, 1), dtype=np.bool_)])
    found = first_match(holds)
    place = next((i for i, s in enumerate(segments) if s.id == segment.segment_id), -1)
    taken = np.flatnonzero(found == place) if place >= 0 else np.zeros(0, dtype=np.int64)
    names = [*(s.id for s in segments), ""]
    flows = Counter((old, names[i]) for old, i in zip(records.segment_id, found.tolist(), strict=True) if old != names[i])
    sample = tx.records.get(config.workspace, [records.record_id[i] for i in taken[: request.sample_size or 10]])
    return config_service_pb2.SimulateSegmentResponse(
        considered=len(records),
        matching=int(holds[:, place].sum()) if place >= 0 else 0,
        segmented=len(taken),
        sample=[record_message(r, config, masked=True) for _, r in sorted(sample.items())],
        flows=[config_service_pb2.SegmentFlow(from_segment_id=a, to_segment_id=b, records=n) for (a, b), n in sorted(flows.items())],
    )
