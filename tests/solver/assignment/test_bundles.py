"""Records that go together and records of any effort, against trying all plans."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import CheckFailed, InvalidProblem, Limit, Policy, Problem, Reason, Solution, check, solve
from reallot.solver.assignment import integer as integer_module
from support.cases import cases
from support.problems import Option, a_problem, a_scope, plans, position_costs, problems


def allowed(problem: Problem) -> list[tuple[int, ...]]:
    """All plans within the maxima in which the records of a bundle have one seller, or none of them has one."""
    found = []
    for plan in plans(problem):
        takers: dict[int, set[int]] = {}
        for number, option in zip(problem.together.tolist(), plan, strict=True):
            if number >= 0:
                takers.setdefault(number, set()).add(int(problem.option_seller[option]) if option >= 0 else -1)
        if all(len(who) == 1 for who in takers.values()):
            found.append(plan)
    return found


def worth(problem: Problem, plan: tuple[int, ...]) -> tuple[object, ...]:
    """What a plan is worth, smaller is better: left out by priority, by age, then rules, availability and fit, then the scopes."""
    urgency = sorted(set(zip((-problem.priority).tolist(), problem.age_us.tolist(), strict=True)), reverse=True)
    weight = [urgency.index((-p, a)) + 1 for p, a in zip(problem.priority.tolist(), problem.age_us.tolist(), strict=True)]
    left = [record for record, option in enumerate(plan) if option < 0]
    by_priority = [sum(problem.priority[r] == p for r in left) for p in sorted(set(problem.priority.tolist()), reverse=True)]
    chosen = [option for option in plan if option >= 0]
    constant = [int(column[chosen].sum()) for column in (problem.option_rank, problem.option_bucket, problem.option_fit)]
    policies = []
    for index, scope in enumerate(problem.scopes):
        units: dict[int, int] = {}
        for record, option in enumerate(plan):
            if option >= 0 and problem.option_scope[option] == index:
                effort = int(problem.effort[problem.class_of[record]]) if scope.policy is Policy.LOAD_BALANCING else 1
                seller = int(problem.option_seller[option])
                units[seller] = units.get(seller, 0) + effort
        costs = position_costs(scope, max(1, int(problem.effort[problem.class_of].sum())))
        policies.append(sum(sum(costs[seller][:count]) for seller, count in units.items()))
    return tuple(by_priority), sum(weight[r] for r in left), tuple(constant), tuple(policies)


@st.composite
def bundled(draw: st.DrawFn) -> Problem:
    problem = draw(problems(scopes=1))
    together = [draw(st.integers(-1, 1)) for _ in range(problem.records)]
    efforts = [draw(st.sampled_from([1, 1, 2, 3])) for _ in range(problem.classes)]
    return replace(problem, together=np.array(together, dtype=np.int64), effort=np.array(efforts, dtype=np.int64))


@settings(max_examples=cases(60), deadline=None)
@given(problem=bundled())
def test_the_plan_is_the_best_of_all(problem: Problem) -> None:
    solution = solve(problem)
    check(problem, solution)
    plan = tuple(solution.option_of.tolist())
    every = allowed(problem)
    assert plan in every
    assert worth(problem, plan) == min(worth(problem, other) for other in every)


@settings(max_examples=cases(150), deadline=None)
@given(problem=bundled())
def test_the_sequential_rule_places_bundles_whole_within_the_maxima(problem: Problem) -> None:
    solution = solve(problem, sequential=True)
    check(problem, solution)
    assert tuple(solution.option_of.tolist()) in allowed(problem)


@settings(max_examples=cases(150), deadline=None)
@given(problem=bundled(), unit=st.booleans())
def test_a_plan_of_many_is_allowed_and_no_worse_than_the_sequential_rule(problem: Problem, unit: bool) -> None:
    problem = replace(problem, effort=np.ones_like(problem.effort)) if unit else problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(integer_module, "LARGEST", 0)
        solution = solve(problem)
    check(problem, solution)
    assert tuple(solution.option_of.tolist()) in allowed(problem)
    assert [v.value for v in solution.levels] <= [v.value for v in solve(problem, sequential=True).levels]


def test_a_bundle_among_many_spoils_nobody_s_best_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_module, "LARGEST", 0)
    # One by one, the oldest would take seller 0, whom the second cannot do without.
    either, only = [Option(0), Option(1, fit=1)], [Option(0)]
    problem = a_problem([either, only, [Option(2)]], [0, 1, 2, 2], [1, 1, 2], [a_scope(range(3))])
    problem = replace(problem, together=np.array([-1, -1, 3, 3], dtype=np.int64))
    assert sellers_of(problem, solve(problem, sequential=True)) == [0, -1, 2, 2]
    assert sellers_of(problem, solve(problem)) == [1, 0, 2, 2]


def a_bundle(*, sellers: int = 3, free: int = 2) -> Problem:
    """Two records that go together, and one that is more urgent and goes alone."""
    scope = a_scope(range(sellers))
    problem = a_problem([[Option(s) for s in range(sellers)]], [0, 0, 0], [free] * sellers, [scope], priority=[50, 50, 90])
    return replace(problem, together=np.array([7, 7, -1], dtype=np.int64))


def sellers_of(problem: Problem, solution: Solution) -> list[int]:
    return [int(problem.option_seller[o]) if o >= 0 else -1 for o in solution.option_of.tolist()]


def test_two_go_to_one_seller_and_the_third_elsewhere() -> None:
    problem = a_bundle()
    solution = solve(problem)
    first, second, alone = sellers_of(problem, solution)
    assert first == second != alone
    assert (solution.termination.reason, solution.termination.limit) == (Reason.FEASIBLE, Limit.METHOD)


def test_where_nobody_has_room_for_both_none_is_placed() -> None:
    problem = a_bundle(free=1)
    assert sellers_of(problem, solve(problem))[:2] == [-1, -1]


def test_too_many_for_the_integer_solver_go_by_the_sequential_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integer_module, "LARGEST", 1)
    problem = a_bundle()
    first, second, alone = sellers_of(problem, solve(problem))
    assert first == second != alone


def test_the_same_problem_gives_the_same_plan() -> None:
    problem = replace(a_bundle(sellers=4), age_us=np.zeros(3, dtype=np.int64))
    assert np.array_equal(solve(problem).option_of, solve(problem).option_of)


def test_a_plan_that_tears_a_bundle_apart_is_refused() -> None:
    problem = a_bundle()
    solution = solve(problem)
    torn = np.array([0, 1, 2], dtype=np.int64)
    with pytest.raises(CheckFailed, match="do not go together"):
        check(problem, replace(solution, option_of=torn, turn_order=np.array([0, 1, 2])))


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidProblem, match="together"):
        replace(a_bundle(), together=np.array([1], dtype=np.int64))
