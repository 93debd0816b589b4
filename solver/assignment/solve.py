"""Solve a problem: exact for records of effort 1, the sequential rule for others.

The levels are those of the network: coverage by priority and age, rule order, availability, fit, then one for each scope.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version

import numpy as np

from reallot.solver.assignment import levels as lv
from reallot.solver.assignment.bundles import Bundles
from reallot.solver.assignment.even import even_out
from reallot.solver.assignment.expansion import expand_records
from reallot.solver.assignment.flow import CostsTooLarge, NoFlow, optimal_flow
from reallot.solver.assignment.greedy import greedy_plan, mended_plan, turns_of
from reallot.solver.assignment.integer import integer_plan
from reallot.solver.assignment.network import Network, arc_units, build_network
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Limit, Reason, Solution, Stage, Termination
from reallot.solver.assignment.values import level_values

MODELS = 1
"""Raised whenever the same problem may get another plan than before."""
SOLVER_VERSION = f"models {MODELS}, ortools {version('ortools')}"
"""Plans of equal problems are equal where this is."""
Incumbent = Callable[[Solution], None]


def solve(problem: Problem, *, on_incumbent: Incumbent | None = None, sequential: bool = False) -> Solution:
    """Return the best plan.

    Where a scope crosses a maximum, records take other efforts than 1, or costs are too large to be added up safely, the plan is
    feasible but not proven at every level, and the termination says so. Runs until done: limits are kept by whoever runs it in a
    process of its own, with the plans that `on_incumbent` was told so far: a first one before any level, then one after each stage.
    With `sequential`, only the first plan is made, for callers who have run out of time. The same problem gives the same plan.

    Raises:
        InvalidProblem: a capacity node is used by two sellers.
    """
    started = time.perf_counter()
    network = build_network(problem)
    seconds = {"build": time.perf_counter() - started}
    if sequential:
        return _sequential(problem, network, seconds, Limit.TIME)
    if not (problem.effort == 1).all() or Bundles(problem).members:
        # What integer models say of positions does not hold for values.
        return _sequential(problem, network, seconds, Limit.METHOD) if problem.even_scopes else _indivisible(problem, network, seconds)
    if on_incumbent is not None:
        on_incumbent(_sequential(problem, network, {}, Limit.TIME))
    descent = Descent(problem, network, seconds)
    while descent.step():
        if on_incumbent is not None and descent.level < len(network.levels):
            on_incumbent(descent.solution(Termination(Reason.FEASIBLE, Limit.TIME)))
    proven = network.exact and descent.level == len(network.levels)
    found = descent.solution(Termination(Reason.OPTIMAL) if proven else Termination(Reason.FEASIBLE, Limit.METHOD))
    return even_out(problem, network, descent.face, found) if problem.even_scopes else found


class Descent:
    """Goes down the levels, stage by stage. Used once."""

    def __init__(self, problem: Problem, network: Network, seconds: dict[str, float]) -> None:
        self.problem, self.network, self.seconds = problem, network, seconds
        self.face, self.level = lv.whole(network), 0
        self.units = arc_units(problem, network, np.full(problem.records, -1, dtype=np.int64))
        self.proof: list[Stage] = []

    def step(self) -> bool:
        """Do the next stage; False if there is none, or its costs are too large."""
        if self.level == 0 and self._covers_all():
            return True
        levels, factors = lv.stage_from(self.network, self.level)
        while levels:
            try:
                self._solve(levels, factors, self.face, self.units)
                return True
            except CostsTooLarge:
                levels, factors = levels[:-1], factors[:-1]
                factors = tuple(f // factors[-1] for f in factors) if factors else ()
        return False

    def _covers_all(self) -> bool:
        """Try to cover everybody, which settles the first level without a solve of its own; False if that cannot be.

        Without the urgency of records the other levels' costs are small numbers, which the flow solver is through with in half the time;
        that it cannot be is found out before any cost is looked at.
        """
        network, problem = self.network, self.problem
        levels, factors = lv.stage_from(network, 1)
        sizes = problem.class_sizes()
        out = slice(problem.options, problem.options + problem.classes)
        roots = network.trees.next < 0
        if (
            not levels
            or bool((sizes[np.diff(problem.option_start) == 0] > 0).any())
            or int(network.trees.bound[roots].sum()) < problem.records
        ):
            return False
        coverage = Stage((0,), (1,), np.zeros(network.nodes, dtype=np.int64))
        upper = network.upper.copy()
        upper[out] = 0
        try:
            self._solve(levels, factors, lv.Face(self.face.lower, upper), None, before=coverage)
        except (NoFlow, CostsTooLarge):
            return False
        return True

    def _solve(
        self, levels: tuple[int, ...], factors: tuple[int, ...], face: lv.Face, units: Ints | None, before: Stage | None = None
    ) -> None:
        started = time.perf_counter()
        costs = lv.costs_of_stage(self.network, levels, factors)
        self.units, potential = optimal_flow(self.network, costs, face, units)
        self.face = lv.narrow(self.network, costs, face, potential)
        self.level = levels[-1] + 1
        self.proof += [*([before] if before else []), Stage(levels, factors, potential)]
        self.seconds[f"levels {levels[0]}-{levels[-1]}"] = time.perf_counter() - started

    def solution(self, termination: Termination) -> Solution:
        """Return the plan so far."""
        started = time.perf_counter()
        network = self.network
        option_of, turns = expand_records(self.problem, network, self.units[: self.problem.options])
        # Where a scope was taken apart, the flow's own positions are not the scope's: what they prove holds up to the policies.
        kept = tuple(s for s in self.proof if network.exact or s.levels[-1] < network.first_policy)
        proven = frozenset(level for stage in kept for level in stage.levels)
        values = level_values(self.problem, network, option_of, proven=proven)
        seconds = {**self.seconds, "expand": time.perf_counter() - started}
        return Solution(option_of, turns, values, termination, kept, seconds | {"total": sum(seconds.values())})


def _indivisible(problem: Problem, network: Network, seconds: dict[str, float]) -> Solution:
    """Return a plan where records take other efforts than 1, or go together.

    For few it is the best that an integer solver finds. For many that only go together, it is the best plan of all as if they did not,
    mended where it tears some apart, or the sequential rule's if that is better.
    """
    first = _sequential(problem, network, seconds, Limit.METHOD)
    started = time.perf_counter()
    plan = integer_plan(problem, first.option_of)
    if plan is None and (problem.effort == 1).all():
        alone = solve(replace(problem, together=np.zeros(0, dtype=np.int64)))
        plan = mended_plan(problem, alone.option_of)
    if plan is None:
        return first
    found = level_values(problem, network, plan, proven=frozenset())
    spent = {**first.seconds, "indivisible": time.perf_counter() - started}
    spent["total"] += spent["indivisible"]
    best = Solution(plan, turns_of(problem, plan), found, first.termination, (), spent)
    return min(best, first, key=lambda solution: [level.value for level in solution.levels])


def _sequential(problem: Problem, network: Network, seconds: dict[str, float], limit: Limit) -> Solution:
    started = time.perf_counter()
    option_of, turns = greedy_plan(problem)
    found = level_values(problem, network, option_of, proven=frozenset())
    spent = {**seconds, "sequential": time.perf_counter() - started}
    return Solution(option_of, turns, found, Termination(Reason.FEASIBLE, limit), (), spent | {"total": sum(spent.values())})
