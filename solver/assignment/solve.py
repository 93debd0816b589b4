"""Solve a problem: exact for records of effort 1, the sequential rule for others.

The levels are those of the network: coverage by priority and age, rule order, availability, fit, then one for each scope.
"""

import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from reallot.solver.assignment import levels as lv
from reallot.solver.assignment.check import arc_units
from reallot.solver.assignment.expansion import expand_records
from reallot.solver.assignment.greedy import greedy_plan
from reallot.solver.assignment.network import Network, build_network
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Limit, Reason, Solution, Stage, Termination
from reallot.solver.assignment.values import level_values

SOLVER_VERSION = f"ortools {version('ortools')}"
Incumbent = Callable[[Solution], None]


def solve(problem: Problem, *, on_incumbent: Incumbent | None = None, sequential: bool = False) -> Solution:
    """Return the best plan.

    Where a scope crosses a maximum, or records take other efforts than 1, the plan is feasible but not proven at every level, and
    the termination says so. Runs until done: limits are kept by whoever runs it in a process of its own, with the plans that
    `on_incumbent` was told so far: a first one before any level, then one after each stage. With `sequential`, only the first plan
    is made, for callers who have run out of time. The same problem gives the same plan.
    """
    started = time.perf_counter()
    network = build_network(problem)
    if not (problem.effort == 1).all():
        return _sequential(problem, network, started, Limit.METHOD)
    if sequential:
        return _sequential(problem, network, started, Limit.TIME)
    if on_incumbent is not None:
        on_incumbent(_sequential(problem, network, started, Limit.TIME))
    seconds = {"build": time.perf_counter() - started}
    face = lv.Face(np.zeros_like(network.upper), network.upper.copy())
    units = arc_units(problem, network, np.full(problem.records, -1, dtype=np.int64))
    proof: list[Stage] = []
    for indices, factors in lv.stages(network):
        parts = lv.expand(network, face, indices, factors)
        if parts.cost.any():
            before = time.perf_counter()
            flow = lv.solve_stage(network, face, parts)
            units = face.lower.copy()
            np.add.at(units, parts.arc, flow)
            seconds[f"flow {len(proof) + 1}"] = time.perf_counter() - before
        else:
            flow = lv.flow_of_units(parts, units - face.lower)
        potential = lv.potentials(network, parts, flow)
        proof.append(Stage(indices, factors, potential))
        face = lv.narrow(network, face, parts, potential)
        if on_incumbent is not None and indices[-1] + 1 < len(network.levels):
            on_incumbent(_solution(problem, network, units, proof, Termination(Reason.FEASIBLE, Limit.TIME), seconds))
    termination = Termination(Reason.OPTIMAL) if network.exact else Termination(Reason.FEASIBLE, Limit.METHOD)
    seconds["total"] = time.perf_counter() - started
    return _solution(problem, network, units, proof, termination, seconds)


def _solution(
    problem: Problem, network: Network, units: Ints, proof: list[Stage], termination: Termination, seconds: dict[str, float]
) -> Solution:
    option_of, turns = expand_records(problem, network, units[: problem.options])
    # Where a scope was taken apart, the flow's own positions are not the scope's: what they prove holds up to the policies.
    kept = tuple(s for s in proof if network.exact or s.levels[-1] < network.first_policy)
    proven = frozenset(level for stage in kept for level in stage.levels)
    return Solution(option_of, turns, level_values(problem, network, option_of, proven=proven), termination, kept, dict(seconds))


def _sequential(problem: Problem, network: Network, started: float, limit: Limit) -> Solution:
    option_of, turns = greedy_plan(problem)
    found = level_values(problem, network, option_of, proven=frozenset())
    return Solution(option_of, turns, found, Termination(Reason.FEASIBLE, limit), (), {"total": time.perf_counter() - started})
