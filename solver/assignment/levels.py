"""Strict levels, one after the other, each on the optimal face of those before.

A stage is one or more neighbouring levels whose costs, scaled so that no difference at a later level outweighs one at an earlier,
provably stay clear of overflow. After a stage, node potentials tell for every unit of every arc whether it is used in all optimal
flows, in none, or in some; the next stage may choose among the last only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ortools.graph.python import min_cost_flow

from reallot.solver.assignment.network import LevelCosts, Network
from reallot.solver.assignment.problem import Ints

LARGEST = 2**61
"""Bound for every product of a cost with a number of nodes or units; the solver scales costs by the nodes."""


@dataclass
class Face:
    """What a stage may still choose: between `lower` and `upper` units on each arc."""

    lower: Ints
    upper: Ints


@dataclass(frozen=True)
class Expanded:
    """The free units of a face as arcs of constant cost.

    Attributes:
        arc: The network's arc of each: int64, ascending.
        capacity: Units: int64.
        cost: Cost of a unit: int64.
    """

    arc: npt.NDArray[np.int64]
    capacity: Ints
    cost: Ints


def stages(network: Network) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Yield the levels that are solved together, with their factors, in order."""
    units = max(int(network.supply[:-1].sum()), 1)
    spreads = [high - low for low, high in (level.extremes() for level in network.levels)]
    heights = [max(high, -low) for low, high in (level.extremes() for level in network.levels)]
    first = 0
    while first < len(spreads):
        last = first + 1
        # Levels that the network does not model exactly must not spoil the proof of those before.
        while (
            last < len(spreads)
            and (network.exact or last != network.first_policy)
            and _fits(spreads[first : last + 1], heights[first : last + 1], units, network.nodes)
        ):
            last += 1
        yield tuple(range(first, last)), _factors(spreads[first:last], units)
        first = last


def _factors(spreads: Sequence[int], units: int) -> tuple[int, ...]:
    factors = [1]
    for spread in reversed(spreads[1:]):
        # No two feasible flows differ by more than this below the level.
        factors.append(factors[-1] * (units * spread + 1))
    return tuple(reversed(factors))


def _fits(spreads: Sequence[int], heights: Sequence[int], units: int, nodes: int) -> bool:
    factors = _factors(spreads, units)
    return sum(f * h for f, h in zip(factors, heights, strict=True)) * (max(nodes, units) + 2) < LARGEST


def expand(network: Network, face: Face, levels: Sequence[int], factors: Sequence[int]) -> Expanded:
    """Return the free units of a face with the costs of a stage; equal neighbouring units become one arc."""
    arcs = len(network.upper)
    linear = np.zeros(arcs, dtype=np.int64)
    bent: list[tuple[LevelCosts, int]] = []
    for index, factor in zip(levels, factors, strict=True):
        level = network.levels[index]
        if len(level.linear):
            linear += level.linear * factor
        if len(level.convex):
            bent.append((level, factor))
    is_bent = np.zeros(arcs, dtype=np.bool_)
    for level, _ in bent:
        is_bent[level.convex] = True
    plain = np.flatnonzero((face.lower < face.upper) & ~is_bent)
    parts = [Expanded(plain, (face.upper - face.lower)[plain], linear[plain])]
    parts += [_expand_convex(level, factor, face, linear) for level, factor in bent]
    arc = np.concatenate([p.arc for p in parts])
    order = np.argsort(arc, kind="stable")
    return Expanded(arc[order], np.concatenate([p.capacity for p in parts])[order], np.concatenate([p.cost for p in parts])[order])


def _expand_convex(level: LevelCosts, factor: int, face: Face, linear: Ints) -> Expanded:
    low, high = face.lower[level.convex], face.upper[level.convex]
    lengths = high - low
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    unit = np.arange(total) - np.repeat(ends - lengths, lengths) + np.repeat(level.unit_start[:-1] + low, lengths)
    arc = np.repeat(level.convex, lengths)
    cost = level.unit_cost[unit] * factor + linear[arc]
    if not total:
        return Expanded(arc, np.zeros(0, dtype=np.int64), cost)
    fresh = np.flatnonzero(np.concatenate([[True], (arc[1:] != arc[:-1]) | (cost[1:] != cost[:-1])]))
    capacity = np.diff(np.concatenate([fresh, [total]]))
    return Expanded(arc[fresh], capacity, cost[fresh])


def solve_stage(network: Network, face: Face, parts: Expanded) -> Ints:
    """Return an optimal flow of a stage: units on each part: int64, shape (parts,)."""
    supply = network.supply.copy()
    np.subtract.at(supply, network.tail, face.lower)
    np.add.at(supply, network.head, face.lower)
    solver = min_cost_flow.SimpleMinCostFlow()
    handles = solver.add_arcs_with_capacity_and_unit_cost(network.tail[parts.arc], network.head[parts.arc], parts.capacity, parts.cost)
    solver.set_nodes_supplies(np.arange(network.nodes, dtype=np.int32), supply)
    status = solver.solve()
    if status != solver.OPTIMAL:
        raise ArithmeticError(f"the flow solver ended with {status} on a problem that has a solution")
    return np.asarray(solver.flows(handles), dtype=np.int64)


def potentials(network: Network, parts: Expanded, flow: Ints) -> Ints:
    """Return shortest distances in the residual network from a node that reaches all others at no cost.

    For an optimal flow they satisfy complementary slackness. Bellman and Ford's method, each round over the arcs out of the nodes
    that changed in the one before.
    """
    forward, backward = flow < parts.capacity, flow > 0
    tail = np.concatenate([network.tail[parts.arc[forward]], network.head[parts.arc[backward]]])
    head = np.concatenate([network.head[parts.arc[forward]], network.tail[parts.arc[backward]]])
    cost = np.concatenate([parts.cost[forward], -parts.cost[backward]])
    order = np.argsort(tail, kind="stable")
    head, cost = head[order], cost[order]
    start = np.concatenate([[0], np.cumsum(np.bincount(tail, minlength=network.nodes))])
    distance = np.zeros(network.nodes, dtype=np.int64)
    changed = np.arange(network.nodes)
    for _ in range(network.nodes + 1):
        lengths = start[changed + 1] - start[changed]
        total = int(lengths.sum())
        if not total:
            return distance
        ends = np.cumsum(lengths)
        arcs = np.arange(total) - np.repeat(ends - lengths, lengths) + np.repeat(start[changed], lengths)
        reached = np.repeat(distance[changed], lengths) + cost[arcs]
        before = distance.copy()
        np.minimum.at(distance, head[arcs], reached)
        changed = np.flatnonzero(distance < before)
    raise ArithmeticError("the flow is not optimal: its residual network has a cycle of negative cost")


def narrow(network: Network, face: Face, parts: Expanded, potential: Ints) -> Face:
    """Return the optimal face: units of negative reduced cost are used in every optimal flow, of positive in none."""
    reduced = parts.cost + potential[network.tail[parts.arc]] - potential[network.head[parts.arc]]
    lower, upper = face.lower.copy(), face.lower.copy()
    np.add.at(lower, parts.arc[reduced < 0], parts.capacity[reduced < 0])
    np.add.at(upper, parts.arc[reduced <= 0], parts.capacity[reduced <= 0])
    return Face(lower, upper)


def slack(network: Network, parts: Expanded, flow: Ints, potential: Ints) -> npt.NDArray[np.bool_]:
    """Return the parts at which a flow breaks complementary slackness with the potentials: bool, shape (parts,)."""
    reduced = parts.cost + potential[network.tail[parts.arc]] - potential[network.head[parts.arc]]
    return ((reduced > 0) & (flow > 0)) | ((reduced < 0) & (flow < parts.capacity))


def flow_of_units(parts: Expanded, units: Ints) -> Ints:
    """Spread units above the lower bounds of each network arc over its parts, the cheapest first: int64, shape (parts,)."""
    if not len(parts.arc):
        return np.zeros(0, dtype=np.int64)
    running = np.cumsum(parts.capacity)
    fresh = np.concatenate([[True], parts.arc[1:] != parts.arc[:-1]])
    base = np.repeat((running - parts.capacity)[fresh], np.diff(np.concatenate([np.flatnonzero(fresh), [len(fresh)]])))
    spread: Ints = np.clip(units[parts.arc] - (running - parts.capacity - base), 0, parts.capacity)
    return spread
