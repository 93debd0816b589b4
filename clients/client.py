"""The Python client: one asynchronous implementation, and a synchronous face over it.

Reads, and writes that carry a request id (the client fills one in), are retried while the server is UNAVAILABLE, or has too much to
do and says when to come again; nothing else is. How streams go on stands in `following`.
"""

import asyncio
import queue
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc

from reallot.clients.bundle import read_bundle
from reallot.clients.errors import Exhausted, ReallotError, Unavailable, from_rpc
from reallot.clients.following import FIRST_BACKOFF_S, LONGEST_BACKOFF_S, Gap, Item, SnapshotEnd, follow, pause_after
from reallot.clients.model import Record, Seller
from reallot.clients.security import Security
from reallot.clients.solving import SolverCalls
from reallot.clients.values import to_owner
from reallot.v1 import (
    assignment_service_pb2,
    assignment_service_pb2_grpc,
    config_pb2,
    config_service_pb2,
    config_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    insight_service_pb2_grpc,
    record_pb2,
    record_service_pb2,
    record_service_pb2_grpc,
    run_pb2,
    seller_pb2,
    seller_service_pb2,
    seller_service_pb2_grpc,
    sequence_service_pb2_grpc,
    solver_service_pb2_grpc,
    workspace_service_pb2_grpc,
)

T = TypeVar("T")
BATCH = 1_000
"""Rows in one request."""
RETRIES = 6
PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
"""Ends of calls that pass by themselves, or with another server."""
ENDED = frozenset(
    {
        *(run_pb2.RUN_STATE_SUCCEEDED, run_pb2.RUN_STATE_CANCELLED, run_pb2.RUN_STATE_FAILED, run_pb2.RUN_STATE_DROPPED),
        # Planned: what follows is asked for.
        run_pb2.RUN_STATE_PREVIEWED,
    }
)


@dataclass(frozen=True)
class Stubs:
    """The bare stubs, for what has no friendly method."""

    records: Any
    sellers: Any
    config: Any
    assignment: Any
    events: Any
    insight: Any
    sequences: Any
    solver: Any
    workspaces: Any


class AsyncClient:
    """A client for asynchronous programs. Belongs to one event loop."""

    def __init__(
        self, address: str = "localhost:7350", *, workspace: str = "", security: Security | None = None, language: str = ""
    ) -> None:
        """Connect; sentences come in `language` (as of `accept-language`), "" = the workspace's."""
        self._channel = (security or Security()).channel(address, language)
        self.workspace = workspace
        self.stubs = Stubs(
            record_service_pb2_grpc.RecordServiceStub(self._channel),
            seller_service_pb2_grpc.SellerServiceStub(self._channel),
            config_service_pb2_grpc.ConfigServiceStub(self._channel),
            assignment_service_pb2_grpc.AssignmentServiceStub(self._channel),
            event_service_pb2_grpc.EventServiceStub(self._channel),
            insight_service_pb2_grpc.InsightServiceStub(self._channel),
            sequence_service_pb2_grpc.SequenceServiceStub(self._channel),
            solver_service_pb2_grpc.SolverServiceStub(self._channel),
            workspace_service_pb2_grpc.WorkspaceServiceStub(self._channel),
        )
        self.config = ConfigCalls(self)
        self.records = RecordCalls(self)
        self.sellers = SellerCalls(self)
        self.runs = RunCalls(self)
        self.offers = OfferCalls(self)
        self.events = EventCalls(self)
        self.solver = SolverCalls(self)

    @property
    def channel(self) -> Any:
        """The channel (of `grpc.aio`), for stubs of other services."""
        return self._channel

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channel.close()

    async def call(self, method: Callable[..., Any], request: Any) -> Any:
        """Make a unary call: fills in workspace and request id, retries while the server is unavailable or busy.

        Raises:
            ReallotError: the call failed.
        """
        fields = request.DESCRIPTOR.fields_by_name
        if "workspace" in fields and not request.workspace:
            request.workspace = self.workspace
        if "request_id" in fields and not request.request_id:
            request.request_id = str(uuid.uuid4())
        backoff_s = FIRST_BACKOFF_S
        for attempt in range(RETRIES):
            try:
                return await method(request)
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error)
                passes = error.code() in PASSING or (isinstance(failure, Exhausted) and failure.retry_after_s is not None)
                if not passes or attempt == RETRIES - 1:
                    raise failure from None
            await asyncio.sleep(pause_after(failure, backoff_s))
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
        raise AssertionError("the loop returns or raises")

    async def pages(self, method: Callable[..., Any], request: Any, rows: str) -> AsyncIterator[Any]:
        """Yield the rows of all pages of a list."""
        request.page_size = request.page_size or BATCH
        while True:
            answer = await self.call(method, request)
            for row in getattr(answer, rows):
                yield row
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def stream(self, method: Callable[..., Any], request: Any) -> AsyncIterator[Any]:
        """Yield the answers of a stream that ends by itself; fills in the workspace.

        Raises:
            ReallotError: the call failed.
        """
        if not request.workspace:
            request.workspace = self.workspace
        try:
            async for answer in method(request):
                yield answer
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from None


class Calls:
    """Friendly methods of one area."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client


class ConfigCalls(Calls):
    """Configuration."""

    async def apply(
        self,
        resources: Iterable[config_pb2.ConfigResource],
        *,
        dry_run: bool = False,
        prune: bool = False,
        actor: str = "",
        force: bool = False,
    ) -> config_service_pb2.ApplyResponse:
        """Store a bundle; with `dry_run` only check and compare it, with `force` take out of use what reads fields that go."""
        request = config_service_pb2.ApplyRequest(resources=resources, validate_only=dry_run, prune=prune, actor=actor, force=force)
        answer: config_service_pb2.ApplyResponse = await self._client.call(self._client.stubs.config.Apply, request)
        return answer

    async def apply_file(self, path: str | Path, *, dry_run: bool = False, prune: bool = False) -> config_service_pb2.ApplyResponse:
        """Store the configuration and sellers of a YAML file."""
        resources, sellers = read_bundle(Path(path))
        answer = await self.apply(resources, dry_run=dry_run, prune=prune)
        for start in range(0, len(sellers), BATCH):
            request = seller_service_pb2.UpsertSellersRequest(sellers=sellers[start : start + BATCH], validate_only=dry_run)
            await self._client.call(self._client.stubs.sellers.UpsertSellers, request)
        return answer

    async def export(self) -> list[config_pb2.ConfigResource]:
        """Return the whole configuration."""
        answer = await self._client.call(self._client.stubs.config.Export, config_service_pb2.ExportRequest())
        return list(answer.resources)


class RecordCalls(Calls):
    """Records."""

    async def upsert(self, records: Iterable[Record], *, quiet: bool = False) -> list[record_service_pb2.UpsertResult]:
        """Store records in batches, and return one row for each."""
        rows, results = [record.to_upsert() for record in records], []
        for start in range(0, len(rows), BATCH):
            request = record_service_pb2.UpsertRecordsRequest(records=rows[start : start + BATCH], quiet=quiet)
            results.extend((await self._client.call(self._client.stubs.records.UpsertRecords, request)).results)
        return results

    async def load(self, records: Iterable[Record], *, live: bool = False) -> record_service_pb2.ImportRecordsResponse:
        """Store many records, as Arrow columns where they are alike, and return how many were created, updated and unchanged.

        Needs polars. It is quiet unless it is `live`. Batches before one that is refused are stored; over lost connections it goes on
        where it stopped.

        Raises:
            ReallotError: a batch was refused.
            ModuleNotFoundError: polars is not installed.
        """
        try:  # Only loads need it, and it takes a while.
            from reallot.clients.arrow import batches_of
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"load sends columns, and needs {error.name}: pip install 'reallot-client[load]'") from error

        rows = list(records)

        async def stream(first: record_service_pb2.ImportRecordsRequest) -> AsyncIterator[record_service_pb2.ImportRecordsRequest]:
            yield first
            for batch in batches_of(rows):
                yield batch

        stub = self._client.stubs.records.ImportRecords
        answer: record_service_pb2.ImportRecordsResponse = await self._client.call(
            lambda first: stub(stream(first)), record_service_pb2.ImportRecordsRequest(live=live)
        )
        return answer

    async def get(self, record_id: str) -> record_pb2.Record:
        """Return one record."""
        request = record_service_pb2.GetRecordRequest(record_id=record_id)
        answer: record_pb2.Record = await self._client.call(self._client.stubs.records.GetRecord, request)
        return answer

    async def assign(
        self, owner: str, record_ids: Iterable[str], *, force: bool = False, reason: str = ""
    ) -> list[assignment_service_pb2.AssignResult]:
        """Give records to a seller, `team:ID` or `queue:ID` by hand, in batches, and return one row for each."""
        wanted, results = list(record_ids), []
        for start in range(0, len(wanted), BATCH):
            request = assignment_service_pb2.AssignRecordsRequest(
                record_ids=wanted[start : start + BATCH], owner=to_owner(owner), force=force, reason=reason
            )
            results.extend((await self._client.call(self._client.stubs.assignment.AssignRecords, request)).results)
        return results

    async def release(self, record_ids: Iterable[str], *, reason: str = "") -> tuple[int, list[str]]:
        """Take records from their owners, in batches; return how many had one, and the ids of records that do not exist."""
        wanted, released, unknown = list(record_ids), 0, list[str]()
        for start in range(0, len(wanted), BATCH):
            request = assignment_service_pb2.ReleaseRecordsRequest(record_ids=wanted[start : start + BATCH], reason=reason)
            answer = await self._client.call(self._client.stubs.assignment.ReleaseRecords, request)
            released, unknown = released + answer.released, [*unknown, *answer.unknown_record_ids]
        return released, unknown

    async def eligible(self, record_id: str, *, others: bool = False) -> list[assignment_service_pb2.Candidate]:
        """Return who could take a record by its rules, best first; with `others`, all sellers, with what stands in their way."""
        request = assignment_service_pb2.ListEligibleSellersRequest(record_id=record_id, include_others=others)
        return [c async for c in self._client.pages(self._client.stubs.assignment.ListEligibleSellers, request, "candidates")]

    async def list(self, **wanted: Any) -> list[record_pb2.Record]:
        """Return all records of a filter; the names are those of ListRecordsRequest."""
        request = record_service_pb2.ListRecordsRequest(**wanted)
        return [r async for r in self._client.pages(self._client.stubs.records.ListRecords, request, "records")]

    async def delete(self, record_ids: Iterable[str]) -> int:
        """Delete records and return how many existed."""
        request = record_service_pb2.DeleteRecordsRequest(record_ids=record_ids)
        return int((await self._client.call(self._client.stubs.records.DeleteRecords, request)).deleted)


class SellerCalls(Calls):
    """Sellers."""

    async def upsert(self, sellers: Iterable[Seller]) -> list[seller_service_pb2.SellerResult]:
        """Store sellers in batches, and return one row for each."""
        rows, results = [seller.to_upsert() for seller in sellers], []
        for start in range(0, len(rows), BATCH):
            request = seller_service_pb2.UpsertSellersRequest(sellers=rows[start : start + BATCH])
            results.extend((await self._client.call(self._client.stubs.sellers.UpsertSellers, request)).results)
        return results

    async def get(self, seller_id: str) -> seller_pb2.Seller:
        """Return one seller."""
        request = seller_service_pb2.GetSellerRequest(seller_id=seller_id)
        answer: seller_pb2.Seller = await self._client.call(self._client.stubs.sellers.GetSeller, request)
        return answer

    async def list(self) -> list[seller_pb2.Seller]:
        """Return all sellers."""
        request = seller_service_pb2.ListSellersRequest()
        return [s async for s in self._client.pages(self._client.stubs.sellers.ListSellers, request, "sellers")]

    async def come_back(self, seller_ids: Iterable[str]) -> int:
        """Take sellers who let offers run out into the pool again, and return how many were out of it."""
        request = seller_service_pb2.ReturnSellersRequest(seller_ids=seller_ids)
        return int((await self._client.call(self._client.stubs.sellers.ReturnSellers, request)).returned)


class RunCalls(Calls):
    """Runs."""

    async def start(self, selection: run_pb2.RunSelection | None = None, **more: Any) -> run_pb2.Run:
        """Start a run; further names are those of StartRunRequest."""
        request = assignment_service_pb2.StartRunRequest(selection=selection, **more)
        answer: run_pb2.Run = await self._client.call(self._client.stubs.assignment.StartRun, request)
        return answer

    async def get(self, run_id: str) -> run_pb2.Run:
        """Return one run."""
        request = assignment_service_pb2.GetRunRequest(run_id=run_id)
        answer: run_pb2.Run = await self._client.call(self._client.stubs.assignment.GetRun, request)
        return answer

    async def list(self, **wanted: Any) -> list[run_pb2.Run]:
        """Return runs, newest first; the names are those of ListRunsRequest."""
        request = assignment_service_pb2.ListRunsRequest(**wanted)
        return [r async for r in self._client.pages(self._client.stubs.assignment.ListRuns, request, "runs")]

    async def watch(self, run_id: str) -> AsyncIterator[assignment_service_pb2.WatchRunResponse]:
        """Yield a run as it goes on, until it has ended; over lost connections."""
        request = assignment_service_pb2.WatchRunRequest(workspace=self._client.workspace, run_id=run_id)
        backoff_s = FIRST_BACKOFF_S
        while True:
            pause_s = backoff_s
            try:
                async for answer in self._client.stubs.assignment.WatchRun(request):
                    backoff_s = FIRST_BACKOFF_S
                    yield answer
                    if answer.run.state in ENDED:
                        return
            except grpc.aio.AioRpcError as error:
                failure = from_rpc(error)
                if not isinstance(failure, Unavailable | Exhausted):
                    raise failure from None
                pause_s = pause_after(failure, backoff_s)
            await asyncio.sleep(pause_s)
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)

    async def wait(self, run_id: str) -> run_pb2.Run:
        """Return a run once it has ended."""
        run = run_pb2.Run()
        async for answer in self.watch(run_id):
            run = answer.run
        return run

    async def preview(self, run_id: str) -> assignment_service_pb2.ListPreviewResponse:
        """Return what a previewed run would do: all its moves, and what they come to."""
        whole, token = assignment_service_pb2.ListPreviewResponse(), ""
        while True:
            request = assignment_service_pb2.ListPreviewRequest(run_id=run_id, page_size=1_000, page_token=token)
            page = await self._client.call(self._client.stubs.assignment.ListPreview, request)
            token = page.next_page_token
            page.ClearField("next_page_token")
            whole.MergeFrom(page)
            if not token:
                return whole

    async def apply(self, run_id: str) -> run_pb2.Run:
        """Have a previewed run do what it said."""
        request = assignment_service_pb2.ApplyRunRequest(run_id=run_id)
        answer: run_pb2.Run = await self._client.call(self._client.stubs.assignment.ApplyRun, request)
        return answer

    async def drop(self, run_id: str) -> run_pb2.Run:
        """Forget a previewed run."""
        request = assignment_service_pb2.DropRunRequest(run_id=run_id)
        answer: run_pb2.Run = await self._client.call(self._client.stubs.assignment.DropRun, request)
        return answer

    async def undo(self, run_id: str, **more: Any) -> assignment_service_pb2.UndoRunResponse:
        """Take back what a run did to records that nobody has touched since; further names are those of UndoRunRequest."""
        request = assignment_service_pb2.UndoRunRequest(run_id=run_id, **more)
        answer: assignment_service_pb2.UndoRunResponse = await self._client.call(self._client.stubs.assignment.UndoRun, request)
        return answer

    async def cancel(self, run_id: str) -> run_pb2.Run:
        """Ask a run to stop."""
        request = assignment_service_pb2.CancelRunRequest(run_id=run_id)
        answer: run_pb2.Run = await self._client.call(self._client.stubs.assignment.CancelRun, request)
        return answer


class OfferCalls(Calls):
    """Offers to sellers."""

    async def list(self, **wanted: Any) -> list[assignment_service_pb2.OpenOffer]:
        """Return open offers; the names are those of ListOffersRequest, e.g. `seller_id`."""
        request = assignment_service_pb2.ListOffersRequest(**wanted)
        return [o async for o in self._client.pages(self._client.stubs.assignment.ListOffers, request, "offers")]

    async def accept(self, record_id: str, seller_id: str, *, reason: str = "") -> None:
        """Have a seller take a record that is offered."""
        await self._respond(record_id, seller_id, reason, accept=True)

    async def decline(self, record_id: str, seller_id: str, *, reason: str = "") -> None:
        """Have a seller decline a record that is offered: the next one is asked."""
        await self._respond(record_id, seller_id, reason, accept=False)

    async def claim_next(self, seller_id: str, **wanted: Any) -> assignment_service_pb2.OpenOffer | None:
        """Hold the next record of a pool for a seller, who then accepts or declines it; None if there is none.

        Further names are those of ClaimNextRequest, e.g. `segment_ids` or `lease`.
        """
        request = assignment_service_pb2.ClaimNextRequest(seller_id=seller_id, **wanted)
        answer = await self._client.call(self._client.stubs.assignment.ClaimNext, request)
        return answer.claim if answer.HasField("claim") else None

    async def extend(self, record_id: str, seller_id: str, **wanted: Any) -> assignment_service_pb2.OpenOffer:
        """Hold a claimed record for longer; `lease` as in ExtendClaimRequest."""
        request = assignment_service_pb2.ExtendClaimRequest(record_id=record_id, seller_id=seller_id, **wanted)
        answer: assignment_service_pb2.OpenOffer = await self._client.call(self._client.stubs.assignment.ExtendClaim, request)
        return answer

    async def _respond(self, record_id: str, seller_id: str, reason: str, *, accept: bool) -> None:
        request = assignment_service_pb2.RespondToOfferRequest(record_id=record_id, seller_id=seller_id, accept=accept, reason=reason)
        await self._client.call(self._client.stubs.assignment.RespondToOffer, request)


class EventCalls(Calls):
    """Streams."""

    def watch(self, *, cursor: str = "", snapshot: bool = False, relist: bool = True, **wanted: Any) -> AsyncIterator[Item | Gap]:
        """Yield the workspace's events for ever, over lost connections.

        Args:
            cursor: Go on after this event's cursor; empty = from now.
            snapshot: Begin with the records that the filter takes, then a `SnapshotEnd`. Not together with a cursor.
            relist: Where events are missing, give out a `Gap` and then such a list; else the `Gap` only, and go on from now.
            wanted: Names of EventFilter.
        """
        filter_ = event_service_pb2.EventFilter(**wanted)
        request = event_service_pb2.WatchRequest(workspace=self._client.workspace, cursor=cursor, filter=filter_, snapshot=snapshot)
        return follow(self._client.stubs.events.Watch, request, relist=relist)

    def subscribe(
        self, seller_id: str, *, cursor: str = "", unread_first: bool = False, snapshot: bool = False, relist: bool = True
    ) -> AsyncIterator[Item | Gap]:
        """Yield one seller's notifications for ever, over lost connections.

        Args:
            seller_id: The seller.
            cursor: Go on after this notification's cursor; empty = from now.
            unread_first: Without a cursor: begin with what the seller has not acknowledged.
            snapshot: Begin with the active records that the seller owns, then a `SnapshotEnd`. Not together with a cursor.
            relist: Where notifications are missing, give out a `Gap`, then such a list, before whose end what is not acknowledged comes;
                else the `Gap` only, and go on from now.
        """
        request = event_service_pb2.SubscribeRequest(
            workspace=self._client.workspace, seller_id=seller_id, cursor=cursor, unread_first=unread_first, snapshot=snapshot
        )
        return follow(self._client.stubs.events.Subscribe, request, relist=relist)

    async def acknowledge(self, seller_id: str, *, numbers: Iterable[int] = (), up_to: int = 0) -> int:
        """Mark notifications as seen and return how many are still unread."""
        request = event_service_pb2.AcknowledgeRequest(seller_id=seller_id, numbers=numbers, up_to=up_to)
        return int((await self._client.call(self._client.stubs.events.Acknowledge, request)).unread_count)


class Client:
    """A client for synchronous programs: every method of AsyncClient, run on a loop of its own. Thread-safe."""

    def __init__(
        self, address: str = "localhost:7350", *, workspace: str = "", security: Security | None = None, language: str = ""
    ) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="reallot-client", daemon=True)
        self._thread.start()
        try:
            self._inner = self.run(_make(address, workspace, security, language))
        except BaseException:
            self._end_loop()
            raise
        self.config: Any = _Face(self, self._inner.config)
        self.records: Any = _Face(self, self._inner.records)
        self.sellers: Any = _Face(self, self._inner.sellers)
        self.runs: Any = _Face(self, self._inner.runs)
        self.offers: Any = _Face(self, self._inner.offers)
        self.events: Any = _Face(self, self._inner.events)
        self.solver: Any = _Face(self, self._inner.solver)

    @property
    def stubs(self) -> Any:
        """The stubs as synchronous areas: `client.stubs.records.GetRecord(request)`."""
        return _StubFace(self, self._inner)

    @property
    def inner(self) -> AsyncClient:
        """The asynchronous client, to be used on this client's loop with `run`."""
        return self._inner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the client's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Yield the items of an asynchronous iterator; ending the iteration ends the stream."""
        ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(maxsize=1_000)

        async def pump() -> None:
            try:
                async for item in items:
                    await asyncio.to_thread(ready.put, (item, None))
            except asyncio.CancelledError:
                raise
            except Exception as error:
                ready.put((None, error))
            else:
                ready.put((None, StopIteration()))

        task = asyncio.run_coroutine_threadsafe(pump(), self._loop)
        try:
            while True:
                item, error = ready.get()
                if isinstance(error, StopIteration):
                    return
                if error is not None:
                    raise error
                yield item  # type: ignore[misc]
        finally:
            task.cancel()

    def close(self) -> None:
        """Close the connection."""
        if not self._loop.is_closed():
            self.run(self._finish())
            self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        """Close the connection and end what is still on the loop: a stream that was left leaves a task of gRPC's behind."""
        await self._inner.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self._loop.shutdown_asyncgens()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


async def _make(address: str, workspace: str, security: Security | None, language: str) -> AsyncClient:
    return AsyncClient(address, workspace=workspace, security=security, language=language)


class _Face:
    """The methods of one area, made synchronous."""

    def __init__(self, client: Client, calls: Calls | SolverCalls) -> None:
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._calls, name)

        def call(*arguments: Any, **named: Any) -> Any:
            made = method(*arguments, **named)
            return self._client.run(made) if asyncio.iscoroutine(made) else self._client.iterate(made)

        return call


class _StubFace:
    def __init__(self, client: Client, inner: AsyncClient, area: str = "") -> None:
        self._client, self._inner, self._area = client, inner, area

    def __getattr__(self, name: str) -> Any:
        if not self._area:
            return _StubFace(self._client, self._inner, name)
        method = getattr(getattr(self._inner.stubs, self._area), name)
        return lambda request: self._client.run(self._inner.call(method, request))


__all__ = ["AsyncClient", "Client", "Gap", "ReallotError", "Security", "SnapshotEnd"]
