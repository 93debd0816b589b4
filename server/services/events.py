"""EventService: streams of events for back ends and of notifications for sellers."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from reallot.server.convert.decisions import event_message, notification_message
from reallot.server.convert.records import record_message
from reallot.server.convert.values import from_us
from reallot.server.errors import invalid_field, not_found
from reallot.server.idempotency import once
from reallot.server.runtime import Runtime
from reallot.server.streams import EVENTS, NOTICES, PAGE, Hub, match_of, patiently
from reallot.server.tokens import expired, filter_hash, hash_of, make_cursor, page_token, read_cursor, read_page_token
from reallot.server.validation import MOST_ROWS, check_id, page_size_of, refuse, workspace_of
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.v1 import event_pb2, event_service_pb2_grpc
from reallot.v1 import event_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]


class EventService(event_service_pb2_grpc.EventServiceServicer):
    """Tells what happened: at least once, in commit order."""

    def __init__(self, runtime: Runtime, hub: Hub) -> None:
        self._runtime = runtime
        self._hub = hub

    async def Watch(self, request: pb.WatchRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Follow the workspace's events."""
        workspace, heartbeat_s = workspace_of(request), self._heartbeat(request)
        if len(request.filter.record_ids) > MOST_ROWS:
            raise invalid_field("filter.record_ids", f"at most {MOST_ROWS} records can be named", "BATCH_TOO_LARGE")
        if request.cursor and request.snapshot:
            raise invalid_field("snapshot", "a snapshot begins anew: it takes no cursor")
        bound = self._bound(workspace, request.filter)
        position = await self._start(workspace, request.cursor, bound)
        if request.snapshot:
            position = await self._runtime.read(lambda tx: tx.events.last(workspace))
            async for record in self._snapshot(workspace, request.filter):
                await self._send(context, pb.WatchResponse(snapshot_record=record))
            end = pb.SnapshotEnd(cursor=self._cursor(bound, position))
            await self._send(context, pb.WatchResponse(snapshot_end=end))

        async def page(after: int) -> tuple[int, list[event_pb2.Event]]:
            def read(tx: ReadTransaction) -> tuple[int, list[event_pb2.Event]]:
                found = [event_message(e) for e in tx.events.after(workspace, after, PAGE)]
                return (found[-1].number if len(found) == PAGE else tx.events.last(workspace)), found

            return await self._runtime.read(read)

        async for number, event in self._hub.follow(workspace, position, EVENTS, heartbeat_s, page):
            if event is None:
                await self._send(context, pb.WatchResponse(heartbeat=self._alive(bound, number)))
            elif (match := match_of(request.filter, event)) is not None:
                shown = event_pb2.Event()
                shown.CopyFrom(event)
                shown.match, shown.cursor = match, self._cursor(bound, number)
                await self._send(context, pb.WatchResponse(event=shown))

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:  # noqa: N802
        """List events in order."""
        workspace, size = workspace_of(request), page_size_of(request)
        bound = self._bound(workspace, request.filter)
        key = read_page_token(request)
        start = key if key is not None else read_cursor(request.cursor, self._runtime.db.database_id, bound) if request.cursor else 0

        def read(tx: ReadTransaction) -> pb.ListEventsResponse:
            if start and start + 1 < tx.events.first_retained(workspace):
                raise expired(start, tx.events.first_retained(workspace))
            found: list[event_pb2.Event] = []
            position, more = start, True
            while more and len(found) < size:
                events = tx.events.after(workspace, position, PAGE)
                more = len(events) == PAGE
                for event in events:
                    position = event.number
                    message = event_message(event)
                    if (match := match_of(request.filter, message)) is not None:
                        message.match, message.cursor = match, self._cursor(bound, position)
                        found.append(message)
                        if len(found) == size:
                            more = True
                            break
            token = page_token(request, position) if more else ""
            return pb.ListEventsResponse(events=found, next_page_token=token, cursor=self._cursor(bound, position))

        return await self._runtime.read(read)

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Follow one seller's notifications."""
        workspace, seller, heartbeat_s = workspace_of(request), request.seller_id, self._heartbeat(request)
        await self._known_seller(workspace, seller)
        bound = hash_of("subscribe", workspace, seller)
        position = await self._start(workspace, request.cursor, bound)
        if request.unread_first and not request.cursor:
            after = 0
            while True:
                unread = await self._runtime.read(lambda tx, a=after: tx.events.notices_after(workspace, seller, a, PAGE, unread_only=True))  # type: ignore[misc]
                for notice in (n for n in unread if n.number <= position):
                    message = notification_message(notice, self._cursor(bound, notice.number))
                    await self._send(context, pb.SubscribeResponse(notification=message))
                if len(unread) < PAGE:
                    break
                after = unread[-1].number

        async def page(after: int) -> tuple[int, list[Any]]:
            def read(tx: ReadTransaction) -> tuple[int, list[Any]]:
                found = tx.events.notices_after(workspace, seller, after, PAGE)
                return (found[-1].number if len(found) == PAGE else tx.events.last(workspace)), found

            return await self._runtime.read(read)

        async for number, notice in self._hub.follow(workspace, position, NOTICES, heartbeat_s, page):
            if notice is None:
                await self._send(context, pb.SubscribeResponse(heartbeat=self._alive(bound, number)))
            elif notice.seller_id == seller:
                message = notification_message(notice, self._cursor(bound, number))
                await self._send(context, pb.SubscribeResponse(notification=message))

    async def ListNotifications(  # noqa: N802
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        """List one seller's notifications in order."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request) or 0
        await self._known_seller(workspace, request.seller_id)
        bound = hash_of("subscribe", workspace, request.seller_id)

        def read(tx: ReadTransaction) -> pb.ListNotificationsResponse:
            found = tx.events.notices_after(workspace, request.seller_id, after, size + 1, unread_only=request.unread_only)
            token = page_token(request, found[size - 1].number) if len(found) > size else ""
            return pb.ListNotificationsResponse(
                notifications=[notification_message(n, self._cursor(bound, n.number)) for n in found[:size]],
                next_page_token=token,
                unread_count=tx.events.unread(workspace, request.seller_id),
            )

        return await self._runtime.read(read)

    async def Acknowledge(self, request: pb.AcknowledgeRequest, context: Context) -> pb.AcknowledgeResponse:  # noqa: N802
        """Mark notifications as seen, on every device."""
        workspace = workspace_of(request)
        await self._known_seller(workspace, request.seller_id)

        def work(tx: WriteTransaction) -> pb.AcknowledgeResponse:
            seen = tx.events.acknowledge(workspace, request.seller_id, list(request.numbers), request.up_to, tx.now_us)
            return pb.AcknowledgeResponse(acknowledged=seen, unread_count=tx.events.unread(workspace, request.seller_id))

        return await self._runtime.write(workspace, once(request, workspace, pb.AcknowledgeResponse, work))

    async def _known_seller(self, workspace: str, seller_id: str) -> None:
        refuse(check_id("seller_id", seller_id))
        if not await self._runtime.read(lambda tx: tx.sellers.get(workspace, [seller_id])):
            raise not_found("seller", seller_id)

    async def _start(self, workspace: str, cursor: str, bound: bytes) -> int:
        """Return the number after which a stream begins, and make sure that nothing committed later is missed."""
        await self._hub.tail(workspace)
        if not cursor:
            return await self._runtime.read(lambda tx: tx.events.last(workspace))
        number = read_cursor(cursor, self._runtime.db.database_id, bound)
        oldest = await self._runtime.read(lambda tx: tx.events.first_retained(workspace))
        if number + 1 < oldest:
            raise expired(number, oldest)
        return number

    async def _snapshot(self, workspace: str, filter_: pb.EventFilter) -> AsyncIterator[Any]:
        wanted = RecordFilter(
            record_ids=list(filter_.record_ids) or None,
            record_types=list(filter_.record_types) or None,
            segment_ids=list(filter_.segment_ids) or None,
        )
        after = ""
        while True:

            def read(tx: ReadTransaction, after: str = after) -> list[Any]:
                config = self._runtime.configs.of(tx, workspace)
                return [record_message(r, config) for r in tx.records.page(workspace, wanted, after, PAGE)]

            rows = await self._runtime.read(read)
            for row in rows:
                yield row
            if len(rows) < PAGE:
                return
            after = rows[-1].record_id

    def _heartbeat(self, request: Any) -> float:
        if not request.HasField("heartbeat"):
            return self._runtime.settings.heartbeat_s
        seconds: float = request.heartbeat.ToMilliseconds() / 1_000
        if not 1 <= seconds <= 300:
            raise invalid_field("heartbeat", "it is between 1 and 300 seconds")
        return seconds

    def _bound(self, workspace: str, filter_: pb.EventFilter) -> bytes:
        return hash_of("watch", workspace, filter_hash(filter_))

    def _cursor(self, bound: bytes, number: int) -> str:
        return make_cursor(self._runtime.db.database_id, bound, number)

    def _alive(self, bound: bytes, number: int) -> pb.Heartbeat:
        return pb.Heartbeat(cursor=self._cursor(bound, number), time=from_us(self._runtime.clock.now_us()))

    async def _send(self, context: Context, message: Any) -> None:
        await patiently(context, message, self._runtime.settings.slow_after_s)
