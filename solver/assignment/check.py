"""The independent check of a plan, without the solver: is it allowed, are its values true, is it proven?

Raises for every plan that breaks a rule, whoever made it. The proof is complementary slackness, stage by stage: with the stage's
potentials, no unit of positive reduced cost is used and none of negative is left out.
"""

from collections.abc import Iterator

import numpy as np

from reallot.solver.assignment.levels import Face, expand, flow_of_units, narrow, slack
from reallot.solver.assignment.network import Network, build_network
from reallot.solver.assignment.problem import Ints, Problem
from reallot.solver.assignment.result import Reason, Solution
from reallot.solver.assignment.values import level_values


class CheckFailed(ValueError):
    """A plan that breaks a rule. `violations` says which, for people."""

    def __init__(self, violations: list[str]) -> None:
        super().__init__("; ".join(violations[:5]))
        self.violations = violations


def check(problem: Problem, solution: Solution) -> None:
    """Do nothing if the solution holds.

    Raises:
        CheckFailed: it does not.
    """
    found = list(_plan_violations(problem, solution))
    if not found:
        network = build_network(problem)
        found = [*_value_violations(problem, network, solution), *_proof_violations(problem, network, solution)]
    if found:
        raise CheckFailed(found)


def _plan_violations(problem: Problem, solution: Solution) -> Iterator[str]:
    option_of = solution.option_of
    if len(option_of) != problem.records:
        yield f"the plan has {len(option_of)} rows for {problem.records} records"
        return
    if (option_of < -1).any() or (option_of >= problem.options).any():
        yield "the plan names an option that does not exist"
        return
    assigned = np.flatnonzero(option_of >= 0)
    foreign = assigned[problem.class_of_option()[option_of[assigned]] != problem.class_of[assigned]]
    yield from (f"record {r} has an option of another class" for r in foreign[:5].tolist())
    if not np.array_equal(np.sort(solution.turn_order), assigned):
        yield "the order of turns does not hold each assigned record once"
    load = np.zeros(len(problem.cap_free), dtype=np.int64)
    node = problem.option_cap[option_of[assigned]].astype(np.int64)
    effort = problem.effort[problem.class_of[assigned]]
    while (inside := node >= 0).any():
        np.add.at(load, node[inside], effort[inside])
        node = np.where(inside, problem.cap_parent[node], -1)
    for over in np.flatnonzero((load > 0) & (load > problem.cap_free))[:5].tolist():
        yield f"capacity node {over} carries {load[over]}, {problem.cap_free[over]} is free"


def _value_violations(problem: Problem, network: Network, solution: Solution) -> Iterator[str]:
    proven = frozenset(level for stage in solution.proof for level in stage.levels)
    true = level_values(problem, network, solution.option_of, proven=proven)
    for claimed, counted in zip(solution.levels, true, strict=False):
        if (claimed.level_id, claimed.value) != (counted.level_id, counted.value):
            yield f"level {claimed.level_id} is given as {claimed.value}, counted {counted.level_id} {counted.value}"
        if claimed.bound is not None and counted.bound is None:
            yield f"level {claimed.level_id} claims a bound without proof"
    if len(true) != len(solution.levels):
        yield f"{len(solution.levels)} levels are given, there are {len(true)}"


def _proof_violations(problem: Problem, network: Network, solution: Solution) -> Iterator[str]:
    units = arc_units(problem, network, solution.option_of) if solution.proof else None
    face = Face(np.zeros_like(network.upper), network.upper)
    for stage in solution.proof:
        if units is None or len(stage.potential) != network.nodes:
            yield "a stage's potentials do not fit the network"
            return
        if ((units < face.lower) | (units > face.upper)).any():
            yield f"the plan leaves the optimal face before level {network.levels[stage.levels[0]].level_id}"
            return
        parts = expand(network, face, stage.levels, stage.factors)
        if slack(network, parts, flow_of_units(parts, units - face.lower), stage.potential).any():
            names = ", ".join(network.levels[level].level_id for level in stage.levels)
            yield f"the plan is not optimal for its potentials at {names}"
            return
        face = narrow(network, face, parts, stage.potential)
    proven = [level for stage in solution.proof for level in stage.levels]
    if proven != list(range(len(proven))):
        yield "the stages do not follow the levels"
    if solution.termination.reason is Reason.OPTIMAL and (len(proven) != len(network.levels) or not network.exact):
        yield "the plan is called optimal without a proof of every level"


def arc_units(problem: Problem, network: Network, option_of: Ints) -> Ints:
    """Return how many units of a plan pass each arc of the network: int64, shape (arcs,)."""
    chosen = option_of[option_of >= 0]
    left_out = np.bincount(problem.class_of[option_of < 0], minlength=problem.classes)
    tree = np.zeros(len(network.tree_next), dtype=np.int64)
    at = network.option_tree[chosen]
    while (inside := at >= 0).any():
        np.add.at(tree, at[inside], 1)
        at = np.where(inside, network.tree_next[at], -1) if len(network.tree_next) else np.full_like(at, -1)
    return np.concatenate([np.bincount(chosen, minlength=problem.options), left_out, tree])
