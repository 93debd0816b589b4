"""Minimum-cost flow of a stage: the one place that calls the flow solver."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ortools.graph.python import min_cost_flow

from reallot.solver.assignment.costs import StageCosts
from reallot.solver.assignment.levels import Face, potentials
from reallot.solver.assignment.network import Network
from reallot.solver.assignment.problem import Ints


class NoFlow(ArithmeticError):
    """The face has no flow."""


class CostsTooLarge(ArithmeticError):
    """The flow solver cannot calculate with costs this large."""


@dataclass(frozen=True)
class _Parts:
    """Free units of a face as arcs of constant cost: the network's arc, units and cost of a unit of each, int64."""

    arc: npt.NDArray[np.int64]
    capacity: Ints
    cost: Ints


def optimal_flow(network: Network, costs: StageCosts, face: Face, units: Ints | None) -> tuple[Ints, Ints]:
    """Return an optimal flow of a stage, units on each arc: int64, shape (arcs,); and its potentials: int64, shape (nodes,).

    Units whose cost grows are laid out only as far as the policy is likely to go; where the potentials say that the next one would
    pay, twice as far. `units` is any flow on the face, None if it is not known whether there is one.

    Raises:
        NoFlow: the face has none, or `units` is None and none was found among the units laid out.
        CostsTooLarge: the stage is too large for the flow solver.
    """
    laid_out = _likely(network, costs, face, units)
    while True:
        part = Face(face.lower, np.minimum(face.upper, face.lower + laid_out))
        found = _solve(network, costs, part)
        potential = potentials(network, costs, part, found)
        edge = np.flatnonzero((found == part.upper) & (part.upper < face.upper))
        limit = potential[network.head[edge]] - potential[network.tail[edge]]
        pays = edge[costs.of_unit(edge, found[edge]) < limit]
        if not len(pays):
            return found, potential
        laid_out[pays] *= 2


def _likely(network: Network, costs: StageCosts, face: Face, units: Ints | None) -> Ints:
    """Return how many units of each arc to lay out at first: int64, shape (arcs,), at least those of `units`."""
    room = face.upper - face.lower
    likely = room.copy()
    records = int(-network.supply[-1])
    for family in range(len(costs.growing)):
        arc = np.flatnonzero((costs.family == family) & (room > 0))
        # A plan that uses nothing of a scope, as the empty one before any level, says nothing about how much a good one will.
        used = 0 if units is None else int((units - face.lower)[arc].sum())
        wanted = used or records
        if int(room[arc].sum()) > 3 * wanted + 4 * len(arc):
            low, high = face.lower[arc], face.upper[arc]
            likely[arc] = costs.first_from(arc, low, high, _price(costs, arc, low, high, 2 * wanted)) - low + 1
            if units is not None:
                likely[arc] = np.maximum(likely[arc], (units - face.lower)[arc])
    least: Ints = np.minimum(likely, room)
    return least


def _price(costs: StageCosts, arc: Ints, low: Ints, high: Ints, wanted: int) -> Ints:
    """Return a cost below which `wanted` to half as many more units lie, or as near as costs allow: int64, shape (len(arc),)."""
    cheapest, dearest = int(costs.of_unit(arc, low).min()), int(costs.of_unit(arc, high - 1).max()) + 1
    while dearest - cheapest > 1:
        middle = (cheapest + dearest) // 2
        below = int((costs.first_from(arc, low, high, np.full(len(arc), middle)) - low).sum())
        if wanted <= below <= wanted + wanted // 2:
            dearest = middle
            break
        cheapest, dearest = (middle, dearest) if below < wanted else (cheapest, middle)
    return np.full(len(arc), dearest)


def _solve(network: Network, costs: StageCosts, face: Face) -> Ints:
    parts = _lay_out(costs, face)
    supply = network.supply.copy()
    forced = np.flatnonzero(face.lower)
    np.subtract.at(supply, network.tail[forced], face.lower[forced])
    np.add.at(supply, network.head[forced], face.lower[forced])
    solver = min_cost_flow.SimpleMinCostFlow()
    handles = solver.add_arcs_with_capacity_and_unit_cost(network.tail[parts.arc], network.head[parts.arc], parts.capacity, parts.cost)
    solver.set_nodes_supplies(np.arange(network.nodes, dtype=np.int32), supply)
    status = solver.solve()
    if status == solver.INFEASIBLE:
        raise NoFlow("no flow reaches the sink")
    if status != solver.OPTIMAL:
        raise CostsTooLarge(f"the flow solver ended with {status}")
    units = face.lower.copy()
    np.add.at(units, parts.arc, np.asarray(solver.flows(handles), dtype=np.int64))
    return units


def _lay_out(costs: StageCosts, face: Face) -> _Parts:
    """Return the free units of a face; neighbouring ones of equal cost are one arc."""
    free = face.lower < face.upper
    constant, growing = np.flatnonzero(free & (costs.family < 0)), np.flatnonzero(free & (costs.family >= 0))
    lengths = (face.upper - face.lower)[growing]
    ends = np.cumsum(lengths)
    arc = np.repeat(growing, lengths)
    cost = costs.of_unit(arc, np.arange(len(arc)) + np.repeat(face.lower[growing] - ends + lengths, lengths))
    fresh = np.flatnonzero(np.concatenate([[True], (arc[1:] != arc[:-1]) | (cost[1:] != cost[:-1])])[: len(arc)])
    return _Parts(
        np.concatenate([constant, arc[fresh]]),
        np.concatenate([(face.upper - face.lower)[constant], np.diff(np.append(fresh, len(arc)))]),
        np.concatenate([costs.linear[constant], cost[fresh]]),
    )
