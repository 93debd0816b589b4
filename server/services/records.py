"""RecordService: records in and out. Every change goes through one unit of work."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import grpc

from reallot.server.configuration import value_faults
from reallot.server.convert.decisions import decision_message
from reallot.server.convert.records import assignment_name, record_message, state_text
from reallot.server.convert.upserts import UpsertReader
from reallot.server.convert.values import from_owner, to_owner, to_us
from reallot.server.errors import Violation, invalid_field, not_found, not_implemented
from reallot.server.gathering import Gathering
from reallot.server.idempotency import once, once_each
from reallot.server.road.change import Change, Upsert, change_of, frees_capacity
from reallot.server.road.commit import limits_of
from reallot.server.road.enrol import leave
from reallot.server.road.events import enrolled, event_of
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import check_id, check_rows, page_size_of, refuse, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import Condition, ConditionError, compile_condition, evaluate, frame_of
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Claim, Decision, Json, Outcome, OwnerKind, PendingMark, Record, Seller, Transition
from reallot.storage.joint import Joint
from reallot.storage.pending import merge_causes
from reallot.v1 import record_pb2, record_service_pb2, record_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
FEW = 8
"""Requests of so many rows are carried out together with others."""
PART, MOST_PARTS = 1_000, 20
"""A filtered list reads this many records at once, and this often before it hands out a page that is not full."""


class RecordService(record_service_pb2_grpc.RecordServiceServicer):
    """Stores records, notices what changed, and lists them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._reads = Gathering(self._read_together)

    async def UpsertRecords(  # noqa: N802
        self, request: record_service_pb2.UpsertRecordsRequest, context: Context
    ) -> record_service_pb2.UpsertRecordsResponse:
        """Store records, whole or in part."""
        workspace = workspace_of(request)
        refuse(check_rows("records", request.records))
        subjects = {row.record.record_id for row in request.records} | {request.request_id} - {""}
        work = Joint(self._upsert_together, request, frozenset(subjects))
        alone = request.quiet or request.validate_only or len(request.records) > FEW
        return await self._runtime.write(workspace, work.__call__ if alone else work)

    def _upsert_together(
        self, tx: WriteTransaction, requests: Sequence[record_service_pb2.UpsertRecordsRequest]
    ) -> Sequence[record_service_pb2.UpsertRecordsResponse]:
        """Carry out requests of one workspace about different records that are all as quiet as the first."""
        workspace = workspace_of(requests[0])

        def carry_out(
            tx: WriteTransaction, fresh: Sequence[record_service_pb2.UpsertRecordsRequest]
        ) -> Sequence[record_service_pb2.UpsertRecordsResponse]:
            rows = [row for request in fresh for row in request.records]
            config = self._runtime.configs.of(tx, workspace)
            results = iter(upsert_records(tx, config, rows, quiet=fresh[0].quiet, validate_only=fresh[0].validate_only))
            return [record_service_pb2.UpsertRecordsResponse(results=islice(results, len(request.records))) for request in fresh]

        return once_each(requests, workspace, record_service_pb2.UpsertRecordsResponse, carry_out)(tx)

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

        found = await self._reads.ask(workspace, request.record_id)
        if found is None:
            raise not_found("record", request.record_id)
        return found

    async def _read_together(self, workspace: str, record_ids: Sequence[str]) -> Sequence[record_pb2.Record | None]:
        """Return the records in the order of their ids; None for those that do not exist."""

        def read(tx: ReadTransaction) -> Sequence[record_pb2.Record | None]:
            found, config = tx.records.get(workspace, record_ids), self._runtime.configs.of(tx, workspace)
            pending = tx.records.pending_ids(workspace, found)
            messages = {i: record_message(record, config, pending=i in pending) for i, record in found.items()}
            return [messages.get(record_id) for record_id in record_ids]

        return await self._runtime.read(read)

    async def ListRecords(  # noqa: N802
        self, request: record_service_pb2.ListRecordsRequest, context: Context
    ) -> record_service_pb2.ListRecordsResponse:
        """List records by id."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)
        refuse([Violation(path, text) for path, text in value_faults(request)])
        wanted, now_us = _wanted(request), self._runtime.clock.now_us()

        def read(tx: ReadTransaction) -> record_service_pb2.ListRecordsResponse:
            config = self._runtime.configs.of(tx, workspace)
            condition = compile_filter(request.filter, request.record_type, config, "filter")
            found, last = _page(tx, config, wanted, condition, after or "", size + 1, now_us)
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
        refuse([v for i, record_id in enumerate(request.record_ids) for v in check_id(f"record_ids[{i}]", record_id)])

        def work(tx: WriteTransaction) -> record_service_pb2.DeleteRecordsResponse:
            config = self._runtime.configs.of(tx, workspace)
            found = tx.records.get(workspace, request.record_ids)
            made = [_deletion(record, config, tx.now_us) for record in found.values()]
            tx.commit_records(workspace, made)
            if any(frees_capacity(t.before, t.after) for t in made):
                request_rerun(tx, config, "CAPACITY_FREED")
            return record_service_pb2.DeleteRecordsResponse(deleted=len(found))

        return await self._runtime.write(workspace, once(request, workspace, record_service_pb2.DeleteRecordsResponse, work))

    async def ListDecisions(  # noqa: N802
        self, request: record_service_pb2.ListDecisionsRequest, context: Context
    ) -> record_service_pb2.ListDecisionsResponse:
        """List a record's log, newest first, or a run's, in order."""
        workspace, size, key = workspace_of(request), page_size_of(request), read_page_token(request)
        if not request.record_id and not request.run_id:
            raise invalid_field("record_id", "a record or a run is needed")

        def read(tx: ReadTransaction) -> record_service_pb2.ListDecisionsResponse:
            if request.record_id:
                found = _log(tx, workspace, request, key, size + 1)
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
    stored = tx.records.get(config.workspace, [row.record.record_id for row in rows])
    upserts = _read_rows(tx, config, rows, stored)
    _check_types(upserts, stored)
    present: dict[str, Record] = dict(stored)
    changes: list[Change] = []
    for row in upserts:
        change = change_of(present.get(row.record_id), row, config, now_us=tx.now_us, quiet=quiet)
        changes.append(change)
        if not change.conflict:
            present[row.record_id] = change.after
    outcomes = {} if validate_only else _commit(tx, config, upserts, changes, stored, quiet=quiet)
    last = tx.records.last_versions(config.workspace, [row.record_id for row in upserts if row.record_id not in stored])
    created: set[str] = set()
    results = []
    for row, change in zip(upserts, changes, strict=True):
        first = row.record_id not in stored and row.record_id not in created and not change.conflict
        created.update([row.record_id] if first else [])
        version = stored[row.record_id].version if row.record_id in stored else last.get(row.record_id, 0)
        results.append(_result(change, stored.get(row.record_id), outcomes.get(row.record_id), version, created=first))
    return results


def _read_rows(
    tx: WriteTransaction, config: WorkspaceConfig, rows: Sequence[record_service_pb2.RecordUpsert], stored: Mapping[str, Record]
) -> list[Upsert]:
    owners = {row.record.owner.seller_id for row in rows} - {""}
    sellers = set(tx.sellers.get(config.workspace, owners)) if owners else set()
    reader = UpsertReader(config, stored, sellers)
    upserts = [reader.read(row, f"records[{index}]") for index, row in enumerate(rows)]
    refuse(reader.violations)
    return [row for row in upserts if row is not None]


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
    stored: Mapping[str, Record],
    *,
    quiet: bool,
) -> dict[str, Outcome]:
    """Commit the rows, those of one record as one change; return what became of each record that they write."""
    by_record: dict[str, list[Change]] = {}
    for row, change in zip(upserts, changes, strict=True):
        if not change.conflict:
            by_record.setdefault(row.record_id, []).append(change)
    involved = [r for i, cs in by_record.items() for r in (stored.get(i), cs[-1].after) if r is not None]
    owners = {r.owner.id for r in involved if r.owner is not None and r.owner.kind is OwnerKind.SELLER}
    sellers = tx.sellers.get(config.workspace, owners)
    write = _Write(config, tx.now_us, sellers, quiet=quiet)
    found = [write.transition(stored.get(record_id), parts) for record_id, parts in by_record.items()]
    made = [transition for transition in found if transition is not None]
    outcomes = tx.commit_records(config.workspace, made)
    if any(frees_capacity(t.before, t.after) for t in made):
        request_rerun(tx, config, "CAPACITY_FREED")
    return {t.after.record_id: o for t, o in zip(made, outcomes, strict=True) if t.after}


@dataclass(frozen=True)
class _Write:
    """One write: what all of its transitions share."""

    config: WorkspaceConfig
    now_us: int
    sellers: Mapping[str, Seller]
    quiet: bool

    def transition(self, before: Record | None, parts: Sequence[Change]) -> Transition | None:
        """Return the changes of one record, in order, as one transition; None if nothing changes."""
        after = parts[-1].after
        mark = _merged_mark([p.mark for p in parts if p.mark is not None])
        if before is not None and after == before and mark is None:
            return None
        given = any(p.owner_given for p in parts)
        by_hand = given and before is not None
        seller = self.sellers.get(after.owner.id) if after.owner and after.owner.kind is OwnerKind.SELLER else None
        enrollment = next((p.enrollment for p in parts if p.enrollment is not None), None)
        cause = {"kind": "MANUAL"} if by_hand else parts[-1].cause
        event = event_of(
            before,
            enrolled(before, after, enrollment) if enrollment is not None else after,
            config=self.config,
            time_us=self.now_us,
            cause=cause,
            changed_fields=tuple(sorted({name for p in parts for name in p.changed_fields})),
            quiet=self.quiet or self.config.settings.paused,
            names={s.seller_id: s.display_name or s.seller_id for s in self.sellers.values()},
        )
        return Transition(
            before,
            after,
            claim=Claim(limits_of(seller.capacity, self.config)) if by_hand and seller else None,
            counts_turn=given and not self.quiet and after.record_type in self.config.counted_types,
            enrollment=enrollment,
            event=event,
            decision=self._decision(before, after, cause) if given or any(p.released for p in parts) else None,
            mark=mark,
        )

    def _decision(self, before: Record | None, after: Record, cause: Json) -> Decision:
        return Decision(
            after.record_id,
            self.now_us,
            cause,
            after.assignment,
            after.reason or "the owner came with the record",
            state_text(before),
            state_text(after),
        )


def _deletion(record: Record, config: WorkspaceConfig, now_us: int) -> Transition:
    return Transition(
        record,
        None,
        enrollment=leave(record, "RECORD_DELETED"),
        event=event_of(record, None, config=config, time_us=now_us, cause={"kind": "DELETED"}),
    )


def _merged_mark(marks: Sequence[PendingMark]) -> PendingMark | None:
    merged: PendingMark | None = None
    for mark in marks:
        merged = mark if merged is None else replace(merged, cause=merge_causes(merged.cause, mark.cause))
    return merged


_CONFLICTS = {
    "OWNER_CONFLICT": "the stored owner is not the expected one",
    "NO_CAPACITY": "the new owner has no free capacity",
    "ETAG_MISMATCH": "the record was changed since it was read",
}


def _result(
    change: Change, before: Record | None, outcome: Outcome | None, version: int, *, created: bool
) -> record_service_pb2.UpsertResult:
    conflict = "NO_CAPACITY" if outcome is Outcome.CAPACITY_LOST else change.conflict
    version += outcome is Outcome.COMMITTED
    if conflict:
        return record_service_pb2.UpsertResult(
            record_id=change.after.record_id,
            conflict=record_service_pb2.Conflict(
                kind=record_service_pb2.ConflictKind.Value(f"CONFLICT_KIND_{conflict}"),
                stored_owner=from_owner(before.owner) if before else None,
                text=_CONFLICTS[conflict],
            ),
            etag=str(version) if version else "",
        )
    return record_service_pb2.UpsertResult(
        record_id=change.after.record_id,
        created=created,
        changed_fields=["created_time" if name == "created_us" else name for name in change.changed],
        fired=change.fired,
        etag=str(version) if version else "",
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


def _log(
    tx: ReadTransaction, workspace: str, request: record_service_pb2.ListDecisionsRequest, before_id: int | None, size: int
) -> list[Decision]:
    """Return up to `size` lines of a record's log, newest first; with a run, only that run's."""
    found: list[Decision] = []
    while True:
        lines = tx.decisions.of_record(workspace, request.record_id, before_id, PART)
        found.extend(line for line in lines if not request.run_id or line.run_id == request.run_id)
        if len(lines) < PART or len(found) >= size:
            return found[:size]
        before_id = lines[-1].decision_id


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
    tx: ReadTransaction,
    config: WorkspaceConfig,
    wanted: RecordFilter,
    condition: Condition | None,
    after: str,
    size: int,
    now_us: int,
) -> tuple[list[Record], str]:
    """Return up to `size` records, and where to go on if the search was cut short."""
    if condition is None:
        return tx.records.page(config.workspace, wanted, after, size), ""
    found: list[Record] = []
    for _ in range(MOST_PARTS):
        rows = tx.records.page(config.workspace, wanted, after, PART)
        if rows:
            schema = config.record_types[rows[0].record_type].schema
            holds = evaluate([condition], frame_of("record", schema, [r.fields for r in rows]), now_us=now_us)[:, 0]
            found.extend(row for row, ok in zip(rows, holds, strict=True) if ok)
            after = rows[-1].record_id
        if len(rows) < PART or len(found) >= size:
            return found[:size], ""
    return found[:size], after
