"""Time as a thing that is handed in: the machine's clock, and one that only moves when told.

Everything in the server that asks for the time or waits for an instant does so through a `Clock`, so that a test or a
demonstration can live through a week in a second. Waiting for the network or the disk is not time in this sense.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

MICROSECONDS = 1_000_000
LONGEST_NAP_S = 30.0
"""A waiter looks at the clock at least this often, so that a stepped system clock is noticed."""


class Clock(Protocol):
    """Gives the time and waits for instants. Thread-safe for `now_us`; `sleep_until` belongs to the event loop."""

    def now_us(self) -> int:
        """Return the present instant in microseconds since the epoch, UTC."""
        ...

    async def sleep_until(self, instant_us: int) -> None:
        """Return once the clock shows `instant_us` or later."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """Return the present instant in microseconds since the epoch, UTC."""
        return time.time_ns() // 1_000

    async def sleep_until(self, instant_us: int) -> None:
        """Return once the machine's clock shows `instant_us` or later, also after it was stepped."""
        while (left_us := instant_us - self.now_us()) > 0:
            await asyncio.sleep(min(left_us / MICROSECONDS, LONGEST_NAP_S))


class ManualClock:
    """A clock for tests and demonstrations: it stands still until it is moved.

    `advance_to` lives through every instant somebody waits for, in order, and lets the work that it wakes come to rest before
    it goes on (`settle`), so that a week moved at once shows the same as a week lived: no firing is missed.
    """

    def __init__(self, now_us: int, settle: Callable[[], Awaitable[None]] | None = None) -> None:
        self._now_us = now_us
        self._settle = settle
        self._waiters: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._moving = asyncio.Lock()

    def now_us(self) -> int:
        """Return the instant the clock was last moved to."""
        return self._now_us

    def settle_with(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Name the coroutine function that returns when the server is at rest."""
        self._settle = settle

    async def sleep_until(self, instant_us: int) -> None:
        """Return once the clock was moved to `instant_us` or later."""
        if instant_us <= self._now_us:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiters, (instant_us, next(self._numbers), woken))
        await woken

    async def advance_to(self, instant_us: int) -> None:
        """Move the clock forward to `instant_us`, stopping at every instant that somebody waits for.

        Raises:
            ValueError: `instant_us` lies in the past of this clock.
        """
        async with self._moving:
            if instant_us < self._now_us:
                raise ValueError(f"the clock shows {self._now_us}, it cannot be advanced back to {instant_us}")
            await self._come_to_rest()
            while (due_us := self._next_due_us()) is not None and due_us <= instant_us:
                self._now_us = max(self._now_us, due_us)
                self._wake_due()
                await self._come_to_rest()
            self._now_us = instant_us
            await self._come_to_rest()

    async def set(self, instant_us: int) -> None:
        """Jump to `instant_us`, forward or back, as a clock that was stepped does: what lies between is not lived through."""
        async with self._moving:
            self._now_us = instant_us
            self._wake_due()
            await self._come_to_rest()

    async def _come_to_rest(self) -> None:
        if self._settle is not None:
            await self._settle()

    def _next_due_us(self) -> int | None:
        while self._waiters and self._waiters[0][2].done():
            heapq.heappop(self._waiters)
        return self._waiters[0][0] if self._waiters else None

    def _wake_due(self) -> None:
        while self._waiters and self._waiters[0][0] <= self._now_us:
            _, _, woken = heapq.heappop(self._waiters)
            if not woken.done():
                woken.set_result(None)
