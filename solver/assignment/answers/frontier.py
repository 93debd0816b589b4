"""Giving out anew what has owners already, with as few owner changes as the gain is worth: the frontier of changes against value.

The points are plans. The first changes nobody; the last is the best plan of all, with the fewest changes that it takes. In between, the
number of changes stands as a level of its own behind coverage, then one level further down each time, so that each level is improved
with the fewest changes; and where a level improves by several changes, it is weighed against them at the price of the chord between its
two neighbours (the method of Eisner and Severance, 1976), which gives the points of the lower convex hull. Each point is optimal for
its price.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from typing import NamedTuple

import numpy as np

from reallot.solver.assignment.answers.residual import NotProven
from reallot.solver.assignment.bundles import Bundles
from reallot.solver.assignment.costs import LevelCosts, UnitCosts, linear_level
from reallot.solver.assignment.expansion import expand_records
from reallot.solver.assignment.network import Network, build_network
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Level, Limit, Reason, Solution, Termination
from reallot.solver.assignment.solve import Descent
from reallot.solver.assignment.values import level_values

CHANGES = "changes"


class Point(NamedTuple):
    """A plan of the frontier: how many records it gives to another owner, and what it is worth at each level."""

    changes: int
    levels: tuple[Level, ...]
    option_of: Ints
    turn_order: Ints

    @property
    def values(self) -> tuple[int, ...]:
        """The levels' values."""
        return tuple(level.value for level in self.levels)

    def solution(self) -> Solution:
        """Return the plan; optimal for its price, not proven level by level."""
        return Solution(self.option_of, self.turn_order, self.levels, Termination(Reason.FEASIBLE, Limit.METHOD))


@dataclass(frozen=True)
class Owned:
    """A problem of records that have owners: classes are told apart by them, and what they have is allowed.

    Attributes:
        problem: The problem.
        changes: Whether an option is another owner, 1 or 0: int64, shape (options,).
    """

    problem: Problem
    changes: Ints


def owned(problem: Problem, owner: Ints) -> Owned:
    """Return a problem of records with owners; `owner` is the seller of each: int64, shape (records,).

    A seller above a maximum may keep everything, but gets nothing.

    Raises:
        NotProven: records take other efforts than 1.
    """
    if not (problem.effort[problem.class_of] == 1).all():
        raise NotProven("only records of effort 1 can be given out anew this way")
    if Bundles(problem).members:
        raise NotProven("records that go together cannot be given out anew this way")
    problem = replace(problem, together=np.zeros(0, dtype=np.int64))
    kinds, class_of = np.unique(np.column_stack([problem.class_of, owner]), axis=0, return_inverse=True)
    old, holder = kinds[:, 0].astype(np.int64), kinds[:, 1]
    lengths = np.diff(problem.option_start)[old]
    start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    option = np.arange(int(start[-1])) + np.repeat(problem.option_start[old] - start[:-1], lengths)
    names = [name for name in vars(problem) if name.startswith("option_") and name != "option_start" and len(getattr(problem, name))]
    split = replace(
        problem,
        class_of=class_of.reshape(-1).astype(np.int32),
        effort=problem.effort[old],
        option_start=start,
        **{name: getattr(problem, name)[option] for name in names},
    )
    changes = (split.option_seller != np.repeat(holder, lengths)).astype(np.int64)
    return Owned(replace(split, cap_free=_allowing(split, changes)), changes)


def _allowing(problem: Problem, changes: Ints) -> Ints:
    """Return what is free at each capacity node, at least what the present owners have there."""
    own = np.flatnonzero(changes == 0)
    kind, first = np.unique(problem.class_of_option()[own], return_index=True)
    sizes, node = problem.class_sizes()[kind], problem.option_cap[own[first]].astype(np.int64)
    load = np.zeros(len(problem.cap_free), dtype=np.int64)
    while (inside := node >= 0).any():
        np.add.at(load, node[inside], sizes[inside])
        node = np.where(inside, problem.cap_parent[node], -1)
    return np.maximum(problem.cap_free, load)


@dataclass(frozen=True)
class _Scaled:
    """Unit costs times a factor."""

    of: UnitCosts
    factor: int

    def costs(self, place: Ints, unit: Ints) -> Ints:
        """Return costs; `unit` counts from 0; both int64 of one shape."""
        return self.of.costs(place, unit) * self.factor


def frontier(case: Owned, most_points: int = 12) -> list[Point]:
    """Return the frontier, from no change to the best plan; at most about `most_points` plans beside one or two for each level."""
    network = build_network(case.problem)
    extra = linear_level(CHANGES, case.changes, network.arcs)
    barred = network.upper.copy()
    barred[: case.problem.options][case.changes == 1] = 0
    found = [_planned(case, replace(network, upper=barred), network.levels)]
    ends = [_planned(case, network, (*network.levels[:at], extra, *network.levels[at:])) for at in range(1, len(network.levels) + 1)]
    found += [point for point in ends if point is not None]
    for level in range(1, len(network.levels)):
        first, last = ends[level - 1], ends[level]
        if first is not None and last is not None:
            found += _between(case, network, level, extra, first, last, most_points)
    return _efficient([point for point in found if point is not None])


def _planned(case: Owned, network: Network, levels: Sequence[LevelCosts]) -> Point | None:
    """Return the best plan for levels in this order; None if their costs are too large."""
    problem, own = case.problem, replace(network, levels=tuple(levels))
    descent = Descent(problem, own, {})
    while descent.step():
        pass
    if descent.level < len(own.levels):
        return None
    option_of, turns = expand_records(problem, network, descent.units[: problem.options])
    changes = int(case.changes[option_of[option_of >= 0]].sum())
    return Point(changes, level_values(problem, network, option_of, proven=frozenset()), option_of, turns)


def _between(case: Owned, network: Network, level: int, extra: LevelCosts, first: Point, last: Point, most: int) -> list[Point]:
    """Return the plans between two that differ in one level's value and in changes."""
    found: list[Point] = []
    place = len(first.levels) - len(network.levels) + level
    gaps = [(first, last)]
    while gaps and len(found) < most:
        low, high = gaps.pop(0)
        fewer, gain = high.changes - low.changes, low.values[place] - high.values[place]
        if fewer < 2 or gain < 2:
            continue
        shared = gcd(fewer, gain)
        mixed = _mixed(network.levels[level], extra, fewer // shared, gain // shared)
        point = _planned(case, network, (*network.levels[:level], mixed, extra, *network.levels[level + 1 :]))
        if point is None or not low.changes < point.changes < high.changes:
            continue
        if (low.values[place] - point.values[place]) * fewer > gain * (point.changes - low.changes):
            found.append(point)
            gaps += [(low, point), (point, high)]
    return found


def _mixed(level: LevelCosts, extra: LevelCosts, factor: int, price: int) -> LevelCosts:
    """Return a level in which each change costs `price`, and what the level itself costs counts `factor` times."""
    linear = extra.linear * price + (level.linear * factor if len(level.linear) else 0)
    growing = _Scaled(level.growing, factor) if level.growing is not None else None
    return replace(
        level,
        lowest=level.lowest * factor,
        highest=level.highest * factor + price,
        linear=linear,
        growing=growing,
    )


def _efficient(points: list[Point]) -> list[Point]:
    """Return the points of which none with as few changes is better, by changes."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.changes, p.values)):
        if not kept or point.values < kept[-1].values:
            kept.append(point)
    return kept


def within(points: Sequence[Point], most_changes: int | None) -> Point:
    """Return the best point with at most so many changes; None = as many as it takes."""
    return [point for point in points if most_changes is None or point.changes <= most_changes][-1]
