"""RecordService: records in and out. Every change goes through one unit of work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from itertools import islice
from typing import Any

import grpc

from reallot.server.configuration import value_faults
from reallot.server.convert.decisions import decision_message
from reallot.server.convert.records import assignment_name, record_message
from reallot.server.convert.values import to_owner, to_us
from reallot.server.errors import Violation, invalid_field, not_found
from reallot.server.fanouts import note_changes
from reallot.server.gathering import Gathering
from reallot.server.idempotency import once, once_each
from reallot.server.languages import LANGUAGE
from reallot.server.next_tries import next_tries
from reallot.server.road.change import freed_sellers
from reallot.server.road.enrol import leave
from reallot.server.road.events import event_of
from reallot.server.road.joined import frame_of_records
from reallot.server.runtime import Runtime, request_rerun
from reallot.server.services.importing import add_batch, add_up, import_columns, prepare
from reallot.server.services.upserts import upsert_records
from reallot.server.tokens import page_token, read_page_token
from reallot.server.validation import check_id, check_rows, page_size_of, refuse, workspace_of
from reallot.server.workspace_config import WorkspaceConfig
from reallot.solver.segmentation import Condition, ConditionError, evaluate
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Decision, Record, Transition
from reallot.storage.joint import Joint
from reallot.v1 import record_pb2, record_service_pb2, record_service_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]
ImportBatch = record_service_pb2.ImportRecordsRequest
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
        first: ImportBatch | None = None
        number = 0
        writing: asyncio.Future[record_service_pb2.ImportRecordsResponse] | None = None
        try:
            async for request in request_iterator:
                first = first or request
                # A batch is made ready while the one before is written.
                write = await self._ready(first, request, number, context)
                if writing is not None:
                    add_batch(answer, await writing)
                writing, number = asyncio.ensure_future(write()), number + 1
        finally:
            # What came before a batch that is refused is stored all the same.
            last = await writing if writing is not None else None
        add_batch(answer, last or record_service_pb2.ImportRecordsResponse())
        return answer

    async def _ready(
        self,
        first: record_service_pb2.ImportRecordsRequest,
        request: record_service_pb2.ImportRecordsRequest,
        number: int,
        context: Context,
    ) -> Callable[[], Awaitable[record_service_pb2.ImportRecordsResponse]]:
        """Return what stores a batch in one transaction."""
        request_id = f"{first.request_id}/{number}" if first.request_id else ""
        if request.arrow:
            if request.records:
                raise invalid_field("arrow", "a batch holds rows or Arrow columns, not both")
            named = record_service_pb2.ImportRecordsRequest(
                workspace=workspace_of(first), request_id=request_id, live=first.live, arrow=request.arrow
            )
            return await self._columns_ready(named)
        refuse(check_rows("records", request.records, needed=False))
        batch = record_service_pb2.UpsertRecordsRequest(
            workspace=first.workspace, request_id=request_id, records=request.records, quiet=not first.live
        )

        async def upsert() -> record_service_pb2.ImportRecordsResponse:
            answer = record_service_pb2.ImportRecordsResponse()
            if batch.records:
                add_up(answer, (await self.UpsertRecords(batch, context)).results)
            return answer

        return upsert

    async def _columns_ready(
        self, request: record_service_pb2.ImportRecordsRequest
    ) -> Callable[[], Awaitable[record_service_pb2.ImportRecordsResponse]]:
        workspace, quiet, configs = request.workspace, not request.live, self._runtime.configs
        table = await self._runtime.arrow.read(request.arrow, "arrow")
        prepared = await self._runtime.read(lambda tx: prepare(tx, configs.of(tx, workspace), table, quiet=quiet))

        def work(tx: WriteTransaction) -> record_service_pb2.ImportRecordsResponse:
            config = configs.of(tx, workspace)
            current = prepared if prepared.version == config.version else prepare(tx, config, table, quiet=quiet)
            return import_columns(tx, config, current, quiet=quiet)

        return lambda: self._runtime.write(workspace, once(request, workspace, record_service_pb2.ImportRecordsResponse, work))

    async def GetRecord(self, request: record_service_pb2.GetRecordRequest, context: Context) -> record_pb2.Record:  # noqa: N802
        """Return one record."""
        workspace = workspace_of(request)
        refuse(check_id("record_id", request.record_id))

        found = await self._reads.ask(workspace, (request.record_id, LANGUAGE.get()))
        if found is None:
            raise not_found("record", request.record_id)
        return found

    async def _read_together(self, workspace: str, asked: Sequence[tuple[str, str]]) -> Sequence[record_pb2.Record | None]:
        """Return the records in the order of their ids, each in the language that goes with it; None for those that do not exist."""

        def read(tx: ReadTransaction) -> Sequence[record_pb2.Record | None]:
            version, found = tx.shown_records(workspace, [record_id for record_id, _ in asked])
            config = self._runtime.configs.of(tx, workspace, version) if found else None
            tries = next_tries(tx, config, [record for record, _ in found.values()], self._runtime.clock.now_us()) if config else {}
            messages: dict[tuple[str, str], record_pb2.Record] = {}
            for record_id, language in dict.fromkeys(asked):
                if config is not None and record_id in found:
                    (record, waits), due_us = found[record_id], tries.get(record_id)
                    messages[record_id, language] = record_message(record, config, pending=waits, next_try_us=due_us, language=language)
            return [messages.get(key) for key in asked]

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
            tries = next_tries(tx, config, rows, now_us)
            messages = [record_message(r, config, pending=r.record_id in pending, next_try_us=tries.get(r.record_id)) for r in rows]
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
            note_changes(tx, config, made)
            request_rerun(tx, config, "CAPACITY_FREED", freed_sellers((t.before, t.after) for t in made))
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
            speech = self._runtime.speech(tx, workspace)
            lines = [decision_message(line, speech) for line in found[:size]]
            return record_service_pb2.ListDecisionsResponse(decisions=lines, next_page_token=token)

        return await self._runtime.read(read)


def _deletion(record: Record, config: WorkspaceConfig, now_us: int) -> Transition:
    return Transition(
        record,
        None,
        enrollment=leave(record, "RECORD_DELETED"),
        event=event_of(record, None, config=config, time_us=now_us, cause={"kind": "DELETED"}),
    )


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
        return config.filter_of(record_type, text)
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
            holds = evaluate([condition], frame_of_records(tx, config, rows, [condition]), now_us=now_us)[:, 0]
            found.extend(row for row, ok in zip(rows, holds, strict=True) if ok)
            after = rows[-1].record_id
        if len(rows) < PART or len(found) >= size:
            return found[:size], ""
    return found[:size], after
