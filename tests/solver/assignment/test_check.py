"""The check refuses what is not allowed, not true or not proven."""

import ast
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reallot.solver import assignment
from reallot.solver.assignment import CheckFailed, Limit, Problem, Reason, Solution, Termination, check, solve
from reallot.solver.assignment.network import build_network
from reallot.solver.assignment.values import level_values
from support.cases import cases
from support.problems import Option, a_problem, a_scope, level_vectors, plans, problems

Break = Callable[[Solution], Solution]


def a_solved_problem() -> tuple[Problem, Solution]:
    problem = a_problem([[Option(0, bucket=1), Option(1)], [Option(1, rank=1), Option(2)]], [0, 0, 1, 1], [1, 1, 1], [a_scope([3, 2, 1])])
    return problem, solve(problem)


def with_stages(solution: Solution, **changes: object) -> Solution:
    return replace(solution, proof=tuple(replace(stage, **changes) for stage in solution.proof))


FAULTS: dict[str, tuple[Break, str]] = {
    "a row missing": (lambda s: replace(s, option_of=s.option_of[:-1]), "rows for"),
    "an option out of range": (lambda s: replace(s, option_of=np.full(4, 9)), "does not exist"),
    "another class": (lambda s: replace(s, option_of=np.array([1, -1, 1, 3]), turn_order=np.array([0, 2, 3])), "another class"),
    "over a maximum": (lambda s: replace(s, option_of=np.array([0, 0, 3, -1]), turn_order=np.array([0, 1, 2])), "carries 2"),
    "a turn missing": (lambda s: replace(s, turn_order=s.turn_order[:-1]), "order of turns"),
    "a turn twice": (lambda s: replace(s, turn_order=s.turn_order[[0, 0, 1]]), "order of turns"),
    "a false value": (lambda s: replace(s, levels=(replace(s.levels[0], value=9), *s.levels[1:])), "is given as 9"),
    "a false bound": (lambda s: replace(s, levels=(replace(s.levels[0], bound=9), *s.levels[1:])), "bound"),
    "a level missing": (lambda s: replace(s, levels=s.levels[:-1]), "levels are given"),
    "no proof": (lambda s: replace(s, proof=()), "proven is None"),
    "potentials of nothing": (lambda s: with_stages(s, potential=s.proof[0].potential * 0), "not optimal"),
    "potentials too short": (lambda s: with_stages(s, potential=s.proof[0].potential[:-1]), "do not fit"),
    "potentials that overflow": (lambda s: with_stages(s, potential=s.proof[0].potential + 2**62), "do not fit"),
    "factors that hide levels": (lambda s: with_stages(s, factors=(1, 0, 0, 0, 0)), "apart"),
    "levels out of order": (lambda s: with_stages(s, levels=(1, 0, 2, 3, 4)), "follow the levels"),
}


@pytest.mark.parametrize(("break_it", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found(break_it: Break, fault: str) -> None:
    problem, solution = a_solved_problem()
    check(problem, solution)
    with pytest.raises(CheckFailed, match=fault):
        check(problem, break_it(solution))


@settings(max_examples=cases(150), deadline=None)
@given(problem=problems(scopes=2, nested=False), data=st.data())
def test_no_worse_plan_passes_with_the_proof_of_the_best(problem: Problem, data: st.DataObject) -> None:
    solution, vector = solve(problem), level_vectors(problem)
    plan = data.draw(st.sampled_from(list(plans(problem))))
    assume(vector(plan) > vector(solution.option_of.tolist()))
    option_of = np.array(plan, dtype=np.int64)
    proven = frozenset(range(4 + len(problem.scopes)))
    values = level_values(problem, build_network(problem), option_of, proven=proven)
    worse = replace(solution, option_of=option_of, turn_order=np.flatnonzero(option_of >= 0), levels=values)
    with pytest.raises(CheckFailed):
        check(problem, worse)


@settings(max_examples=cases(100), deadline=None)
@given(problem=problems(scopes=2), data=st.data())
def test_any_allowed_plan_passes_if_it_claims_nothing(problem: Problem, data: st.DataObject) -> None:
    option_of = np.array(data.draw(st.sampled_from(list(plans(problem)))), dtype=np.int64)
    values = level_values(problem, build_network(problem), option_of, proven=frozenset())
    termination = Termination(Reason.FEASIBLE, Limit.TIME)
    check(problem, Solution(option_of, np.flatnonzero(option_of >= 0), values, termination))


def test_leaving_out_the_older_of_two_equals_is_found() -> None:
    problem = a_problem([[Option(0)]], [0, 0], [1], [a_scope([0])], age=[1, 2])
    swapped = replace(solve(problem), option_of=np.array([-1, 0]), turn_order=np.array([1]))
    with pytest.raises(CheckFailed, match="record 0 is left out"):
        check(problem, swapped)


def test_a_limit_goes_with_feasible_only() -> None:
    with pytest.raises(ValueError, match="FEASIBLE only"):
        Termination(Reason.OPTIMAL, Limit.TIME)
    with pytest.raises(ValueError, match="FEASIBLE only"):
        Termination(Reason.FEASIBLE)


def imports_of(module: str) -> set[str]:
    """Modules that a module of the package imports, and those that these import."""
    folder = Path(assignment.__file__).parent
    tree = ast.parse((folder / f"{module}.py").read_text())
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    found |= {f"{node.module}.{a.name}" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for a in node.names}
    own = {name.rsplit(".", 1)[1] for name in found if name.startswith("reallot.solver.assignment.")}
    return found.union(*(imports_of(name) for name in own if (folder / f"{name}.py").exists()))


def test_the_check_does_without_the_flow_solver() -> None:
    assert "reallot.solver.assignment.levels" in imports_of("check")
    assert not any(name.startswith("ortools") for name in imports_of("check"))
