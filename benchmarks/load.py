"""Calls on a server, as many at once as are asked for, and how long each took."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

Call = Callable[[], Awaitable[Any]]


async def closed_loop(calls: Iterable[Call], in_flight: int) -> list[tuple[float, float]]:
    """Make calls, always `in_flight` at once; return when each was begun and answered, in seconds of `perf_counter`."""
    waiting = iter(calls)
    times: list[tuple[float, float]] = []
    await asyncio.gather(*(_caller(waiting, times) for _ in range(in_flight)))
    return times


async def _caller(waiting: Iterator[Call], times: list[tuple[float, float]]) -> None:
    for call in waiting:
        started = time.perf_counter()
        await call()
        times.append((started, time.perf_counter()))


def rate(times: list[tuple[float, float]]) -> float:
    """Return the calls in a second, from the first that was begun to the last that was answered."""
    return len(times) / (max(end for _, end in times) - min(begin for begin, _ in times))
