"""An order of units that has no formula: the first units are laid out one by one, those that come after follow by pace."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reallot.solver.assignment.problem import Ints

LARGEST_COST = 2**36
"""Costs up to here can be added up over any network that fits into memory; what would be dearer costs this."""
SPARE = 1_024
"""Units that are laid out at least, beside four times as many as there are records and sellers: where sellers are full, others go on."""


@dataclass(frozen=True)
class LaidOutOrder:
    """Costs of units: those laid out as they are, the k-th after them `after + k·pace // parts`.

    Attributes:
        start: First unit of each seller in `cost`: int64, shape (m + 1,).
        cost: Costs of the units laid out, ascending for each seller: int64.
        after: Cost of each seller's first unit that is not laid out, above those that are: int64, shape (m,).
        pace, parts: What each further one costs more, as a fraction: int64, shape (m,).
    """

    start: Ints
    cost: Ints
    after: Ints
    pace: Ints
    parts: Ints

    @classmethod
    def of(cls, costs: Sequence[Sequence[int]], after: Sequence[int], pace: Ints, parts: Ints) -> "LaidOutOrder":
        """Return the order of units laid out by seller."""
        lengths = [len(own) for own in costs]
        laid_out = np.array([cost for own in costs for cost in own], dtype=np.int64)
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls(start, laid_out, np.minimum(after, LARGEST_COST).astype(np.int64), pace, parts)

    def costs(self, seller: Ints, unit: Ints) -> Ints:
        """Return costs of units: `seller` are places in the scope, `unit` counts from 0; both of one shape."""
        beyond = unit - (self.start[seller + 1] - self.start[seller])
        cost = np.minimum(self.after[seller] + np.maximum(beyond, 0) * self.pace[seller] // self.parts[seller], LARGEST_COST)
        within = np.flatnonzero(beyond < 0)
        cost[within] = self.cost[self.start[seller[within]] + unit[within]]
        return cost
