"""Counters of a running server: cheap to count, read by the status call and by whoever scrapes metrics. Knows no exporter."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the buckets of durations; longer ones are in one more."""


class Durations:
    """How long something took: how often within each bucket, and in all."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> Sequence[int]:
        """Return how many were not longer than each bucket's end, then how many there were."""
        return list(accumulate(self.counts))


class Meters:
    """What a server has done since it started. Written by the event loop only; may be read from other threads.

    Attributes:
        calls: Calls and streams that have ended, by method and code.
        durations: How long calls took, without streams, by method.
        batches: Batches that were carried out, by the kind of their run.
        stages_s: Seconds that batches spent, by the kind of their run and the stage.
        outcomes: Records that batches have decided, by the kind of their run and the outcome.
        gaps: How far the last batch was from what is proven, by the kind of its run; 0 = a proven optimum.
    """

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.durations: dict[str, Durations] = {}
        self.batches: Counter[str] = Counter()
        self.stages_s: Counter[tuple[str, str]] = Counter()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.gaps: dict[str, float] = {}

    def call(self, method: str, code: str, seconds: float | None = None) -> None:
        """Count a call that has ended; None = it was a stream."""
        self.calls[method, code] += 1
        if seconds is not None:
            found = self.durations.get(method)
            if found is None:
                found = self.durations[method] = Durations()
            found.add(seconds)

    def batch(
        self, kind: str, seconds: Mapping[str, float], counts: Mapping[str, int], levels: Sequence[tuple[str, int, int | None]] = ()
    ) -> None:
        """Count a batch that was carried out; `levels` are id, value and bound of what was optimised."""
        self.gaps[kind] = max((gap_of(value, bound) for _, value, bound in levels), default=0.0)
        self.batches[kind] += 1
        for stage, spent in seconds.items():
            self.stages_s[kind, stage] += spent  # type: ignore[assignment]
        for outcome, number in counts.items():
            self.outcomes[kind, outcome] += number


def gap_of(value: int, bound: int | None) -> float:
    """Return how far a value is from its bound, as a share of the value; infinite where nothing is proven."""
    return float("inf") if bound is None else abs(value - bound) / max(1, abs(value))
