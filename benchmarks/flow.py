"""Minimum-cost flow on whole networks: the published one, grids, transports and long rows of layers.

Beside our solver, which sets up the network, solves it and checks the flow, stand the bare call of the flow solver on the same arcs and
HiGHS's simplex method, which knows nothing of flows and whose cost has to be the same. Run with `make bench NAME=flow`.
"""

import argparse
import json
import time
from typing import Any

import highspy
import numpy as np
from ortools.graph.python import min_cost_flow

from benchmarks.instances import NetworkInstance, grid_network, layered_network, published_flow, transport_network
from benchmarks.report import Promise, machine, tell
from reallot.solver.problems.formats import FlowNetwork
from reallot.solver.problems.linear import quiet_solver
from reallot.solver.problems.networks import flow_violations, solve_network

MOST_SECONDS = 600.0
"""For HiGHS."""


def ours(network: FlowNetwork) -> tuple[int, float]:
    """Return cost and seconds of our solver with its check."""
    started = time.perf_counter()
    units = solve_network(network)
    if units is None or flow_violations(network, units):
        raise SystemExit("there is no flow that holds")
    return int((units * network.cost).sum()), time.perf_counter() - started


def bare(network: FlowNetwork) -> tuple[int, float]:
    """Return cost and seconds of the bare flow solver; lower bounds are moved into the supplies before."""
    supply = network.supply.copy()
    np.subtract.at(supply, network.tail, network.lower)
    np.add.at(supply, network.head, network.lower)
    tail, head = network.tail.astype(np.int32), network.head.astype(np.int32)
    room, nodes = network.upper - network.lower, np.arange(len(supply), dtype=np.int32)
    started = time.perf_counter()
    solver = min_cost_flow.SimpleMinCostFlow()
    solver.add_arcs_with_capacity_and_unit_cost(tail, head, room, network.cost)
    solver.set_nodes_supplies(nodes, supply)
    if solver.solve() != solver.OPTIMAL:
        raise SystemExit("the bare solver found no flow")
    return solver.optimal_cost() + int((network.lower * network.cost).sum()), time.perf_counter() - started


def highs(network: FlowNetwork) -> tuple[int, float]:
    """Return cost and seconds of HiGHS on the network as a linear program."""
    arcs, nodes = len(network.tail), len(network.supply)
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = arcs, nodes
    lp.col_cost_ = network.cost.astype(np.float64)
    lp.col_lower_, lp.col_upper_ = network.lower.astype(np.float64), network.upper.astype(np.float64)
    lp.row_lower_ = lp.row_upper_ = network.supply.astype(np.float64)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_ = (2 * np.arange(arcs + 1)).astype(np.int32)
    lp.a_matrix_.index_ = np.column_stack([network.tail, network.head]).ravel().astype(np.int32)
    lp.a_matrix_.value_ = np.tile([1.0, -1.0], arcs)
    solver = quiet_solver(MOST_SECONDS)
    started = time.perf_counter()
    solver.passModel(lp)
    solver.run()
    spent = time.perf_counter() - started
    return round(solver.getInfo().objective_function_value), spent


def measure(instance: NetworkInstance) -> None:
    """Solve one network in each way and print what came out."""
    network = instance.network
    (value, seconds), (bare_value, bare_seconds), (highs_value, highs_seconds) = ours(network), bare(network), highs(network)
    others = [bare_value, highs_value, *([] if instance.best is None else [instance.best])]
    figures: dict[str, Any] = {
        "instance": instance.name,
        "nodes": len(network.supply),
        "arcs": len(network.tail),
        "value": value,
        "best_known": instance.best,
        "seconds": {"ours": round(seconds, 4), "bare": round(bare_seconds, 4), "highs": round(highs_seconds, 4)},
        "values": {"ours": value, "bare": bare_value, "highs": highs_value},
    }
    promises = [
        Promise("off from the best value", max(abs(value - other) for other in others), 0, at_most=True),
        Promise("times the seconds of the bare solver", round(seconds / max(bare_seconds, 1e-6), 2), None, at_most=True),
        Promise("times as fast as HiGHS", round(highs_seconds / max(seconds, 1e-6), 2), None),
    ]
    tell("flow", "none", figures, promises)


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=100, help="nodes on a side of the grid")
    parser.add_argument("--sources", type=int, default=2_000, help="supplies of the transport")
    parser.add_argument("--layers", type=int, default=200, help="layers of the long network")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print(json.dumps({"machine": machine()}), flush=True)
    if (published := published_flow()) is not None:
        measure(published)
    measure(grid_network(given.side, given.seed))
    measure(transport_network(given.sources, max(given.sources // 4, 1), 10, given.seed))
    measure(layered_network(given.layers, 50, given.seed))


if __name__ == "__main__":
    main()
