"""Columns of referenced records beside those of the records that refer to them. Reads, decides nothing."""

from collections.abc import Collection, Mapping, Sequence

import polars as pl

from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import EXISTS, Condition, Read, frame_from_json, frame_of
from reallot.storage import ReadTransaction
from reallot.storage.entities import Record

_TARGET = "#target"


def with_related(
    tx: ReadTransaction, config: WorkspaceConfig, record_type: str, frame: pl.DataFrame, record_ids: Sequence[str], reads: Collection[Read]
) -> pl.DataFrame:
    """Return the columns of records with those of the records they refer to, as far as `reads` names them.

    A reference to a record that does not exist, or is of another type, counts as none.
    """
    if not _roles(reads) or not frame.height:
        return _joined(tx, config, record_type, frame, [{} for _ in record_ids], reads)
    targets = tx.related.targets(config.workspace, record_ids)
    return _joined(tx, config, record_type, frame, [targets.get(record_id, {}) for record_id in record_ids], reads)


def frame_of_records(
    tx: ReadTransaction, config: WorkspaceConfig, records: Sequence[Record], conditions: Sequence[Condition]
) -> pl.DataFrame:
    """Return the columns that conditions read of records of one type, at least one."""
    record_type = records[0].record_type
    frame = frame_of("record", config.record_types[record_type].schema, [record.fields for record in records])
    reads = {read for condition in conditions for read in condition.reads}
    return _joined(tx, config, record_type, frame, [record.related for record in records], reads)


def _roles(reads: Collection[Read]) -> list[str]:
    return sorted({root for root, _ in reads} - {"record", "seller"})


def _joined(
    tx: ReadTransaction,
    config: WorkspaceConfig,
    record_type: str,
    frame: pl.DataFrame,
    related: Sequence[Mapping[str, str]],
    reads: Collection[Read],
) -> pl.DataFrame:
    kind = config.record_types[record_type]
    for role in _roles(reads):
        schema = config.record_types[kind.roles[role]].schema
        target = pl.Series(_TARGET, [targets.get(role) for targets in related], dtype=pl.String)
        found = tx.related.fields(config.workspace, kind.roles[role], target.drop_nulls().unique())
        only = sorted(field for root, field in reads if root == role and field != EXISTS)
        columns = frame_from_json(role, schema, list(found.values()), only=only)
        held = pl.Series(_TARGET, list(found), dtype=pl.String)
        # Of no fields a frame has no rows either, so it is put together from its columns.
        there = pl.DataFrame([held, held.alias(f"{role}.{EXISTS}"), *(columns[f"{role}.{field}"] for field in only)])
        frame = frame.with_columns(target).join(there, on=_TARGET, how="left", maintain_order="left").drop(_TARGET)
    return frame
