"""EventService: streams of events for back ends and of notifications for sellers."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc

from reallot.server.convert.decisions import event_message, notification_message
from reallot.server.convert.records import record_message
from reallot.server.errors import invalid_field, not_found
from reallot.server.feeds import PAGE, EventFeed, Feed, NoticeFeed, refuse_deleted, refuse_expired
from reallot.server.idempotency import once
from reallot.server.languages import Catalogue
from reallot.server.next_tries import next_tries
from reallot.server.patience import Patience
from reallot.server.runtime import Runtime
from reallot.server.streams import Hub
from reallot.server.tokens import page_token, read_cursor, read_page_token
from reallot.server.validation import MOST_ROWS, check_id, page_size_of, refuse, workspace_of
from reallot.storage import ReadTransaction, RecordFilter, WriteTransaction
from reallot.storage.entities import Notice, Owner, OwnerKind
from reallot.v1 import event_pb2, event_service_pb2_grpc, record_pb2
from reallot.v1 import event_service_pb2 as pb

Context = grpc.aio.ServicerContext[Any, Any]


class EventService(event_service_pb2_grpc.EventServiceServicer):
    """Tells what happened: at least once, in commit order."""

    def __init__(self, runtime: Runtime, hub: Hub) -> None:
        self._runtime = runtime
        self._hub = hub
        self._patience = Patience(runtime.settings.slow_after_s)

    async def Watch(self, request: pb.WatchRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Follow the workspace's events."""
        workspace, heartbeat_s = workspace_of(request), self._heartbeat(request)
        if len(request.filter.record_ids) > MOST_ROWS:
            raise invalid_field("filter.record_ids", f"at most {MOST_ROWS} records can be named", "BATCH_TOO_LARGE")
        feed = self._events(workspace, request.filter)
        position = await self._start(feed, request)
        if request.snapshot:
            wanted = RecordFilter(
                record_ids=list(request.filter.record_ids) or None,
                record_types=list(request.filter.record_types) or None,
                segment_ids=list(request.filter.segment_ids) or None,
            )
            async for records in self._records(workspace, wanted):
                await self._patience.send(context, [pb.WatchResponse(snapshot_record=record) for record in records])
            await self._patience.send(context, [pb.WatchResponse(snapshot_end=pb.SnapshotEnd(cursor=feed.cursor(position)))])
        await self._follow(context, feed, position, heartbeat_s, beat_at_once=not request.cursor and not request.snapshot)

    async def ListEvents(self, request: pb.ListEventsRequest, context: Context) -> pb.ListEventsResponse:  # noqa: N802
        """List events in order."""
        workspace, size = workspace_of(request), page_size_of(request)
        feed = self._events(workspace, request.filter)
        start: int | None = read_page_token(request)
        if start is None and request.cursor:
            start = read_cursor(request.cursor, self._runtime.db.database_id, feed.bound)

        def read(tx: ReadTransaction) -> pb.ListEventsResponse:
            if start is not None:
                refuse_expired(tx, workspace, start)
            found, speech = list[event_pb2.Event](), self._runtime.speech(tx, workspace)
            position, more = start or 0, True
            while more and len(found) < size:
                events = tx.events.after(workspace, position, PAGE)
                more = len(events) == PAGE
                for event in events:
                    position = event.number
                    if (match := feed.match(event)) is not None:
                        message = event_message(event, speech)
                        message.match, message.cursor = match, feed.cursor(position)
                        found.append(message)
                        if len(found) == size:
                            more = True
                            break
            token = page_token(request, position) if more else ""
            # Where nothing is left, the stream goes on after what was removed.
            reached = max(position, tx.events.first_retained(workspace) - 1)
            return pb.ListEventsResponse(events=found, next_page_token=token, cursor=feed.cursor(reached))

        return await self._runtime.read(read)

    async def Subscribe(self, request: pb.SubscribeRequest, context: Context) -> None:  # type: ignore[override]  # noqa: N802
        """Follow one seller's notifications."""
        workspace, seller, heartbeat_s = workspace_of(request), request.seller_id, self._heartbeat(request)
        await self._known_seller(workspace, seller)
        feed = self._notices(workspace, seller)
        position = await self._start(feed, request)
        if request.snapshot:
            async for records in self._records(workspace, RecordFilter(owner=Owner(OwnerKind.SELLER, seller), active=True)):
                await self._patience.send(context, [pb.SubscribeResponse(snapshot_record=record) for record in records])
        if request.unread_first and not request.cursor:
            await self._send_unread(context, feed, position)
        if request.snapshot:
            await self._patience.send(context, [pb.SubscribeResponse(snapshot_end=pb.SnapshotEnd(cursor=feed.cursor(position)))])
        await self._follow(context, feed, position, heartbeat_s, beat_at_once=not request.cursor and not request.snapshot)

    async def _send_unread(self, context: Context, feed: NoticeFeed, up_to: int) -> None:
        workspace, seller, after = feed.workspace, feed.seller_id, 0
        while True:

            def read(tx: ReadTransaction, after: int = after) -> tuple[list[Notice], Catalogue]:
                return tx.events.notices_after(workspace, seller, after, PAGE, unread_only=True), self._runtime.speech(tx, workspace)

            unread, speech = await self._runtime.read(read)
            await self._patience.send(context, [frame.answer for frame in feed.frames((n for n in unread if n.number <= up_to), speech)])
            if len(unread) < PAGE or unread[-1].number >= up_to:
                return
            after = unread[-1].number

    async def ListNotifications(  # noqa: N802
        self, request: pb.ListNotificationsRequest, context: Context
    ) -> pb.ListNotificationsResponse:
        """List one seller's notifications in order."""
        workspace, size, after = workspace_of(request), page_size_of(request), read_page_token(request)
        await self._known_seller(workspace, request.seller_id)
        feed = self._notices(workspace, request.seller_id)

        def read(tx: ReadTransaction) -> pb.ListNotificationsResponse:
            if after is not None:
                refuse_expired(tx, workspace, after)
            found = tx.events.notices_after(workspace, request.seller_id, after or 0, size + 1, unread_only=request.unread_only)
            token = page_token(request, found[size - 1].number) if len(found) > size else ""
            speech = self._runtime.speech(tx, workspace)
            return pb.ListNotificationsResponse(
                notifications=[notification_message(n, feed.cursor(n.number), speech) for n in found[:size]],
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

    def _events(self, workspace: str, filter_: pb.EventFilter) -> EventFeed:
        return EventFeed(self._runtime.db.database_id, workspace, filter_)

    def _notices(self, workspace: str, seller_id: str) -> NoticeFeed:
        return NoticeFeed(self._runtime.db.database_id, workspace, seller_id)

    async def _start(self, feed: Feed, request: pb.WatchRequest | pb.SubscribeRequest) -> int:
        """Return the number after which a stream begins: whatever is read or committed after this is told, or in the snapshot."""
        if not request.cursor:
            return await self._runtime.read(lambda tx: _last(tx, feed.workspace))
        if request.snapshot:
            raise invalid_field("snapshot", "a snapshot begins anew: it takes no cursor")
        number = read_cursor(request.cursor, self._runtime.db.database_id, feed.bound)
        await self._runtime.read(lambda tx: refuse_expired(tx, feed.workspace, number))
        return number

    async def _records(self, workspace: str, wanted: RecordFilter) -> AsyncIterator[list[record_pb2.Record]]:
        after = ""
        while True:

            def read(tx: ReadTransaction, after: str = after) -> list[record_pb2.Record]:
                config = self._runtime.configs.of(tx, workspace)
                found = tx.records.page(workspace, wanted, after, PAGE)
                tries = next_tries(tx, config, found, self._runtime.clock.now_us())
                return [record_message(r, config, next_try_us=tries.get(r.record_id)) for r in found]

            rows = await self._runtime.read(read)
            yield rows
            if len(rows) < PAGE:
                return
            after = rows[-1].record_id

    async def _follow(self, context: Context, feed: Feed, position: int, heartbeat_s: float, *, beat_at_once: bool) -> None:
        async with aclosing(self._hub.follow(feed, position, heartbeat_s, beat_at_once=beat_at_once)) as found:
            async for answers in found:
                await self._patience.send(context, answers)

    def _heartbeat(self, request: Any) -> float:
        if not request.HasField("heartbeat"):
            return self._runtime.settings.heartbeat_s
        seconds: float = request.heartbeat.ToMilliseconds() / 1_000
        if not 1 <= seconds <= 300:
            raise invalid_field("heartbeat", "it is between 1 and 300 seconds")
        return seconds


def _last(tx: ReadTransaction, workspace: str) -> int:
    refuse_deleted(tx, workspace)
    return tx.events.last(workspace)
