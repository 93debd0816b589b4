"""A signal between parts of the event loop: something may have to be done. Belongs to the event loop."""

import asyncio


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
        """Return when woken, or after a while."""
        try:
            async with asyncio.timeout(at_most_s):
                await self._event.wait()
        except TimeoutError:
            return
        finally:
            self._event.clear()
