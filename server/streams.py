"""Followers: the event log as streams. The table is the truth; commits only wake.

One tail for each workspace reads new events once and keeps the latest in memory, already as messages. A follower has a position of
its own: it catches up from the table and then takes from memory. One that does not take its messages is cut off, never the writer.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import grpc

from reallot.server.convert.decisions import event_message
from reallot.server.errors import ApiError
from reallot.server.runtime import Runtime
from reallot.storage import Signal
from reallot.storage.entities import Notice
from reallot.v1 import event_pb2, event_service_pb2

PAGE = 1_000
POLL_S = 1.0
"""A lost wake-up costs at most this."""
EVENTS, NOTICES = "events", "notices"


@dataclass
class Tail:
    """The end of one workspace's log in memory: events after `floor`, up to `last`."""

    floor: int
    last: int
    events: deque[event_pb2.Event] = field(default_factory=deque)
    notices: deque[Notice] = field(default_factory=deque)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)


class Hub:
    """Wakes followers and reads for all of them. Belongs to the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tails: dict[str, Tail] = {}
        self._followers = 0

    @property
    def followers(self) -> int:
        """Number of open streams."""
        return self._followers

    def hear(self, signals: Iterable[Signal]) -> None:
        """Wake the followers of workspaces in which events were committed."""
        for signal in signals:
            if signal.topic == EVENTS and signal.workspace in self._tails:
                self._tails[signal.workspace].changed.set()

    async def tail(self, workspace: str) -> Tail:
        """Return a workspace's tail, begun at the end of the log."""
        if workspace not in self._tails:
            last = await self._runtime.read(lambda tx: tx.events.last(workspace))
            self._tails.setdefault(workspace, Tail(last, last))
        return self._tails[workspace]

    async def fill(self, workspace: str, tail: Tail) -> None:
        """Read what was committed since the tail was read last."""
        async with tail.filling:
            known, most = tail.last, self._runtime.settings.follow_buffer

            def read(tx: Any) -> tuple[int, list[event_pb2.Event], list[Notice]]:
                last = tx.events.last(workspace)
                if last == known:
                    return last, [], []
                found = tx.events.after(workspace, known, most)
                upto = found[-1].number if len(found) == most else last
                return upto, [event_message(e) for e in found], tx.events.notices_between(workspace, known, upto)

            last, events, notices = await self._runtime.read(read)
            tail.events.extend(events)
            tail.notices.extend(notices)
            tail.last = last
            while len(tail.events) > most:
                tail.floor = tail.events.popleft().number
            while tail.notices and tail.notices[0].number <= tail.floor:
                tail.notices.popleft()

    async def wait(self, tail: Tail, at_most_s: float) -> None:
        """Return when something was committed, or after a while."""
        try:
            async with asyncio.timeout(at_most_s):
                await tail.changed.wait()
        except TimeoutError:
            pass
        tail.changed.clear()

    async def follow(
        self, workspace: str, position: int, kind: str, heartbeat_s: float, from_table: Callable[[int], Awaitable[tuple[int, list[Any]]]]
    ) -> AsyncIterator[tuple[int, Any | None]]:
        """Yield (number, item) after `position`, and (number, None) as a sign of life or of progress without items.

        Args:
            workspace: The workspace.
            position: Number after which to begin.
            kind: EVENTS or NOTICES.
            heartbeat_s: Longest silence.
            from_table: Reads a page after a number from the table: the number it came to, and the items.
        """
        tail = await self.tail(workspace)
        self._followers += 1
        loop = asyncio.get_running_loop()
        quiet_since = loop.time()
        try:
            while True:
                await self.fill(workspace, tail)
                while position < tail.floor:
                    position, items = await from_table(position)
                    for item in items:
                        yield item.number, item
                held = tail.events if kind == EVENTS else tail.notices
                fresh = [item for item in held if item.number > position]
                position = max(position, tail.last)
                for item in fresh:
                    yield item.number, item
                if fresh:
                    quiet_since = loop.time()
                elif loop.time() - quiet_since >= heartbeat_s:
                    quiet_since = loop.time()
                    yield position, None
                if tail.last <= position:
                    await self.wait(tail, min(POLL_S, max(heartbeat_s - (loop.time() - quiet_since), 0.01)))
        finally:
            self._followers -= 1


async def patiently(context: Any, message: Any, slow_after_s: float) -> None:
    """Send a message to a follower.

    Raises:
        ApiError: the follower does not take it.
    """
    try:
        async with asyncio.timeout(slow_after_s):
            await context.write(message)
    except TimeoutError:
        raise ApiError(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "WATCH_TOO_SLOW",
            "the follower did not keep up: reconnect with the last cursor",
            retry_after_s=1.0,
        ) from None


def match_of(filter_: event_service_pb2.EventFilter, event: event_pb2.Event) -> "event_pb2.Match.ValueType | None":
    """Return how an event stands to a filter; None if it is not sent."""
    if filter_.kinds and event.kind not in filter_.kinds:
        return None
    if filter_.record_ids and event.record_id not in filter_.record_ids:
        return None
    if filter_.record_types and event.record_type not in filter_.record_types:
        return None
    if filter_.owner_changed and _owner(event, "before") == _owner(event, "after"):
        return None
    if not filter_.segment_ids:
        return event_pb2.MATCH_UNSPECIFIED
    before = event.HasField("before") and event.before.segment_id in filter_.segment_ids
    after = event.HasField("after") and event.after.segment_id in filter_.segment_ids
    if not before and not after:
        return None
    return event_pb2.MATCH_CHANGED if before and after else event_pb2.MATCH_ENTERED if after else event_pb2.MATCH_LEFT


def _owner(event: event_pb2.Event, side: str) -> tuple[str | None, str]:
    owner = getattr(event, side).owner
    kind = owner.WhichOneof("kind") if event.HasField(side) else None  # type: ignore[arg-type]
    return kind, getattr(owner, kind) if kind else ""
