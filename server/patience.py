"""How long a server waits for those who do not take what they are sent. Belongs to the event loop.

One timer looks at all who wait: a timer for every message would cost more than the message.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from reallot.server.errors import ApiError

LOOKS = 4
"""How often it looks within the time that somebody may take."""


class _Sending:
    """Somebody who is being sent something, since when the present message, and whether that was too long."""

    __slots__ = ("since_s", "task", "too_slow")

    def __init__(self, task: "asyncio.Task[Any]", now_s: float) -> None:
        self.task = task
        self.since_s = now_s
        self.too_slow = False


class Patience:
    """Sends, and cuts off whoever takes longer than `slow_after_s` over one message, within a quarter more."""

    def __init__(self, slow_after_s: float) -> None:
        self._slow_after_s = slow_after_s
        self._sending: set[_Sending] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, context: Any, answers: Sequence[Any]) -> None:
        """Send answers one after the other.

        Raises:
            ApiError: WATCH_TOO_SLOW, one of them was not taken.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream is served by a task")
        sending = _Sending(task, loop.time())
        self._sending.add(sending)
        if self._timer is None:
            self._timer = loop.call_later(self._slow_after_s / LOOKS, self._look)
        try:
            for answer in answers:
                await context.write(answer)
                sending.since_s = loop.time()
        except asyncio.CancelledError:
            # Cancelled by others as well: they come first.
            if not sending.too_slow or task.uncancel():
                raise
            raise too_slow() from None
        finally:
            self._sending.discard(sending)

    def _look(self) -> None:
        """Cut off who is too slow, and look again as long as anybody is being sent something."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._slow_after_s / LOOKS, self._look) if self._sending else None
        for sending in self._sending:
            if not sending.too_slow and loop.time() - sending.since_s >= self._slow_after_s:
                sending.too_slow = True
                sending.task.cancel()


def too_slow() -> ApiError:
    """Return RESOURCE_EXHAUSTED for whoever does not take what is sent."""
    text = "the follower did not keep up: reconnect with the last cursor"
    return ApiError(grpc.StatusCode.RESOURCE_EXHAUSTED, "WATCH_TOO_SLOW", text, retry_after_s=1.0)
