"""Metrics for Prometheus, on a port of their own. Scrapes are answered in threads beside the event loop.

What must be counted in the database is counted at most once in `STALE_S`, so that whoever scrapes often costs no more.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from reallot.server.meters import BUCKETS_S, Meters
from reallot.server.status import Desk, WorkspaceStatus
from reallot.storage import ReadTransaction
from reallot.storage.errors import StorageError

STALE_S = 10.0
LOOP_PATIENCE_S = 5.0


class MetricsPort:
    """A running endpoint: `GET /metrics`."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop, host: str, port: int) -> None:
        """Start to answer.

        Raises:
            OSError: the address cannot be listened on.
        """
        registry = CollectorRegistry()
        registry.register(_Collector(desk, loop))
        self._server, self._thread = start_http_server(port, addr=host, registry=registry)
        self.port = int(self._server.server_port)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Collector(Collector):
    """Turns what a server knows of itself into metrics."""

    def __init__(self, desk: Desk, loop: asyncio.AbstractEventLoop) -> None:
        self._desk = desk
        self._loop = loop
        self._lock = threading.Lock()
        self._stored: dict[str, WorkspaceStatus] = {}
        self._readable = False
        self._read_s = float("-inf")

    def describe(self) -> list[Metric]:
        """Return nothing: what there is, is known when it is asked for."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        desk = self._desk
        yield from _of_calls(desk.meters)
        yield from _of_batches(desk.meters)
        now = asyncio.run_coroutine_threadsafe(self._live(), self._loop).result(LOOP_PATIENCE_S)
        for name, (text, value) in now.items():
            yield GaugeMetricFamily(f"reallot_{name}", text, value=value)
        yield CounterMetricFamily("reallot_worker_restarts", "Worker processes that had to be started again", value=desk.restarts)
        yield CounterMetricFamily("reallot_refused_calls", "Calls that were refused because it was too much", value=desk.door.refused)
        yield CounterMetricFamily("reallot_write_failures", "Writes that the database has refused", value=desk.runtime.db.write_failures)
        stored, readable = self._counted()
        yield GaugeMetricFamily("reallot_database_up", "Whether the database could be read", value=readable)
        yield from _of_workspaces(stored, desk.runtime.clock.now_us())

    async def _live(self) -> dict[str, tuple[str, float]]:
        desk = self._desk
        lag = max((desk.hub.standing(workspace)[1] for workspace in desk.hub.workspaces), default=0)
        return {
            "ready": ("Whether the server can do its work", desk.is_ready()),
            "start_time_seconds": ("When the server started", desk.start_us / 1e6),
            "calls_in_progress": ("Calls being answered, without streams", desk.door.calls),
            "streams": ("Streams being served", desk.door.streams),
            "followers": ("Streams that follow events or notifications", desk.hub.followers),
            "follower_lag_events": ("Numbers by which the slowest follower is behind the log", lag),
            "queued_writes": ("Writes that wait", desk.runtime.db.waiting_writes),
        }

    def _counted(self) -> tuple[dict[str, WorkspaceStatus], bool]:
        """Return how workspaces stand, as counted not long ago, and whether they could be counted."""
        with self._lock:
            if time.monotonic() - self._read_s >= STALE_S:
                try:
                    self._stored, self._readable = self._desk.runtime.db.read(self._read), True
                except StorageError:
                    self._stored, self._readable = {}, False
                self._read_s = time.monotonic()
            return self._stored, self._readable

    def _read(self, tx: ReadTransaction) -> dict[str, WorkspaceStatus]:
        return {workspace: self._desk.workspace(tx, workspace) for workspace in tx.config.workspaces()}


def _of_calls(meters: Meters) -> Iterator[Metric]:
    calls = CounterMetricFamily("reallot_calls", "Calls and streams that have ended", labels=["method", "code"])
    for (method, code), count in list(meters.calls.items()):
        calls.add_metric([method, code], count)
    yield calls
    durations = HistogramMetricFamily("reallot_call_seconds", "How long calls took, without streams", labels=["method"])
    for method, found in list(meters.durations.items()):
        ends = [*(f"{end:g}" for end in BUCKETS_S), "+Inf"]
        durations.add_metric([method], list(zip(ends, found.cumulative(), strict=True)), found.total_s)
    yield durations


def _of_batches(meters: Meters) -> Iterator[Metric]:
    batches = CounterMetricFamily("reallot_batches", "Batches that were carried out", labels=["kind"])
    for kind, count in list(meters.batches.items()):
        batches.add_metric([kind.lower()], count)
    yield batches
    stages = CounterMetricFamily("reallot_batch_stage_seconds", "Time that batches have spent", labels=["kind", "stage"])
    for (kind, stage), seconds in list(meters.stages_s.items()):
        stages.add_metric([kind.lower(), stage], seconds)
    yield stages
    gaps = GaugeMetricFamily("reallot_batch_gap", "How far the last batch was from what is proven, 0 = a proven optimum", labels=["kind"])
    for kind, gap in list(meters.gaps.items()):
        gaps.add_metric([kind.lower()], gap)
    yield gaps
    outcomes = CounterMetricFamily("reallot_batch_records", "Records that batches have decided", labels=["kind", "outcome"])
    for (kind, outcome), count in list(meters.outcomes.items()):
        outcomes.add_metric([kind.lower(), outcome.lower()], count)
    yield outcomes


def _of_workspaces(stored: dict[str, WorkspaceStatus], now_us: int) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("reallot_waiting_records", "Active records without an owner", labels=["workspace", "reason"])
    for workspace, status in stored.items():
        for reason, count in status.waiting.items():
            waiting.add_metric([workspace, reason.lower() or "not_decided"], count)
    yield waiting
    by_workspace: list[tuple[str, str, Callable[[WorkspaceStatus], Any]]] = [
        ("oldest_waiting_seconds", "How long the first record without an owner has waited", lambda s: _age_s(s.oldest_waiting_us, now_us)),
        ("pending_records", "Records that changed and were not looked at yet", lambda s: s.pending),
        ("oldest_pending_seconds", "How long the first of these has waited", lambda s: _age_s(s.oldest_pending_us, now_us)),
        ("lease_held", "Whether this server works the workspace", lambda s: s.works_here),
    ]
    for name, text, of in by_workspace:
        gauge = GaugeMetricFamily(f"reallot_{name}", text, labels=["workspace"])
        for workspace, status in stored.items():
            gauge.add_metric([workspace], of(status))
        yield gauge


def _age_s(since_us: int | None, now_us: int) -> float:
    return 0.0 if since_us is None else max(0, now_us - since_us) / 1e6
