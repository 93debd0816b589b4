"""Records as Arrow columns, for loads: many rows for little more than the bytes of their values. Needs polars, which writes them."""

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import polars as pl

from reallot.clients.model import Record
from reallot.clients.values import to_owner
from reallot.v1 import record_service_pb2

BATCH, ROW_BATCH = 10_000, 1_000
"""Most records in a batch of columns, and of rows."""
FEW = 20
"""So few records are sent as rows."""
ATTRIBUTES = ("active", "priority", "value_units", "created_time", "created_by", "effort", "group_key")
OWNERS = ("seller_id", "team_id", "queue_id")


def batches_of(records: Iterable[Record]) -> Iterator[record_service_pb2.ImportRecordsRequest]:
    """Yield the batches that store records in their order.

    Records in a row that give the same fields become columns, if each field has values of one kind; the others are sent as rows.

    Raises:
        TypeError: there is no such kind of value.
        ValueError: an instant without a time zone.
    """
    for alike in _alike(records):
        for start in range(0, len(alike), BATCH):
            part = alike[start : start + BATCH]
            table = _table(part) if len(part) > FEW else None
            if table is not None:
                yield record_service_pb2.ImportRecordsRequest(arrow=_written(table))
                continue
            for first in range(0, len(part), ROW_BATCH):
                rows = [record.to_upsert() for record in part[first : first + ROW_BATCH]]
                yield record_service_pb2.ImportRecordsRequest(records=rows)


def _alike(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield runs of different records that give the same fields and references."""
    run: list[Record] = []
    seen: set[str] = set()
    shape: Any = None
    for record in records:
        new = (record.fields.keys(), record.related.keys(), record.expected_owner is None)
        if run and (new != shape or record.record_id in seen):
            yield run
            run, seen = [], set()
        shape = new
        run.append(record)
        seen.add(record.record_id)
    if run:
        yield run


def _table(records: Sequence[Record]) -> pl.DataFrame | None:
    """Return alike records as columns; None if they cannot be."""
    if records[0].expected_owner is not None:
        return None
    columns: list[pl.Series | None] = [_column(name, [getattr(r, name) for r in records]) for name in ("record_id", "record_type")]
    attributes = {name: [getattr(r, name) for r in records] for name in ATTRIBUTES}
    columns += [_column(name, values) for name, values in attributes.items() if any(value is not None for value in values)]
    parts = {
        "fields": [_column(name, [r.fields[name] for r in records]) for name in records[0].fields],
        "related": [_column(role, [r.related[role] for r in records]) for role in records[0].related],
        "owner": _owners(records),
    }
    for struct, found in parts.items():
        whole = [column for column in found if column is not None]
        if len(whole) < len(found):
            return None
        columns += [pl.DataFrame(whole).to_struct(struct)] if whole else []
    whole = [column for column in columns if column is not None]
    return pl.DataFrame(whole) if len(whole) == len(columns) else None


def _owners(records: Sequence[Record]) -> list[pl.Series | None]:
    if not any(r.owner for r in records):
        return []
    found = [to_owner(r.owner) if r.owner else None for r in records]
    return [
        pl.Series(kind, [getattr(owner, kind) if owner is not None and owner.HasField(kind) else None for owner in found], dtype=pl.String)  # type: ignore[arg-type]
        for kind in OWNERS
    ]


def _column(name: str, values: Sequence[Any]) -> pl.Series | None:
    """Return values of one kind as a column; None if they are of several."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {datetime}:
        if any(value is not None and value.tzinfo is None for value in values):
            raise ValueError(f"{name}: an instant has no time zone")
        return pl.Series(name, [value and value.astimezone(UTC) for value in values], dtype=pl.Datetime("us", "UTC"))
    if kinds <= {list, tuple} and kinds:
        return pl.Series(name, [value and list(value) for value in values], dtype=pl.List(pl.String))
    if kinds == {int, float}:
        return pl.Series(name, [value if value is None else float(value) for value in values], dtype=pl.Float64)
    if len(kinds) > 1 or not kinds <= _DTYPES.keys():
        return None
    return pl.Series(name, list(values), dtype=_DTYPES[kinds.pop()] if kinds else pl.Null)


_DTYPES: dict[type, Any] = {bool: pl.Boolean, int: pl.Int64, float: pl.Float64, str: pl.String, date: pl.Date}


def _written(table: pl.DataFrame) -> bytes:
    written = io.BytesIO()
    table.write_ipc_stream(written)
    return written.getvalue()
