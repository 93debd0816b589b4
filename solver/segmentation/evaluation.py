"""Conditions over a batch: stored rows to columns, and all conditions at once."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from reallot.solver.segmentation.condition import Condition
from reallot.solver.segmentation.lowering import NOW
from reallot.solver.segmentation.schema import COLUMN_TYPES, Schema


def frame_from_json(root: str, schema: Schema, texts: Sequence[str], only: Sequence[str] | None = None) -> pl.DataFrame:
    """Return stored JSON objects as columns `<root>.<field>`, one row each.

    Args:
        root: Name of the root, e.g. "record".
        schema: Its schema; keys that it does not know are passed over.
        texts: One JSON object each, without line breaks.
        only: The fields that are needed; None = all.
    """
    wanted = [f for f in schema.fields if only is None or f.id in only]
    types = {f.id: COLUMN_TYPES[f.type] for f in wanted}
    if not texts or not types:
        return _empty_columns(root, types, len(texts))
    # A first row with every key keeps rows that are all `{}` from being dropped as blank.
    frame = pl.read_ndjson(BytesIO("\n".join(texts).encode()), schema=types)
    return frame.rename({name: f"{root}.{name}" for name in types})


def _empty_columns(root: str, types: Mapping[str, pl.DataType], rows: int) -> pl.DataFrame:
    columns = {f"{root}.{name}": pl.Series([None] * rows, dtype=kind) for name, kind in types.items()}
    return pl.DataFrame({**columns, f"{root}.": pl.Series(range(rows), dtype=pl.Int64)})


def frame_of(root: str, schema: Schema, rows: Sequence[Mapping[str, Any]], skills: Sequence[str] = ()) -> pl.DataFrame:
    """Return rows of stored values as columns `<root>.<field>`; `skills` adds columns `<root>.skills.<id>`."""
    columns: dict[str, pl.Series] = {
        f"{root}.{f.id}": pl.Series([row.get(f.id) for row in rows], dtype=COLUMN_TYPES[f.type]) for f in schema.fields
    }
    for skill in skills:
        columns[f"{root}.skills.{skill}"] = pl.Series([(row.get("skills") or {}).get(skill) for row in rows], dtype=pl.Int64)
    columns[f"{root}."] = pl.Series(range(len(rows)), dtype=pl.Int64)
    return pl.DataFrame(columns)


def evaluate(conditions: Sequence[Condition], frame: pl.DataFrame, *, now_us: int) -> npt.NDArray[np.bool_]:
    """Return the truth of every condition for every row: bool, shape (rows, conditions). Missing values match nothing."""
    if not conditions or not frame.height:
        return np.zeros((frame.height, len(conditions)), dtype=np.bool_)
    if any(condition.uses_now for condition in conditions):
        frame = frame.with_columns(pl.lit(now_us, dtype=pl.Int64).alias(NOW))
    # A condition without a column, such as `true`, has one row: broadcast it over the frame.
    answers = frame.with_columns(condition.column.fill_null(value=False).alias(f"#{i}") for i, condition in enumerate(conditions))
    return np.column_stack([answers[f"#{i}"].to_numpy() for i in range(len(conditions))])


def first_match(matches: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """Return the first column that is true in each row, -1 if none is: int32, shape (rows,)."""
    if not matches.shape[1]:
        return np.full(matches.shape[0], -1, dtype=np.int32)
    return np.where(matches.any(axis=1), matches.argmax(axis=1), -1).astype(np.int32)
