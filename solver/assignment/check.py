"""The independent check of a plan, without the flow solver: is it allowed, are its values true, is it proven?

Raises for every plan that breaks a rule, whoever made it. The proof is complementary slackness, stage by stage: with the stage's
potentials, no unit of positive reduced cost is used and none of negative is left out.
"""

from collections.abc import Iterator

import numpy as np

from reallot.solver.assignment import levels as lv
from reallot.solver.assignment.bundles import Bundles
from reallot.solver.assignment.network import Network, arc_units, build_network
from reallot.solver.assignment.problem import Problem
from reallot.solver.assignment.result import Reason, Solution, Stage
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
    yield from (f"the records of bundle {bundle} do not go together" for bundle in Bundles(problem).broken(option_of))
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
    even = {f"policy:{problem.scopes[index].scope_id}" for index in problem.even_scopes}
    true = level_values(problem, network, solution.option_of, proven=proven)
    for claimed, counted in zip(solution.levels, true, strict=False):
        if (claimed.level_id, claimed.value) != (counted.level_id, counted.value):
            yield f"level {claimed.level_id} is given as {claimed.value}, counted {counted.level_id} {counted.value}"
        if claimed.level_id in even:
            # No potentials prove how even values can be: the bound is the integer solver's, and no plan is better than its own.
            if claimed.bound is not None and claimed.bound > counted.value:
                yield f"level {claimed.level_id} claims the bound {claimed.bound}, its plan has {counted.value}"
            if claimed.bound != claimed.value and solution.termination.reason is Reason.OPTIMAL:
                yield f"the plan is called optimal, at level {claimed.level_id} it may not be"
        elif claimed.bound is not None and (counted.bound is None or claimed.bound > counted.bound):
            yield f"level {claimed.level_id} claims the bound {claimed.bound}, proven is {counted.bound}"
    if len(true) != len(solution.levels):
        yield f"{len(solution.levels)} levels are given, there are {len(true)}"


def _proof_violations(problem: Problem, network: Network, solution: Solution) -> Iterator[str]:
    proven = [level for stage in solution.proof for level in stage.levels]
    if proven != list(range(len(proven))) or len(proven) > len(network.levels):
        yield "the stages do not follow the levels"
        return
    if solution.termination.reason is Reason.OPTIMAL and (len(proven) != len(network.levels) or not network.exact):
        yield "the plan is called optimal without a proof of every level"
    if proven and Bundles(problem).members:
        yield "a flow proves nothing of records that go together"
    if proven and (left := _left_out_too_early(problem, solution)) is not None:
        yield f"record {left} is left out for a less urgent one of its class"
        return
    units, face = arc_units(problem, network, solution.option_of), lv.whole(network)
    for stage in solution.proof:
        names = ", ".join(network.levels[level].level_id for level in stage.levels)
        if (fault := _stage_fault(network, stage)) is not None:
            yield f"{fault} at {names}"
            return
        costs = lv.costs_of_stage(network, stage.levels, stage.factors)
        if lv.breaks_slackness(network, costs, face, units, stage.potential):
            yield f"the plan is not optimal for its potentials at {names}"
            return
        face = lv.narrow(network, costs, face, stage.potential)


def _left_out_too_early(problem: Problem, solution: Solution) -> int | None:
    """Return a record that is left out though a less urgent one of its class is not: the flow sees only how many are left out."""
    weights, covered = problem.weights(), solution.assigned
    least = np.full(problem.classes, np.iinfo(np.int64).max)
    np.minimum.at(least, problem.class_of[covered], weights[covered])
    early = np.flatnonzero(~covered & (weights > least[problem.class_of]))
    return int(early[0]) if len(early) else None


def _stage_fault(network: Network, stage: Stage) -> str | None:
    if stage.factors != lv.factors_of(network, stage.levels) or not lv.fits(network, stage.levels):
        return "the factors do not keep the levels apart"
    # A node is at most as far from any other as a path through all nodes costs; more might overflow below.
    if len(stage.potential) != network.nodes or (abs(stage.potential) > lv.LARGEST).any():
        return "the potentials do not fit the network"
    return None
