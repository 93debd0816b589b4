"""Costs of a level: constant by arc, or growing from unit to unit. Growing costs are functions, so that they are laid out only as far
as a solve needs them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from reallot.solver.assignment.problem import Ints

NO_COST = np.zeros(0, dtype=np.int64)


class UnitCosts(Protocol):
    """What each further unit of a place costs, never less than the one before."""

    def costs(self, place: Ints, unit: Ints) -> Ints:
        """Return costs; `unit` counts from 0; both int64 of one shape."""


@dataclass(frozen=True)
class SortedCosts:
    """Unit costs that stand in order: those of place i are `cost[start[i]:start[i + 1]]`, ascending."""

    start: Ints
    cost: Ints

    def costs(self, place: Ints, unit: Ints) -> Ints:
        """Return costs; `unit` counts from 0; both int64 of one shape."""
        cost: Ints = self.cost[self.start[place] + unit]
        return cost


@dataclass(frozen=True)
class LevelCosts:
    """Costs of one level.

    Attributes:
        level_id: Name of the level.
        lowest, highest: Bounds of a unit's cost at the level, 0 included.
        linear: Cost of a unit on each arc: int64, shape (arcs,), or (0,) where all are 0.
        convex: Arcs whose units cost what `growing` says: int64, ascending.
        place: Their places there: int64, shape (len(convex),).
        growing: Costs of their units; None without such arcs.
    """

    level_id: str
    lowest: int = 0
    highest: int = 0
    linear: Ints = field(default_factory=lambda: NO_COST)
    convex: Ints = field(default_factory=lambda: NO_COST)
    place: Ints = field(default_factory=lambda: NO_COST)
    growing: UnitCosts | None = None


def linear_level(level_id: str, costs: Ints, arcs: int) -> LevelCosts:
    """Return a level whose first arcs cost `costs` a unit and the others nothing."""
    if not costs.any():
        return LevelCosts(level_id)
    padded = np.zeros(arcs, dtype=np.int64)
    padded[: len(costs)] = costs
    return LevelCosts(level_id, min(0, int(costs.min())), max(0, int(costs.max())), linear=padded)


def convex_level(level_id: str, convex: Ints, place: Ints, growing: UnitCosts, upper: Ints) -> LevelCosts:
    """Return a level with growing costs on the arcs `convex`, which carry at most `upper` units each: int64, shape (len(convex),)."""
    used = upper > 0
    convex, place, last = convex[used], place[used], upper[used] - 1
    if not len(convex):
        return LevelCosts(level_id)
    lowest, highest = int(growing.costs(place, np.zeros_like(last)).min()), int(growing.costs(place, last).max())
    return LevelCosts(level_id, min(0, lowest), max(0, highest), convex=convex, place=place, growing=growing)


@dataclass(frozen=True)
class StageCosts:
    """Costs of one or more levels together, each multiplied with its factor.

    Attributes:
        linear: Cost of a unit on each arc, without what grows: int64, shape (arcs,).
        family: Position in `growing` of each arc's level, -1 = its cost does not grow: int16, shape (arcs,).
        place: Place of each arc there: int64, shape (arcs,).
        growing: Costs that grow, with their factors.
    """

    linear: Ints
    family: npt.NDArray[np.int16]
    place: Ints
    growing: tuple[tuple[UnitCosts, int], ...]

    def of_unit(self, arc: Ints, unit: Ints) -> Ints:
        """Return the cost of one unit of each of some arcs; `unit` counts from 0; both int64 of one shape."""
        cost = self.linear[arc]
        family = self.family[arc] if self.growing else None
        for index, (growing, factor) in enumerate(self.growing):
            member = np.flatnonzero(family == index)
            cost[member] += growing.costs(self.place[arc[member]], unit[member]) * factor
        return cost

    def first_from(self, arc: Ints, low: Ints, high: Ints, cost: Ints) -> Ints:
        """Return for each arc the first unit in low … high - 1 that costs at least `cost`; `high` where none does."""
        low, high = low.copy(), high.copy()
        while len(searching := np.flatnonzero(low < high)):
            middle = (low[searching] + high[searching]) // 2
            enough = self.of_unit(arc[searching], middle) >= cost[searching]
            high[searching[enough]] = middle[enough]
            low[searching[~enough]] = middle[~enough] + 1
        return low


def stage_costs(levels: Sequence[LevelCosts], factors: Sequence[int], arcs: int) -> StageCosts:
    """Return the costs of levels together; no arc grows at two of them."""
    linear, place = np.zeros(arcs, dtype=np.int64), np.zeros(arcs, dtype=np.int64)
    family = np.full(arcs, -1, dtype=np.int16)
    growing: list[tuple[UnitCosts, int]] = []
    for level, factor in zip(levels, factors, strict=True):
        if len(level.linear):
            linear += level.linear * factor
        if level.growing is not None:
            family[level.convex], place[level.convex] = len(growing), level.place
            growing.append((level.growing, factor))
    return StageCosts(linear, family, place, tuple(growing))
