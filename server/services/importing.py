"""ImportRecords: what batches of rows and of Arrow columns come to, each in one unit of work."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from reallot.server.config_groups import group_fault
from reallot.server.convert.columns import Batch, read_columns
from reallot.server.errors import Violation
from reallot.server.fanouts import note_arrivals
from reallot.server.road.arrivals import arrivals_of, same_as_stored, upserts_of
from reallot.server.services.upserts import carry_out, names_of
from reallot.server.validation import refuse
from reallot.server.workspace_config import WorkspaceConfig
from reallot.storage import ReadTransaction, WriteTransaction
from reallot.storage.arrivals import Arrivals
from reallot.storage.entities import Owner, OwnerKind
from reallot.v1 import record_service_pb2


def add_up(answer: record_service_pb2.ImportRecordsResponse, results: Sequence[record_service_pb2.UpsertResult]) -> None:
    """Add the answers of rows to those of an import."""
    counts: Counter[str] = Counter()
    for result in results:
        if result.HasField("conflict"):
            answer.conflicts.append(result)
        else:
            counts["created" if result.created else "updated" if result.changed_fields else "unchanged"] += 1
    answer.created += counts["created"]
    answer.updated += counts["updated"]
    answer.unchanged += counts["unchanged"]


def add_batch(answer: record_service_pb2.ImportRecordsResponse, batch: record_service_pb2.ImportRecordsResponse) -> None:
    """Add the answer of one batch to those of an import."""
    answer.created += batch.created
    answer.updated += batch.updated
    answer.unchanged += batch.unchanged
    answer.conflicts.extend(batch.conflicts)


@dataclass(frozen=True)
class Prepared:
    """Arrow columns, made ready before the transaction for the configuration `version`.

    Attributes:
        batch: The rows in stored form.
        names: Names of the sellers who are said to own, as far as they exist.
        arrivals: The rows as storage takes them, if all of them are new.
    """

    version: int
    batch: Batch
    names: Mapping[str, str]
    arrivals: Arrivals


def prepare(tx: ReadTransaction, config: WorkspaceConfig, table: pl.DataFrame, *, quiet: bool) -> Prepared:
    """Return Arrow columns ready to be stored.

    Raises:
        ApiError: something is wrong with them; every fault is named with its column and row.
    """
    batch, faults = read_columns(table, config)
    refuse(faults)
    names = names_of(tx, config.workspace, _owners(batch))
    return Prepared(config.version, batch, names, arrivals_of(batch.frames, config, names, quiet=quiet))


def import_columns(
    tx: WriteTransaction, config: WorkspaceConfig, prepared: Prepared, *, quiet: bool
) -> record_service_pb2.ImportRecordsResponse:
    """Store the rows of columns: those that change nothing are found in columns, and if all others are new, they are written so.

    Raises:
        ApiError: a row has another type than its record, or an owner who does not exist; nothing is stored.
    """
    batch = prepared.batch
    ids = [record_id for frame in batch.frames for record_id in frame["record_id"]]
    stored = tx.stored_columns(config.workspace, ids)
    _check_types(batch, stored)
    known = stored["record_id"].implode()
    frames = [frame.filter(~same_as_stored(frame, stored)) for frame in batch.frames] if stored.height else list(batch.frames)
    new = [frame.filter(~pl.col("record_id").is_in(known)) for frame in frames] if stored.height else frames
    names = names_of(tx, config.workspace, _owners(batch))
    _check_owners(config, new, names)
    left = sum(frame.height for frame in frames)
    answer = record_service_pb2.ImportRecordsResponse(unchanged=batch.rows - left)
    if left == sum(frame.height for frame in new):
        arrivals = prepared.arrivals if names == prepared.names else arrivals_of(batch.frames, config, names, quiet=quiet)
        if left < batch.rows:
            arrivals = replace(arrivals, frame=arrivals.frame.filter(~pl.col("record_id").is_in(known)))
        answer.created = len(tx.create_records(config.workspace, arrivals)) if left else 0
        note_arrivals(tx, config, arrivals, quiet=quiet)
        return answer
    rows = upserts_of(frames)
    present = tx.records.get(config.workspace, [row.record_id for row in rows])
    # The owner of a record's first upsert is taken as it is, that of a later one is not said.
    rows = [replace(row, sets_owner=row.owner is not None and row.record_id not in present) for row in rows]
    add_up(answer, carry_out(tx, config, rows, present, quiet=quiet))
    return answer


def _owners(batch: Batch) -> set[str]:
    owned = [frame.filter(pl.col("owner_kind") == OwnerKind.SELLER.value) for frame in batch.frames if "owner_kind" in frame.columns]
    return {seller for frame in owned for seller in frame["owner_id"]}


def _check_types(batch: Batch, stored: pl.DataFrame) -> None:
    faults = []
    for frame in batch.frames:
        found = frame.join(stored, on="record_id", suffix="@stored").filter(pl.col("record_type") != pl.col("record_type@stored"))
        for row, record_id, was in found.select("row", "record_id", "record_type@stored").rows():
            text = f"record {record_id!r} is of type {was!r}; a record's type cannot change"
            faults.append(Violation(f"arrow.record_type[{row}]", text))
    refuse(faults)


def _check_owners(config: WorkspaceConfig, new: Sequence[pl.DataFrame], sellers: Collection[str]) -> None:
    owned = [frame.filter(pl.col("owner_kind") != "") for frame in new if "owner_kind" in frame.columns]
    faults = []
    for row, kind, owner in sorted(row for frame in owned for row in frame.select("row", "owner_kind", "owner_id").rows()):
        if kind != OwnerKind.SELLER:
            fault = group_fault(config, Owner(OwnerKind(kind), owner))
        else:
            fault = None if owner in sellers else (f"seller {owner!r} does not exist", "UNKNOWN_REFERENCE")
        if fault is not None:
            faults.append(Violation(f"arrow.owner[{row}]", *fault))
    refuse(faults)
