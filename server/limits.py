"""What a workspace may ask in a second: token buckets, at a time that is handed in."""

from dataclasses import dataclass

BURST_S = 1.0
"""A bucket holds what comes back in so many seconds."""
MOST_WORKSPACES = 10_000
"""From so many workspaces on, those whose buckets are full are forgotten: a full bucket is as good as a new one."""


@dataclass(slots=True)
class Bucket:
    """Tokens that come back at a steady rate, in tokens a second.

    Whoever asks for more than it can hold is served when it is full, and leaves it in debt: so a large request passes, and
    the rate holds all the same.
    """

    rate: float
    tokens: float
    filled_s: float

    @staticmethod
    def full(rate: float, now_s: float) -> "Bucket":
        """Return a bucket that nobody has taken from."""
        return Bucket(rate, max(rate * BURST_S, 1.0), now_s)

    def wait_s(self, count: int, now_s: float) -> float:
        """Return after how many seconds `count` tokens may be taken; 0 = now."""
        size = max(self.rate * BURST_S, 1.0)
        self.tokens = min(size, self.tokens + (now_s - self.filled_s) * self.rate)
        self.filled_s = now_s
        return max(0.0, (min(float(count), size) - self.tokens) / self.rate)

    def take(self, count: int) -> None:
        """Take tokens that `wait_s` has said are there."""
        self.tokens -= count

    def is_full(self, now_s: float) -> bool:
        """Tell whether nothing is missing."""
        return self.wait_s(1, now_s) == 0.0 and self.tokens >= max(self.rate * BURST_S, 1.0)


class Allowance:
    """The buckets of one kind, a bucket for each workspace. Belongs to the event loop."""

    def __init__(self, rate: float) -> None:
        """Allow `rate` tokens a second to each workspace; 0 = as many as it likes."""
        self._rate = rate
        self._buckets: dict[str, Bucket] = {}

    def wait_s(self, workspace: str, count: int, now_s: float) -> float:
        """Return after how many seconds a workspace may take `count` tokens; 0 = now. Nothing is taken."""
        if not self._rate:
            return 0.0
        bucket = self._buckets.get(workspace)
        if bucket is None:
            self._forget(now_s)
            bucket = self._buckets[workspace] = Bucket.full(self._rate, now_s)
        return bucket.wait_s(count, now_s)

    def take(self, workspace: str, count: int) -> None:
        """Take what `wait_s` has said is there."""
        if self._rate:
            self._buckets[workspace].take(count)

    def _forget(self, now_s: float) -> None:
        if len(self._buckets) >= MOST_WORKSPACES:
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if not bucket.is_full(now_s)}
