"""RecordService: records in and out. Every change goes through one unit of work."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import grpc

from reallot.server.convert.decisions import decision_message
from reallot.server.convert.records import assignment_name, record_message
from reallot.server.convert.upserts import UpsertReader
from reallot.server.convert.values import from_owner, to_owner, to_us
from reallot.server.errors import Violation, invalid, invalid_field, not_found, not_implemented
from reallot.server.idempotency import once
from reallot.server.road.change import Change, Upsert, change_of
from reallot.server.road.commit import limits_of
from reallot.server.road.enrol import leave
from reallot.server.road.events import event_of
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import check_id, check_rows, page_size_of, refuse, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import Condition, ConditionError, compile_condition, evaluate, frame_of
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Claim, Outcome, OwnerKind, PendingMark, Record, Transition
from reallot.storage.pending import merge_causes
from reallot.v1 import record_pb2, record_service_pb2, record_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class RecordService(record_service_pb2_grpc.RecordServiceServicer):
    """Stores records, notices what changed, and lists them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def UpsertRecords(  # noqa: N802
        self, request: record_service_pb2.UpsertRecordsRequest, context: Context
    ) -> record_service_pb2.UpsertRecordsResponse:
        """Store records, whole or in part."""
        workspace = workspace_of(request)
        refuse(check_rows("records", request.records))

        def work(tx: WriteTransaction) -> record_service_pb2.UpsertRecordsResponse:
            results = upsert_records(
                tx,
                self._runtime.configs.of(tx, workspace),
                request.records,
                quiet=request.quiet,
                validate_only=request.validate_only,
            )
            return record_service_pb2.UpsertRecordsResponse(results=results)

        return await self._runtime.write(once(request, workspace, record_service_pb2.UpsertRecordsResponse, work))

    async def ImportRecords(  # noqa: N802
        self, request_iterator: AsyncIterator[record_service_pb2.ImportRecordsRequest], context: Context
    ) -> record_service_pb2.ImportRecordsResponse:
        """Store a stream of batches, each in one transaction."""
        answer = record_service_pb2.ImportRecordsResponse()
        number, first = 0, None
        async for request in request_iterator:
            first = first or request
            if request.arrow:
                raise not_implemented("import of Arrow columns")
            refuse(check_rows("records", request.records, needed=False))
            batch = record_service_pb2.UpsertRecordsRequest(
                workspace=first.workspace,
                request_id=f"{first.request_id}/{number}" if first.request_id else "",
                records=request.records,
                quiet=not first.live,
            )
            number += 1
            if request.records:
                _add_up(answer, (await self.UpsertRecords(batch, context)).results)
        return answer

    async def GetRecord(self, request: record_service_pb2.GetRecordRequest, context: Context) -> record_pb2.Record:  # noqa: N802
        """Return one record."""
        workspace = workspace_of(request)
        refuse(check_id("record_id", request.record_id))

        def read(tx: ReadTransaction) -> record_pb2.Record:
            found = tx.records.get(workspace, [request.record_id]).get(request.record_id)
            if found is None:
                raise not_found("record", request.record_id)
            pending = bool(tx.records.pending_ids(workspace, [found.record_id]))
            return record_message(found, self._runtime.configs.of(tx, workspace), pending=pending)

        return await self._runtime.read(read)

    async def ListRecords(  # noqa: N802
        self, request: record_service_pb2.ListRecordsRequest, context: Context
    ) -> record_service_pb2.ListRecordsResponse:
        """List records by id."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)

        def read(tx: ReadTransaction) -> record_service_pb2.ListRecordsResponse:
            config = self._runtime.configs.of(tx, workspace)
            wanted, condition = _wanted(request), _condition(request, config)
            found, last = _page(tx, config, wanted, condition, after or "", size + 1)
            rows = found[:size]
            pending = tx.records.pending_ids(workspace, [r.record_id for r in rows])
            token = page_token(request, rows[-1].record_id) if len(found) > size else page_token(request, last) if last else ""
            messages = [record_message(r, config, pending=r.record_id in pending) for r in rows]
            return record_service_pb2.ListRecordsResponse(records=messages, next_page_token=token)

        return await self._runtime.read(read)

    async def DeleteRecords(  # noqa: N802
        self, request: record_service_pb2.DeleteRecordsRequest, context: Context
    ) -> record_service_pb2.DeleteRecordsResponse:
        """Delete records; unknown ids are passed over."""
        workspace = workspace_of(request)
        refuse(check_rows("record_ids", request.record_ids))

        def work(tx: WriteTransaction) -> record_service_pb2.DeleteRecordsResponse:
            config = self._runtime.configs.of(tx, workspace)
            found = tx.records.get(workspace, request.record_ids)
            cause = {"kind": "DELETED"}
            made = [
                Transition(
                    record,
                    None,
                    enrollment=leave(record, "RECORD_DELETED"),
                    event=event_of(record, None, config=config, time_us=tx.now_us, cause=cause),
                )
                for record in found.values()
            ]
            tx.commit_records(workspace, made)
            if any(record.active and record.owner for record in found.values()):
                request_rerun(tx, config, "CAPACITY_FREED")
            return record_service_pb2.DeleteRecordsResponse(deleted=len(found))

        return await self._runtime.write(once(request, workspace, record_service_pb2.DeleteRecordsResponse, work))

    async def ListDecisions(  # noqa: N802
        self, request: record_service_pb2.ListDecisionsRequest, context: Context
    ) -> record_service_pb2.ListDecisionsResponse:
        """List a record's log, newest first, or a run's, in order."""
        workspace, size, key = workspace_of(request), page_size_of(request), read_page_token(request)
        if not request.record_id and not request.run_id:
            raise invalid_field("record_id", "a record or a run is needed")

        def read(tx: ReadTransaction) -> record_service_pb2.ListDecisionsResponse:
            if request.record_id:
                found = tx.decisions.of_record(workspace, request.record_id, key, size + 1)
                found = [d for d in found if not request.run_id or d.run_id == request.run_id]
            else:
                found = tx.decisions.of_run(workspace, request.run_id, key or 0, size + 1)
            token = page_token(request, found[size - 1].decision_id) if len(found) > size else ""
            return record_service_pb2.ListDecisionsResponse(decisions=[decision_message(d) for d in found[:size]], next_page_token=token)

        return await self._runtime.read(read)


def upsert_records(
    tx: WriteTransaction,
    config: WorkspaceConfig,
    rows: Sequence[record_service_pb2.RecordUpsert],
    *,
    quiet: bool,
    validate_only: bool,
) -> list[record_service_pb2.UpsertResult]:
    """Carry out rows in order, in one unit of work, and answer each.

    Raises:
        ApiError: a row is malformed; nothing is stored.
    """
    upserts = _read_rows(tx, config, rows)
    stored = tx.records.get(config.workspace, [u.record_id for u in upserts])
    _check_types(upserts, stored)
    present: dict[str, Record] = dict(stored)
    changes: list[Change] = []
    for row in upserts:
        change = change_of(present.get(row.record_id), row, config, now_us=tx.now_us, quiet=quiet)
        changes.append(change)
        if not change.conflict:
            present[row.record_id] = change.after
    if validate_only:
        lost: set[str] = set()
    else:
        lost = _commit(tx, config, upserts, changes, stored, quiet=quiet)
    return [_result(row, change, stored, row.record_id in lost) for row, change in zip(upserts, changes, strict=True)]


def _read_rows(tx: WriteTransaction, config: WorkspaceConfig, rows: Sequence[record_service_pb2.RecordUpsert]) -> list[Upsert]:
    reader = UpsertReader(config)
    read = [reader.read(row, f"records[{index}]") for index, row in enumerate(rows)]
    upserts = [row for row in read if row is not None]
    owners = {u.owner.id for u in upserts if u.sets_owner and u.owner and u.owner.kind is OwnerKind.SELLER}
    unknown = owners - set(tx.sellers.get(config.workspace, owners))
    for index, row in enumerate(read):
        if row is not None and row.sets_owner and row.owner and row.owner.id in unknown:
            text = f"seller {row.owner.id!r} does not exist"
            reader.violations.append(Violation(f"records[{index}].record.owner", text, "UNKNOWN_REFERENCE"))
    if reader.violations:
        raise invalid(reader.violations)
    # The owner of a record's first upsert is taken as it is, mask or not.
    known = tx.records.get(config.workspace, [u.record_id for u in upserts])
    return [u if u.record_id in known or u.owner is None else replace(u, sets_owner=True) for u in upserts]


def _check_types(upserts: Sequence[Upsert], stored: dict[str, Record]) -> None:
    types = {record_id: record.record_type for record_id, record in stored.items()}
    faults = []
    for index, row in enumerate(upserts):
        if types.setdefault(row.record_id, row.record_type) != row.record_type:
            text = f"record {row.record_id!r} is of type {types[row.record_id]!r}; a record's type cannot change"
            faults.append(Violation(f"records[{index}].record.record_type", text))
    refuse(faults)


def _commit(
    tx: WriteTransaction,
    config: WorkspaceConfig,
    upserts: Sequence[Upsert],
    changes: Sequence[Change],
    stored: dict[str, Record],
    *,
    quiet: bool,
) -> set[str]:
    """Commit the rows, those of one record as one change; return the records whose new owner had no room."""
    by_record: dict[str, list[Change]] = {}
    for row, change in zip(upserts, changes, strict=True):
        if not change.conflict:
            by_record.setdefault(row.record_id, []).append(change)
    owners = {c.after.owner.id for cs in by_record.values() for c in cs if c.after.owner and c.after.owner.kind is OwnerKind.SELLER}
    sellers = tx.sellers.get(config.workspace, owners)
    names = {s.seller_id: s.display_name or s.seller_id for s in sellers.values()}
    made = []
    for record_id, parts in by_record.items():
        before, after = stored.get(record_id), parts[-1].after
        mark = _merged_mark([p.mark for p in parts if p.mark is not None])
        if before is not None and after == before and mark is None:
            continue
        given = any(p.owner_given for p in parts)
        seller = sellers.get(after.owner.id) if after.owner else None
        fields = tuple(sorted({name for p in parts for name in p.changed_fields}))
        enrollment = next((p.enrollment for p in parts if p.enrollment is not None), None)
        cause = {"kind": "MANUAL"} if given and before is not None else parts[-1].cause
        made.append(
            Transition(
                before,
                after,
                claim=Claim(limits_of(seller, config)) if given and before is not None and seller else None,
                counts_turn=given and not quiet and after.record_type in config.counted_types,
                enrollment=enrollment,
                event=event_of(
                    before,
                    after,
                    config=config,
                    time_us=tx.now_us,
                    cause=cause,
                    enrollment=enrollment,
                    changed_fields=fields,
                    quiet=quiet or config.settings.paused,
                    names=names,
                ),
                mark=mark,
            )
        )
    outcomes = tx.commit_records(config.workspace, made)
    if _frees_capacity(made):
        request_rerun(tx, config, "CAPACITY_FREED")
    return {t.after.record_id for t, o in zip(made, outcomes, strict=True) if t.after and o is Outcome.CAPACITY_LOST}


def _merged_mark(marks: Sequence[PendingMark]) -> PendingMark | None:
    merged: PendingMark | None = None
    for mark in marks:
        merged = mark if merged is None else replace(merged, cause=merge_causes(merged.cause, mark.cause))
    return merged


def _frees_capacity(made: Sequence[Transition]) -> bool:
    for t in made:
        if t.before is None or t.before.owner is None or not t.before.active or t.after is None:
            continue
        if not t.after.active or t.after.owner != t.before.owner or t.after.effort < t.before.effort:
            return True
    return False


def _result(row: Upsert, change: Change, stored: dict[str, Record], lost: bool) -> record_service_pb2.UpsertResult:
    before = stored.get(row.record_id)
    conflict = "NO_CAPACITY" if lost else change.conflict
    version = before.version if before else 0
    if conflict:
        texts = {
            "OWNER_CONFLICT": "the stored owner is not the expected one",
            "NO_CAPACITY": "the new owner has no free capacity",
            "ETAG_MISMATCH": "the record was changed since it was read",
        }
        return record_service_pb2.UpsertResult(
            record_id=row.record_id,
            conflict=record_service_pb2.Conflict(
                kind=record_service_pb2.ConflictKind.Value(f"CONFLICT_KIND_{conflict}"),
                stored_owner=from_owner(before.owner) if before else None,
                text=texts[conflict],
            ),
            etag=str(version),
        )
    written = before is None or bool(change.changed)
    return record_service_pb2.UpsertResult(
        record_id=row.record_id,
        created=before is None,
        changed_fields=["created_time" if name == "created_us" else name for name in change.changed],
        fired=change.fired,
        etag=str(version + 1 if written else version),
    )


def _add_up(answer: record_service_pb2.ImportRecordsResponse, results: Sequence[record_service_pb2.UpsertResult]) -> None:
    counts: Counter[str] = Counter()
    for result in results:
        if result.HasField("conflict"):
            answer.conflicts.append(result)
        else:
            counts["created" if result.created else "updated" if result.changed_fields else "unchanged"] += 1
    answer.created += counts["created"]
    answer.updated += counts["updated"]
    answer.unchanged += counts["unchanged"]


def _wanted(request: record_service_pb2.ListRecordsRequest) -> RecordFilter:
    return RecordFilter(
        record_types=[request.record_type] if request.record_type else None,
        segment_ids=list(request.segment_ids) or None,
        statuses=[assignment_name(s) for s in request.statuses] or None,
        owner=to_owner(request.owner),
        owned=False if request.unowned else None,
        active=request.active if request.HasField("active") else None,
        waiting_before_us=to_us(request.waiting_since_before) if request.HasField("waiting_since_before") else None,
    )


def _condition(request: record_service_pb2.ListRecordsRequest, config: WorkspaceConfig) -> Condition | None:
    return compile_filter(request.filter, request.record_type, config, "filter")


def compile_filter(text: str, record_type: str, config: WorkspaceConfig, field: str) -> Condition | None:
    """Return the compiled CEL filter of a request; None for none.

    Raises:
        ApiError: it cannot be used, or names no declared record type.
    """
    if not text:
        return None
    kind = config.record_types.get(record_type)
    if kind is None:
        raise invalid_field("record_type", "a filter needs a declared record type", "UNKNOWN_RECORD_TYPE")
    try:
        return compile_condition(text, {"record": kind.schema})
    except ConditionError as error:
        raise invalid_field(field, str(error), "CONDITION_INVALID") from None


def _page(
    tx: ReadTransaction, config: WorkspaceConfig, wanted: RecordFilter, condition: Condition | None, after: str, size: int
) -> tuple[list[Record], str]:
    """Return up to `size` records, and where to go on if the search was cut short."""
    if condition is None:
        return tx.records.page(config.workspace, wanted, after, size), ""
    found: list[Record] = []
    for _ in range(20):
        rows = tx.records.page(config.workspace, wanted, after, 1_000)
        if rows:
            schema = config.record_types[rows[0].record_type].schema
            holds = evaluate([condition], frame_of("record", schema, [r.fields for r in rows]), now_us=0)[:, 0]
            found.extend(row for row, ok in zip(rows, holds, strict=True) if ok)
            after = rows[-1].record_id
        if len(rows) < 1_000 or len(found) >= size:
            return found[:size], ""
    return found[:size], after
