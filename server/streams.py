"""Followers: the event log as streams. The table is the truth; commits only wake.

Of each workspace that is followed one task reads what is new, once, and hands it to the channels that it concerns: a channel is what
all followers of the same feed share. A follower has a position of its own. Whoever is further behind than the channel reaches reads
from the table, at his own pace. One who does not take a message is cut off, never the writer. When the last follower has gone,
nothing of him is left.
"""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence

from reallot.server.feeds import PAGE, EncodedEvent, EventFeed, Feed, Frame, NoticeFeed, refuse_deleted
from reallot.server.languages import Catalogue
from reallot.server.runtime import Runtime
from reallot.server.tokens import expired
from reallot.server.wake import Wake
from reallot.storage import ReadTransaction, Signal

POLL_S = 1.0
"""A lost wake-up costs at most this."""
TICK_S = 0.5
"""A sign of life comes at most so much early."""
EVENTS = "events"
TOGETHER = 64
"""Most messages that a follower takes at once."""


class Follower:
    """One open stream: the number up to which it was served, and when it is to show a sign of life at the latest."""

    def __init__(self, position: int, due_s: float) -> None:
        self.position = position
        self.due_s = due_s
        self._woken: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Return when woken."""
        self._woken = asyncio.get_running_loop().create_future()
        try:
            await self._woken
        finally:
            self._woken = None

    def wake(self) -> None:
        """Have him look, if he waits."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


class Channel:
    """The followers of one feed, and what the slowest of them has yet to take: everything after `floor`, ready to be sent."""

    def __init__(self, feed: Feed, floor: int) -> None:
        self.feed = feed
        self.floor = floor
        self.followers: set[Follower] = set()
        self._numbers: list[int] = []
        self._answers: list[bytes] = []

    def put(self, frames: Sequence[Frame], most: int) -> None:
        """Add what follows, keep at most so much, and wake the followers."""
        self._numbers.extend(frame.number for frame in frames)
        self._answers.extend(frame.answer for frame in frames)
        taken = bisect_right(self._numbers, min((f.position for f in self.followers), default=0))
        if (gone := max(taken, len(self._numbers) - most)) > 0:
            self.floor = self._numbers[gone - 1]
            del self._numbers[:gone], self._answers[:gone]
        self.wake()

    def wake(self) -> None:
        """Have all followers look."""
        for follower in self.followers:
            follower.wake()

    def take(self, follower: Follower) -> list[bytes]:
        """Return the next that a follower, who is not behind the floor, has to be sent; his position moves there."""
        start = bisect_right(self._numbers, follower.position)
        taken = self._answers[start : start + TOGETHER]
        if taken:
            follower.position = self._numbers[start + len(taken) - 1]
        return taken


class Tail:
    """The end of one workspace's log, as far as it was read, with the channels over it.

    Attributes:
        last: The number up to which the channels have been served.
        failure: Why it could not be read on; then its followers end.
        wake: Set when something was committed.
        begun: Set when `last` is known, or reading has failed.
    """

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.channels: dict[bytes, Channel] = {}
        self.last = 0
        self.failure: Exception | None = None
        self.wake = Wake()
        self.begun = asyncio.Event()

    def start(self, last: int) -> None:
        """Begin after a number: what comes before is read from the table."""
        self.last = last
        for channel in self.channels.values():
            channel.floor = last
        self.begun.set()

    def fail(self, error: Exception) -> None:
        """End all followers."""
        self.failure = error
        self.begun.set()
        for channel in self.channels.values():
            channel.wake()

    def serve(self, up_to: int, served: Mapping[bytes, Channel], frames: Mapping[bytes, list[Frame]], most: int) -> None:
        """Hand out what was read for the channels `served`; those that were opened meanwhile begin after it."""
        self.last = up_to
        for key, channel in self.channels.items():
            if served.get(key) is not channel:
                if channel.floor < up_to:
                    channel.floor = up_to
                    channel.wake()
            elif key in frames:
                channel.put(frames[key], most)


class Hub:
    """Reads for all followers, and wakes them. Belongs to the event loop."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tails: dict[str, Tail] = {}
        self._reading: dict[Tail, asyncio.Task[None]] = {}
        self._ticking: asyncio.TimerHandle | None = None

    @property
    def followers(self) -> int:
        """Number of open streams."""
        return sum(len(channel.followers) for tail in self._tails.values() for channel in tail.channels.values())

    @property
    def workspaces(self) -> list[str]:
        """The workspaces that are followed."""
        return list(self._tails)

    def standing(self, workspace: str) -> tuple[int, int]:
        """Return how many follow a workspace, and by how many numbers the slowest of them is behind what was read of its log."""
        tail = self._tails.get(workspace)
        positions = [follower.position for channel in tail.channels.values() for follower in channel.followers] if tail else []
        return len(positions), max(0, tail.last - min(positions)) if tail and positions else 0

    @property
    def channels(self) -> int:
        """Number of different feeds that are followed."""
        return sum(len(tail.channels) for tail in self._tails.values())

    @property
    def readers(self) -> int:
        """Number of workspaces whose logs are read."""
        return len(self._reading)

    def hear(self, signals: Iterable[Signal]) -> None:
        """Read on in workspaces in which events were committed."""
        for signal in signals:
            if signal.topic == EVENTS and signal.workspace in self._tails:
                self._tails[signal.workspace].wake.set()

    async def follow(
        self, feed: Feed, position: int, heartbeat_s: float, *, beat_at_once: bool = False
    ) -> AsyncGenerator[list[bytes], None]:
        """Yield the answers of a feed after a number, some at a time.

        Args:
            feed: What is followed.
            position: Number after which to begin.
            heartbeat_s: Longest silence; then an answer comes that says how far it is.
            beat_at_once: Begin with such a one, if there is nothing else to begin with.

        Raises:
            ApiError: CURSOR_EXPIRED, what follows the position is no longer kept.
            StorageUnavailable: the log cannot be read.
        """
        loop = asyncio.get_running_loop()
        follower = Follower(position, loop.time() + (0.0 if beat_at_once else heartbeat_s))
        tail, channel = self._join(feed, follower)
        try:
            await tail.begun.wait()
            while True:
                if tail.failure is not None:
                    # One exception for all of them: each begins its trace anew.
                    raise tail.failure.with_traceback(None)
                answers = await self._next(tail, channel, follower)
                if not answers and loop.time() >= follower.due_s - TICK_S:
                    answers = [feed.heartbeat(follower.position, self._runtime.clock.now_us())]
                if answers:
                    yield answers
                    follower.due_s = loop.time() + heartbeat_s
                elif follower.position >= tail.last:
                    await follower.wait()
        finally:
            self._leave(tail, channel, follower)

    def _tick(self) -> None:
        """Wake those who are to show a sign of life before the next tick."""
        loop = asyncio.get_running_loop()
        soon_s = loop.time() + TICK_S
        for tail in self._tails.values():
            for channel in tail.channels.values():
                for follower in channel.followers:
                    if follower.due_s <= soon_s:
                        follower.wake()
        self._ticking = loop.call_later(TICK_S, self._tick) if self._tails else None

    async def _next(self, tail: Tail, channel: Channel, follower: Follower) -> list[bytes]:
        """Return what a follower has to be sent next, if anything is known; his position moves behind it."""
        if follower.position < channel.floor:
            feed, position = channel.feed, follower.position
            speech = self._runtime.speech
            follower.position, frames = await self._runtime.read(
                lambda tx: feed.page(tx, position, speech(tx, feed.workspace, feed.language))
            )
            return [frame.answer for frame in frames]
        answers = channel.take(follower)
        if not answers:
            follower.position = max(follower.position, tail.last)
        return answers

    def _join(self, feed: Feed, follower: Follower) -> tuple[Tail, Channel]:
        tail = self._tails.get(feed.workspace)
        if tail is None:
            tail = self._tails[feed.workspace] = Tail(feed.workspace)
            self._reading[tail] = asyncio.create_task(self._read_on(tail))
        channel = tail.channels.setdefault(feed.key, Channel(feed, tail.last))
        channel.followers.add(follower)
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        return tail, channel

    def _leave(self, tail: Tail, channel: Channel, follower: Follower) -> None:
        channel.followers.discard(follower)
        if not channel.followers:
            del tail.channels[channel.feed.key]
        if not tail.channels:
            self._close(tail)

    def _close(self, tail: Tail) -> None:
        if self._tails.get(tail.workspace) is tail:
            del self._tails[tail.workspace]
        task = self._reading.pop(tail, None)
        if task is not None:
            task.cancel()

    async def _read_on(self, tail: Tail) -> None:
        """Read the log of a workspace as long as somebody follows it."""
        workspace = tail.workspace
        try:
            tail.start(await self._runtime.read(lambda tx: tx.events.last(workspace)))
            while True:
                if not await self._read(tail):
                    await tail.wake.wait(POLL_S)
        except Exception as error:
            # Its followers are told; whoever comes next begins anew.
            if self._tails.get(workspace) is tail:
                del self._tails[workspace]
            self._reading.pop(tail, None)
            tail.fail(error)

    async def _read(self, tail: Tail) -> bool:
        """Read a page and hand it out; return whether there was one."""
        known, served = tail.last, dict(tail.channels)
        up_to, frames = await self._runtime.read(lambda tx: _frames(tx, tail.workspace, known, served, self._runtime.speech))
        tail.serve(up_to, served, frames, self._runtime.settings.follow_buffer)
        return up_to > known


Speech = Callable[[ReadTransaction, str, str], Catalogue]
"""Returns the catalogue of a workspace for a language."""


def _frames(
    tx: ReadTransaction, workspace: str, after: int, channels: Mapping[bytes, Channel], speech: Speech
) -> tuple[int, dict[bytes, list[Frame]]]:
    """Read on, and return how far it came and what is to be sent, by the channels that it concerns; each event is encoded once a language.

    Raises:
        ApiError: CURSOR_EXPIRED, the log was cut before it was read: no follower passes over that.
    """
    sellers: dict[str, list[NoticeFeed]] = {}
    for channel in channels.values():
        if isinstance(channel.feed, NoticeFeed):
            sellers.setdefault(channel.feed.seller_id, []).append(channel.feed)
    only_sellers = sum(map(len, sellers.values())) == len(channels)
    # Where everybody follows a seller, what concerns none of them is not even read.
    page = tx.events.page(workspace, after, PAGE, only_for=sellers if only_sellers else None)
    if after + 1 < page.retained_from:
        refuse_deleted(tx, workspace)
        raise expired(after, page.retained_from)
    heard = {channel.feed.language for channel in channels.values()} if page.events or page.notices else set()
    speeches = {language: speech(tx, workspace, language) for language in heard}
    encoded = {event.number: EncodedEvent(event) for event in page.events}
    found: dict[bytes, list[Frame]] = {}
    for key, channel in channels.items() if page.events else ():
        if isinstance(channel.feed, EventFeed) and (frames := channel.feed.frames(encoded.values(), speeches[channel.feed.language])):
            found[key] = frames
    for notice in page.notices:
        for feed in sellers.get(notice.seller_id, ()):
            told = (encoded.get(notice.event.number) or EncodedEvent(notice.event)) if notice.event else None
            frame = feed.frame(notice, told, speeches[feed.language])
            found.setdefault(feed.key, []).append(frame)
    return page.up_to, found
