"""Weighted shares: the quota-keeping sequence of Tijdeman, The chairman assignment problem, Discrete Mathematics 32 (1980).

Unit n goes, among the sellers with n·w/W − given ≥ 1/(2m − 2), to the one with the smallest (1 − 1/(2m − 2) − n·w/W + given)·W/w. Then
nobody is ever more than 1 − 1/(2m − 2) units off the share, at no prefix. In other words: each seller's next unit is released when
n·w/W has come near enough to it, is due at a fixed time, and of those released the one due first is given.
"""

import heapq
from fractions import Fraction

import numpy as np

from reallot.solver.assignment.laid_out import SPARE, LaidOutOrder
from reallot.solver.assignment.problem import Scope, Shares


class _Clock:
    """When a scope's units are released and due, in time that grows by `scale` with every unit given.

    Deviations that do not add up to nothing only shift the clock: what somebody took along is lacking to all in proportion.
    """

    def __init__(self, shares: Shares) -> None:
        self._scale, self._total = shares.scale, int(shares.weight.sum())
        self._weight: list[int] = shares.weight.tolist()
        self._carried: list[int] = shares.carried.tolist()
        self._parts = max(2 * len(shares.weight) - 2, 2)
        self.start = self._scale * int(shares.given.sum()) - sum(self._carried)

    def released(self, seller: int, unit: int) -> int:
        """Return from which unit of the batch on, the first is 1, a seller's unit, counted from the change, may be given."""
        reached = self._parts * (self._scale * unit - self._carried[seller]) + self._scale
        time: int = -(-reached * self._total // (self._parts * self._weight[seller]))
        first: int = -(-(time - self.start) // self._scale)
        return first

    def due(self, seller: int, unit: int) -> Fraction:
        """Return when a seller's unit is due, in units of the batch."""
        reached = self._parts * (self._scale * (unit + 1) - self._carried[seller]) - self._scale
        time = Fraction(reached * self._total, self._parts * self._weight[seller])
        due: Fraction = (time - self.start) / self._scale
        return due

    def due_key(self, seller: int, unit: int) -> int:
        """Return the same as a whole number that grows with it, quicker: differences below 2^-24 of a unit's time do not show."""
        reached = self._parts * (self._scale * (unit + 1) - self._carried[seller]) - self._scale
        return (reached * self._total << 24) // (self._parts * self._weight[seller])


def shares_order(scope: Scope, units: int) -> LaidOutOrder:
    """Lay out the sequence for up to `units` units from the state before the batch; ties go by priority, then by place."""
    shares = scope.standing
    if not isinstance(shares, Shares):
        raise ValueError("a scope of shares says how its sellers stand")
    clock, given = _Clock(shares), shares.given.tolist()
    sellers = range(len(given))
    costs: list[list[int]] = [[] for _ in sellers]
    waiting = [(clock.released(seller, given[seller]), seller) for seller in sellers]
    heapq.heapify(waiting)
    ready: list[tuple[int, int, int]] = []
    priority, lacking = scope.priority.tolist(), len(given) if units else 0
    number, most = 0, 4 * (units + len(given)) + SPARE
    while lacking and number < most:
        number += 1
        # The shares of all add up to one unit each time, so somebody's is large enough but for rounding.
        while waiting and (waiting[0][0] <= number or not ready):
            seller = heapq.heappop(waiting)[1]
            heapq.heappush(ready, (clock.due_key(seller, given[seller]), -priority[seller], seller))
        seller = heapq.heappop(ready)[2]
        costs[seller].append(number - 1)
        given[seller] += 1
        lacking -= len(costs[seller]) == units
        heapq.heappush(waiting, (clock.released(seller, given[seller]), seller))
    after = [max(number, int(clock.due(seller, given[seller]))) for seller in sellers]
    total = np.full(len(given), int(shares.weight.sum()), dtype=np.int64)
    return LaidOutOrder.of(costs, after, total, shares.weight)
