"""Strict levels, one after the other, each on the optimal face of those before.

A stage is one or more neighbouring levels whose costs, scaled so that no difference at a later level outweighs one at an earlier,
provably stay clear of overflow. After a stage, node potentials tell for every unit of every arc whether it is used in all optimal
flows, in none, or in some; the next stage may choose among the last only.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reallot.solver.assignment.costs import StageCosts, stage_costs
from reallot.solver.assignment.network import Network
from reallot.solver.assignment.problem import Ints

LARGEST = 2**61
"""Bound for every product of a cost with a number of nodes or units; the flow solver scales costs by the nodes."""


@dataclass(frozen=True)
class Face:
    """What a stage may still choose: between `lower` and `upper` units on each arc: int64, shape (arcs,)."""

    lower: Ints
    upper: Ints


def whole(network: Network) -> Face:
    """Return the face before any level: everything that the network allows."""
    return Face(np.zeros_like(network.upper), network.upper)


def stage_from(network: Network, first: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the levels from `first` on that are solved together, and their factors; none if even the first is too large."""
    levels, last = network.levels, first
    # Levels that the network does not model exactly must not spoil the proof of those before.
    while last < len(levels) and (network.exact or last != network.first_policy or last == first):
        if not fits(network, range(first, last + 1)):
            break
        last += 1
    chosen = range(first, last)
    return tuple(chosen), factors_of(network, chosen)


def factors_of(network: Network, levels: Sequence[int]) -> tuple[int, ...]:
    """Return what the costs of each level are multiplied with where these are solved together."""
    factors = [1]
    for level in reversed(levels[1:]):
        # No two feasible flows differ by as much at the levels from this one on.
        factors.append(factors[-1] * (_units(network) * (network.levels[level].highest - network.levels[level].lowest) + 1))
    return tuple(reversed(factors))


def _units(network: Network) -> int:
    return max(int(-network.supply[-1]), 1)


def fits(network: Network, levels: Sequence[int]) -> bool:
    """Tell whether levels can be solved together without any overflow."""
    factors = factors_of(network, levels)
    heights = (max(network.levels[level].highest, -network.levels[level].lowest) for level in levels)
    return sum(f * h for f, h in zip(factors, heights, strict=True)) * (max(network.nodes, _units(network)) + 2) < LARGEST


def costs_of_stage(network: Network, levels: Sequence[int], factors: Sequence[int]) -> StageCosts:
    """Return the costs of the levels of a stage together."""
    return stage_costs([network.levels[level] for level in levels], factors, network.arcs)


def potentials(network: Network, costs: StageCosts, face: Face, units: Ints) -> Ints:
    """Return shortest distances in the residual network from a node that reaches all others at no cost: int64, shape (nodes,).

    `units` is a flow on the face: int64, shape (arcs,). For an optimal one the distances satisfy complementary slackness. Bellman and
    Ford's method, each round over the arcs out of the nodes that changed in the one before.

    Raises:
        ArithmeticError: the flow is not optimal on the face.
    """
    tail, head, cost = _residual(network, costs, face, units)
    start = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=network.nodes))])
    distance = np.zeros(network.nodes, dtype=np.int64)
    changed = np.flatnonzero(np.diff(start))
    for _ in range(network.nodes + 1):
        lengths = start[changed + 1] - start[changed]
        ends = np.cumsum(lengths)
        arcs = np.arange(int(lengths.sum())) + np.repeat(start[changed] - ends + lengths, lengths)
        reached, target = np.repeat(distance[changed], lengths) + cost[arcs], head[arcs]
        nearer = np.flatnonzero(reached < distance[target])
        if not len(nearer):
            return distance
        target = target[nearer]
        np.minimum.at(distance, target, reached[nearer])
        changed = np.unique(target)
    raise ArithmeticError("the flow is not optimal: its residual network has a cycle of negative cost")


def _residual(network: Network, costs: StageCosts, face: Face, units: Ints) -> tuple[Ints, Ints, Ints]:
    """Return tails, heads and costs of the residual arcs, by tail."""
    more, fewer = np.flatnonzero(units < face.upper), np.flatnonzero(units > face.lower)
    tail = np.concatenate([network.tail[more], network.head[fewer]])
    order = np.argsort(tail, kind="stable")
    head = np.concatenate([network.head[more], network.tail[fewer]])[order]
    cost = np.concatenate([costs.of_unit(more, units[more]), -costs.of_unit(fewer, units[fewer] - 1)])[order]
    return tail[order], head, cost


def narrow(network: Network, costs: StageCosts, face: Face, potential: Ints) -> Face:
    """Return the optimal face: units of negative reduced cost are used in every optimal flow, of positive in none."""
    limit = potential[network.head] - potential[network.tail]
    lower, upper = face.lower.copy(), face.upper.copy()
    constant = costs.family < 0
    used, unused = constant & (costs.linear < limit), constant & (costs.linear > limit)
    lower[used], upper[unused] = face.upper[used], face.lower[unused]
    growing = np.flatnonzero(~constant & (face.lower < face.upper))
    low, high = face.lower[growing], face.upper[growing]
    lower[growing] = costs.first_from(growing, low, high, limit[growing])
    upper[growing] = costs.first_from(growing, lower[growing], high, limit[growing] + 1)
    return Face(lower, upper)


def breaks_slackness(network: Network, costs: StageCosts, face: Face, units: Ints, potential: Ints) -> bool:
    """Tell whether a flow breaks complementary slackness: an arc's last unit costs too much, or its next one too little.

    Because an arc's units never cost less than those before, these two stand for all others.
    """
    limit = potential[network.head] - potential[network.tail]
    more, fewer = np.flatnonzero(units < face.upper), np.flatnonzero(units > face.lower)
    too_little = costs.of_unit(more, units[more]) < limit[more]
    too_much = costs.of_unit(fewer, units[fewer] - 1) > limit[fewer]
    return bool(too_little.any() or too_much.any())
