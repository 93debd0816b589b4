"""Signals between parts of the event loop: something may have to be done. Belongs to the event loop."""

import asyncio
from contextlib import suppress

from reallot.server.clock import Clock

LONGEST_REST_S = 3_600.0


class Wake:
    """A signal that something may have to be done; several become one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.asked = 0
        """How often it was set."""

    def set(self) -> None:
        """Wake whoever waits, or the next who does."""
        self.asked += 1
        self._event.set()

    async def wait(self, at_most_s: float) -> None:
        """Return when woken, or after a while. Whoever is cancelled leaves the signal to the next who waits."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        self._event.clear()


class Rest:
    """Where a loop waits between two pieces of work: for an instant of the clock, or to be woken."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.wake = Wake()
        self._resting = False
        self._answered = 0

    @property
    def is_over(self) -> bool:
        """Whether the loop is at work, or has been woken and will be: not yet waiting for the next instant."""
        return not self._resting or self._answered != self.wake.asked

    def rise(self) -> None:
        """Note that the loop looks for work now: whatever has woken it until here is answered by that."""
        self._answered = self.wake.asked

    async def until(self, due_us: int | None) -> None:
        """Return at an instant, None = never, or when woken, or after an hour of the machine's time."""
        waits = [asyncio.ensure_future(self.wake.wait(LONGEST_REST_S))]
        if due_us is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(due_us)))
        try:
            # Both have begun to wait after this: the clock knows of the instant.
            await asyncio.sleep(0)
            self._resting = True
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._resting = False
            for wait in waits:
                wait.cancel()
