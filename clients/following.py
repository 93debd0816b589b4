"""Streams over lost connections: each goes on with its last cursor, gives nothing out twice, and lists again where it has to."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from reallot.clients.errors import CursorExpired, Exhausted, ReallotError, Unavailable, from_rpc
from reallot.v1 import event_pb2, event_service_pb2, record_pb2

FIRST_BACKOFF_S, LONGEST_BACKOFF_S = 0.1, 5.0
SnapshotEnd = event_service_pb2.SnapshotEnd
"""The list is complete: what did not come since the `Gap`, or since the beginning, is not there. Events follow."""
Item = event_pb2.Event | event_pb2.Notification | record_pb2.Record | SnapshotEnd
LISTED = ("snapshot_record", "snapshot_end")
TOLD = ("event", "notification")


@dataclass(frozen=True)
class Gap:
    """Stands in a stream where events are missing, because the cursor had expired or the database was restored from a backup, and
    where a list that was cut off begins again. What comes next, up to the `SnapshotEnd`, is how records stand by then: whoever keeps a
    copy begins it anew. In a stream that was asked not to list again, events of what happens from now on follow at once.
    """

    reason: str


class _Position:
    """Where a stream goes on, in its request."""

    def __init__(self, request: Any, *, relist: bool) -> None:
        self.request = request
        self.is_listing = False
        self._relist = relist
        self._last = 0

    def heard(self, answer: Any) -> Any | None:
        """Note an answer, and return what of it is given out; None for nothing."""
        kind = answer.WhichOneof("item")
        item = getattr(answer, kind)
        if kind == "snapshot_record":
            self.is_listing = True
        elif kind in TOLD:
            if item.number <= self._last:
                return None
            self._last = item.number
        # What comes before the end of a list is no place to go on from.
        if not self.request.snapshot or kind == "snapshot_end":
            self.request.cursor, self.request.snapshot, self.is_listing = item.cursor, False, False
        return item if kind in (*LISTED, *TOLD) else None

    def lost(self, failure: ReallotError) -> Gap | None:
        """Set the request to how the stream goes on after a failure, and return the gap that it leaves, if any.

        Raises:
            ReallotError: reconnecting does not mend it.
        """
        restored = failure.reason == "CURSOR_MISMATCH" and "database" in failure.metadata
        if isinstance(failure, CursorExpired) or restored:
            self.request.cursor, self.request.snapshot = "", self._relist
            if isinstance(self.request, event_service_pb2.SubscribeRequest):
                self.request.unread_first = self._relist
            # A restored database numbers its events anew, from an earlier number on.
            self._last = 0 if restored else self._last
        elif not isinstance(failure, Unavailable | Exhausted):
            raise failure from None
        elif not self.is_listing:
            return None
        self.is_listing = False
        return Gap(str(failure))


async def follow(method: Callable[..., Any], request: Any, *, relist: bool) -> AsyncIterator[Item | Gap]:
    """Yield the items of `Watch` or `Subscribe` for ever; see `EventCalls.watch`.

    Raises:
        ReallotError: the stream failed for a reason that reconnecting does not mend.
    """
    position, backoff_s = _Position(request, relist=relist), FIRST_BACKOFF_S
    while True:
        pause_s = backoff_s
        call = method(request)
        try:
            async for answer in call:
                backoff_s = FIRST_BACKOFF_S
                if (item := position.heard(answer)) is not None:
                    yield item
        except grpc.aio.AioRpcError as error:
            failure = from_rpc(error)
            gap = position.lost(failure)
            if gap is not None:
                yield gap
            pause_s = pause_after(failure, backoff_s)
        finally:
            # Whoever leaves the stream here leaves it at the server, too.
            call.cancel()
        await asyncio.sleep(pause_s)
        backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)


def pause_after(failure: ReallotError, backoff_s: float) -> float:
    """Return how long to wait: what the server asks for, or longer; and never all at the same moment."""
    return max(backoff_s, failure.retry_after_s or 0.0) * random.uniform(1.0, 1.5)  # nosec B311 # no secret: only spreads retries
