"""Stop "segment": which segment each record of a batch belongs to, and whether it may go there. Pure, one type at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.server.workspace_config import SegmentConfig
from reallot.solver.segmentation import evaluate, first_match
from reallot.v1 import segment_pb2


@dataclass(frozen=True)
class Segmented:
    """Outcome of segmenting n records.

    Attributes:
        segment: Position of the segment the record will be in, -1 = none: int32, shape (n,).
        status: Name of the outcome: object, shape (n,).
        moved: It comes from another segment: bool, shape (n,).
        released: It leaves its segment and its owner: bool, shape (n,).
    """

    segment: npt.NDArray[np.int32]
    status: npt.NDArray[np.object_]
    moved: npt.NDArray[np.bool_]
    released: npt.NDArray[np.bool_]


def segment_records(
    segments: Sequence[SegmentConfig],
    frame: pl.DataFrame,
    present: npt.NDArray[np.int32],
    *,
    now_us: int,
    left: npt.NDArray[np.bool_] | None = None,
) -> Segmented:
    """Segment records of one type.

    Args:
        segments: Active segments in the order in which they are looked at.
        frame: Columns of the fields that their conditions read, one row a record.
        present: Position of the record's present segment; -1 = it has none, -2 = one that is not active: int32, shape (n,).
        now_us: The present instant.
        left: The record is in no segment because it was released when it matched none any more: as long as that is so, the default
            segment does not take it either: bool, shape (n,); None = no record is.
    """
    matched = _matches(segments, frame, now_us)
    n = len(matched)
    default = next((i for i, s in enumerate(segments) if s.message.is_default), -1)
    accepts = np.array([s.message.accepts_moves for s in segments] + [False], dtype=np.bool_)
    no_match = np.array([s.message.on_no_match for s in segments] + [0], dtype=np.int64)
    # A record that matches only the default segment matches none of its own.
    outside = (matched == default) & (present >= 0) & (present != default) if default >= 0 else (matched < 0) & (present >= 0)
    target = np.where(outside, present, matched)
    by_policy = outside & (no_match[present] == segment_pb2.ON_NO_MATCH_DEFAULT_SEGMENT) & (default >= 0)
    target = np.where(by_policy, default, target)
    released = outside & (no_match[present] == segment_pb2.ON_NO_MATCH_RELEASE)
    if left is not None:
        target = np.where(left & ((matched == default) | (matched < 0)), -1, target)
    had = present != -1
    differs = (target != present) & had & (target >= 0) & ~released
    allowed = differs & (accepts[target] | by_policy)
    segment = np.where(released | (target < 0), -1, np.where(differs & ~allowed, present, target)).astype(np.int32)
    status = np.full(n, "UNCHANGED", dtype=object)
    status[~had & (target >= 0)] = "SEGMENTED"
    status[allowed] = "SEGMENTED"
    status[differs & ~allowed] = "MOVE_NOT_ALLOWED"
    status[released | ((target < 0) & ~had)] = "NO_SEGMENT"
    return Segmented(segment, status, allowed, released)


def _matches(segments: Sequence[SegmentConfig], frame: pl.DataFrame, now_us: int) -> npt.NDArray[np.int32]:
    conditions = [s.condition for s in segments if s.condition is not None]
    holds = evaluate(conditions, frame, now_us=now_us)
    # The default segment comes last and takes everything.
    if len(conditions) < len(segments):
        holds = np.column_stack([holds, np.ones((frame.height, len(segments) - len(conditions)), dtype=np.bool_)])
    return first_match(holds)
