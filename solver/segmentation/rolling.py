"""When the answer of a condition can change with the clock alone, such as that of "in the last 30 days"."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.solver.segmentation.condition import Condition
from reallot.solver.segmentation.lowering import NOW, Crossing

NEVER = np.iinfo(np.int64).max
"""Stands for an instant that does not come."""
_KIND, _DUE, _BLANK = "#kind", "#due", "#blank"


def next_change(conditions: Sequence[Condition], frame: pl.DataFrame, *, now_us: int) -> npt.NDArray[np.int64]:
    """Return the next instant after `now_us` at which an answer can change without a change of the record: int64, shape (rows,).

    Until that instant every condition keeps its answer; at it, one may or may not change. NEVER = all keep it for ever.
    """
    found = np.full(frame.height, NEVER, dtype=np.int64)
    crossings = [crossing for condition in conditions for crossing in condition.crossings]
    if not crossings or not frame.height:
        return found
    # Now stands still at 0, so that a column is the distance at that instant.
    still = frame.with_columns(pl.lit(0, dtype=pl.Int64).alias(NOW))
    for crossing in crossings:
        np.minimum(found, _next(crossing, still, now_us), out=found)
    return found


def next_change_among(
    conditions: Sequence[Condition], records: pl.DataFrame, others: pl.DataFrame, *, now_us: int
) -> npt.NDArray[np.int64]:
    """Return the same for conditions that read each record beside any of some others, such as sellers: int64, shape (records,)."""
    found = np.full(records.height, NEVER, dtype=np.int64)
    for crossing in (crossing for condition in conditions for crossing in condition.crossings):
        names = sorted(set(crossing.distance.meta.root_names()) - {NOW})
        own, beside = ([name for name in names if name in frame.columns] for frame in (records, others))
        # Many records are alike in what is compared, and so are the others.
        kinds = (records.select(own).unique() if own else pl.DataFrame({_BLANK: [0]})).with_row_index(_KIND)
        pairs = kinds.join(others.select(beside).unique() if beside else pl.DataFrame({_BLANK: [0]}), how="cross")
        still = pairs.with_columns(pl.lit(0, dtype=pl.Int64).alias(NOW))
        due = pl.Series(_DUE, _next(crossing, still, now_us), dtype=pl.Int64)
        least = pairs.select(_KIND).with_columns(due).group_by(_KIND).agg(pl.col(_DUE).min())
        rows = records.select(own).join(kinds, on=own, how="left", nulls_equal=True, maintain_order="left") if own else None
        kind_of = rows.select(_KIND) if rows is not None else pl.DataFrame({_KIND: pl.Series([0] * records.height, dtype=pl.UInt32)})
        first = kind_of.join(least, on=_KIND, how="left", maintain_order="left")[_DUE].fill_null(NEVER)
        np.minimum(found, first.to_numpy(), out=found)
    return found


def _next(crossing: Crossing, still: pl.DataFrame, now_us: int) -> npt.NDArray[np.int64]:
    distances = still.select(crossing.distance.alias("#")).to_series()
    if len(distances) != still.height:
        distances = distances.extend_constant(distances[0], still.height - 1)
    known = distances.is_not_null().to_numpy()
    # A comparison changes where both sides meet, and where they part again: at most one unit later.
    meets = np.floor_divide(-distances.fill_null(0).to_numpy(), crossing.nows)
    following = np.where(meets > now_us, meets, np.where(meets + 1 > now_us, meets + 1, NEVER))
    return np.where(known, following, NEVER).astype(np.int64)
