"""Minimum-cost flow on any network, exact, with its own check."""

import numpy as np
from ortools.graph.python import min_cost_flow

from reallot.solver.problems.formats import FlowNetwork
from reallot.solver.problems.problem import Ints, InvalidProblem

LARGEST_PRODUCT = 2**61


def solve_network(network: FlowNetwork) -> Ints | None:
    """Return the units on each arc of an optimal flow: int64, shape (arcs,); None if no flow meets supplies and bounds.

    Raises:
        InvalidProblem: bounds cross, or costs are too large to calculate with.
    """
    crossed = np.flatnonzero(network.lower > network.upper)
    if len(crossed):
        raise InvalidProblem(f"arcs[{crossed[0]}]", f"at least {network.lower[crossed[0]]}, at most {network.upper[crossed[0]]}")
    nodes = len(network.supply)
    if int(np.abs(network.cost).max(initial=0)) * (nodes + 1) >= LARGEST_PRODUCT:
        raise InvalidProblem("arcs.cost", f"costs up to {np.abs(network.cost).max()} over {nodes} nodes are too large")
    worth = np.abs(network.cost).astype(np.float64) * np.maximum(np.abs(network.lower), np.abs(network.upper))
    if float(worth.sum()) >= LARGEST_PRODUCT or float(np.abs(network.supply).sum(dtype=np.float64)) >= LARGEST_PRODUCT:
        raise InvalidProblem("arcs.cost", "costs times bounds add up to more than can be calculated with")
    supply = network.supply.copy()
    np.subtract.at(supply, network.tail, network.lower)
    np.add.at(supply, network.head, network.lower)
    if supply.sum() != 0:
        return None
    solver = min_cost_flow.SimpleMinCostFlow()
    handles = solver.add_arcs_with_capacity_and_unit_cost(
        network.tail.astype(np.int32), network.head.astype(np.int32), network.upper - network.lower, network.cost
    )
    solver.set_nodes_supplies(np.arange(nodes, dtype=np.int32), supply)
    status = solver.solve()
    if status == solver.INFEASIBLE:
        return None
    if status != solver.OPTIMAL:
        raise InvalidProblem("arcs", f"the flow solver ended with {status}")
    units: Ints = network.lower + np.asarray(solver.flows(handles), dtype=np.int64)
    return units


def flow_violations(network: FlowNetwork, units: Ints) -> list[str]:
    """Return what a flow violates, for people; empty for one that holds."""
    found = []
    outside = np.flatnonzero((units < network.lower) | (units > network.upper))
    found += [f"arc {arc} carries {units[arc]}, not {network.lower[arc]} … {network.upper[arc]}" for arc in outside[:20].tolist()]
    balance = network.supply.copy()
    np.subtract.at(balance, network.tail, units)
    np.add.at(balance, network.head, units)
    found += [f"node {node + 1} is left with {balance[node]}" for node in np.flatnonzero(balance)[:20].tolist()]
    return found
