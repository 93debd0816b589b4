"""The door: what is let in of what callers ask, so that one of them cannot take the server from the others.

Only callers pass it. The road, the schedules and the streams' own reads are never refused here. What is refused has not begun, and
is told when it may be tried again.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor

from reallot.server.access.acting import CALLER
from reallot.server.access.principals import Principal
from reallot.server.errors import ApiError, shutting_down
from reallot.server.interceptors import Context, Handler, behaviour_of, replaced, send
from reallot.server.limits import Allowance
from reallot.server.settings import Settings
from reallot.server.validation import DEFAULT_WORKSPACE

SERVED = "/reallot.v1."
"""Health, reflection and the like are always let in."""
ROWS = frozenset({"records", "sellers", "resources", "record_ids", "seller_ids"})
"""Fields whose elements count as rows."""
CALLS_AGAIN_S, STREAMS_AGAIN_S = 0.5, 5.0
"""When a caller may try again whom a full server has refused."""


class Door(grpc.aio.ServerInterceptor):
    """Counts what is being served, refuses what is too much, and ends the streams when the server stops. Belongs to the event loop.

    Attributes:
        calls: Calls being answered, without streams.
        refused: How many were refused so far.
        streams: Streams being served.
    """

    def __init__(self, settings: Settings, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._requests = Allowance(settings.requests_per_s)
        self._rows = Allowance(settings.rows_per_s)
        self._requests_of_callers = Allowance(settings.requests_per_s_per_caller)
        self._streams_of: Counter[str] = Counter()
        self._behind: dict[Handler, Handler] = {}
        self._following: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._quiet = asyncio.Event()
        self.calls = 0
        self.streams = 0
        self.refused = 0

    def close(self) -> None:
        """End all streams, and refuse what comes from now on: callers reconnect elsewhere. Running calls go on."""
        self._stopping = True
        self._tell_if_quiet()
        for task in self._following:
            task.cancel()

    async def quiet(self) -> None:
        """Return when the door is closed and nothing is being served any more that went through it."""
        await self._quiet.wait()

    def _tell_if_quiet(self) -> None:
        if self._stopping and not self.calls and not self.streams:
            self._quiet.set()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Put the door before the handler of a call."""
        handler = await continuation(handler_call_details)
        if handler is None or not str(handler_call_details.method).startswith(SERVED):
            return handler
        behind = self._behind.get(handler)
        if behind is None:
            behind = self._behind[handler] = self._streaming(handler) if handler.response_streaming else self._unary(handler)
        return behind

    def _unary(self, handler: Handler) -> Handler:
        inner = behaviour_of(handler)

        async def call(request: Any, context: Context) -> Any:
            self._let_in("most_calls", self.calls, self._settings.most_calls, CALLS_AGAIN_S)
            given = self._each(request) if handler.request_streaming else self._charged(request)
            self.calls += 1
            try:
                return await inner(given, context)
            finally:
                self.calls -= 1
                self._tell_if_quiet()

        return replaced(handler, call)

    def _streaming(self, handler: Handler) -> Handler:
        inner = behaviour_of(handler)

        async def call(request: Any, context: Context) -> None:
            self._let_in("most_streams", self.streams, self._settings.most_streams, STREAMS_AGAIN_S)
            given = self._each(request) if handler.request_streaming else self._charged(request)
            with self._one_more_of(CALLER.get()):
                await self._followed(partial(inner, given), context)

        return replaced(handler, call)

    async def _followed(self, serve: Callable[[Context], Any], context: Context) -> None:
        """Serve a stream to its end, or to that of the server."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a stream is served by a task")
        self.streams += 1
        try:
            # A first message that is cut off on its way would keep gRPC from sending anything after it, even the reason.
            await context.send_initial_metadata(())
            if self._stopping:
                raise shutting_down()
            self._following.add(task)
            await send(serve(context), context)
        except asyncio.CancelledError:
            if not self._stopping or context.cancelled():
                raise
            task.uncancel()
            raise shutting_down() from None
        finally:
            self._following.discard(task)
            self.streams -= 1
            self._tell_if_quiet()

    @contextmanager
    def _one_more_of(self, caller: Principal | None) -> Iterator[None]:
        """Count a stream of a caller for as long as it is served.

        Raises:
            ApiError: the caller has too many.
        """
        if caller is None:
            yield
            return
        self._let_in("most_streams_per_caller", self._streams_of[caller.name], self._settings.most_streams_per_caller, STREAMS_AGAIN_S)
        self._streams_of[caller.name] += 1
        try:
            yield
        finally:
            self._streams_of[caller.name] -= 1
            if not self._streams_of[caller.name]:
                del self._streams_of[caller.name]

    def _let_in(self, limit: str, now: int, most: int, again_s: float) -> None:
        if self._stopping:
            raise shutting_down()
        if most and now >= most:
            self.refused += 1
            raise ApiError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "SERVER_BUSY",
                f"the server is at work on {now} of at most {most} of this kind",
                metadata={"limit": limit},
                retry_after_s=again_s,
            )

    def _charged(self, request: Any) -> Any:
        """Return a request once it is charged to its workspace.

        Raises:
            ApiError: it comes too early; nothing was charged.
        """
        workspace, rows, now_s = request.workspace or DEFAULT_WORKSPACE, _rows_of(request), self._monotonic()
        caller = CALLER.get()
        waits = (
            (self._requests.wait_s(workspace, 1, now_s), "requests_per_s"),
            (self._rows.wait_s(workspace, rows, now_s), "rows_per_s"),
            (self._requests_of_callers.wait_s(caller.name, 1, now_s) if caller is not None else 0.0, "requests_per_s_per_caller"),
        )
        longest_s, limit = max(waits)
        if longest_s > 0:
            self.refused += 1
            of_caller = caller is not None and limit.endswith("per_caller")
            kind, name = ("caller", caller.name) if caller is not None and of_caller else ("workspace", workspace)
            raise ApiError(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "RATE_LIMITED",
                f"{kind} {name!r} asks more than it may in a second",
                metadata={"limit": limit, kind: name},
                retry_after_s=longest_s,
            )
        if caller is not None:
            self._requests_of_callers.take(caller.name, 1)
        self._requests.take(workspace, 1)
        self._rows.take(workspace, rows)
        return request

    async def _each(self, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            yield self._charged(request)


def _rows_of(request: Any) -> int:
    return sum(len(getattr(request, name)) for name in _row_fields(request.DESCRIPTOR))


@cache
def _row_fields(kind: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in kind.fields if field.name in ROWS and field.is_repeated)
