"""Even value: as even as any plan that is best at every other level."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import (
    CheckFailed,
    Holdings,
    InvalidProblem,
    Limit,
    Policy,
    Problem,
    Reason,
    Scope,
    Termination,
    check,
    solve,
)
from support.cases import cases
from support.problems import Option, a_problem, a_scope


def of_value(held: list[int], turns: list[int] | None = None, name: str = "even") -> Scope:
    return replace(
        a_scope(turns or [0] * len(held), name=name), policy=Policy.EVEN_VALUE, standing=Holdings(np.array(held, dtype=np.int64))
    )


def spread(problem: Problem, plan: tuple[int, ...]) -> int:
    standing = problem.scopes[0].standing
    assert isinstance(standing, Holdings)
    held = standing.held.tolist()
    for record, option in enumerate(plan):
        if option >= 0 and problem.option_scope[option] == 0:
            held[problem.option_seller[option]] += int(problem.value[record])
    return max(held) - min(held)


@st.composite
def teams(draw: st.DrawFn) -> Problem:
    sellers, records = draw(st.integers(1, 3)), draw(st.integers(1, 6))
    kinds = [
        [Option(s, bucket=draw(st.sampled_from([0, 0, 1])), scope=draw(st.sampled_from([0, 0, 1]))) for s in range(sellers)]
        for _ in range(2)
    ]
    scopes = [of_value([draw(st.integers(-20, 20)) for _ in range(sellers)]), a_scope([draw(st.integers(0, 3)) for _ in range(sellers)])]
    free = [draw(st.integers(0, 6)) for _ in range(sellers)]
    values = [draw(st.integers(-5, 30)) for _ in range(records)]
    return a_problem(kinds, [draw(st.integers(0, 1)) for _ in range(records)], free, scopes, value=values)


def worth(problem: Problem, plan: tuple[int, ...]) -> tuple[int, ...]:
    """Number covered, the oldest first, then availability, then the position sums of the round robin beside: smaller is better."""
    left_out = tuple(int(option < 0) for option in plan)
    bucket = sum(int(problem.option_bucket[option]) for option in plan if option >= 0)
    return (sum(left_out), *left_out, bucket)


@settings(max_examples=cases(80), deadline=None)
@given(problem=teams())
def test_no_plan_that_is_as_good_elsewhere_is_more_even(problem: Problem) -> None:
    solution = solve(problem)
    check(problem, solution)
    assert solution.termination == Termination(Reason.OPTIMAL)
    found = tuple(solution.option_of.tolist())
    level = next(level for level in solution.levels if level.level_id == "policy:even")
    assert level.value == level.bound == spread(problem, found)
    turns = next(level for level in solution.levels if level.level_id == "policy:rr").value
    for plan in allowed(problem):
        if worth(problem, plan) == worth(problem, found) and _turns(problem, plan) <= turns:
            assert spread(problem, plan) >= level.value


def allowed(problem: Problem):  # type: ignore[no-untyped-def]
    choices = [[-1, *range(int(problem.option_start[c]), int(problem.option_start[c + 1]))] for c in problem.class_of.tolist()]
    for plan in itertools.product(*choices):
        load = np.bincount([problem.option_seller[o] for o in plan if o >= 0], minlength=len(problem.cap_free))
        if (load <= problem.cap_free).all():
            yield plan


def _turns(problem: Problem, plan: tuple[int, ...]) -> int:
    scope = problem.scopes[1]
    order = sorted(range(len(scope.seller)), key=lambda i: (int(scope.turn[i]), i))
    counts = [sum(1 for o in plan if o >= 0 and problem.option_scope[o] == 1 and problem.option_seller[o] == s) for s in order]
    return sum(k * len(order) + place for place, count in enumerate(counts) for k in range(count))


def test_one_by_one_the_seller_with_the_least_is_served() -> None:
    held, turns = [0, 0, 0], [3, 2, 1]
    for number, (value, expected) in enumerate([(5, 2), (5, 1), (9, 0), (1, 2), (7, 1), (2, 2)]):
        problem = a_problem([[Option(s) for s in range(3)]], [0], [99] * 3, [of_value(held, turns)], value=[value])
        solution = solve(problem)
        check(problem, solution)
        chosen = int(problem.option_seller[solution.option_of[0]])
        assert chosen == expected
        held[chosen], turns[chosen] = held[chosen] + value, 10 + number


def test_hundreds_of_records_are_evened_out() -> None:
    values = np.random.default_rng(4).integers(1, 1_000_000, 300).tolist()
    problem = a_problem([[Option(s) for s in range(5)]], [0] * 300, [300] * 5, [of_value([0] * 5)], value=values)
    solution = solve(problem)
    check(problem, solution)
    level = solution.levels[-1]
    assert 0 <= (level.bound or 0) <= level.value < 1_000_000 // 100
    assert solve(problem).option_of.tolist() == solution.option_of.tolist()


def test_too_many_choices_leave_the_spread_unproven() -> None:
    problem = a_problem([[Option(s) for s in range(30)]], [0] * 1_001, [99] * 30, [of_value([0] * 30)], value=range(1_001))
    solution = solve(problem)
    check(problem, solution)
    assert solution.termination == Termination(Reason.FEASIBLE, Limit.METHOD)
    assert solution.levels[-1].value <= 1_000


def test_records_of_other_efforts_go_one_by_one_to_whom_has_least() -> None:
    problem = a_problem([[Option(0), Option(1)]], [0, 0, 0], [9, 9], [of_value([0, 4])], effort=[2], value=[5, 1, 1])
    solution = solve(problem)
    assert problem.option_seller[solution.option_of].tolist() == [0, 1, 0]


def test_a_false_spread_or_bound_is_found() -> None:
    problem = a_problem([[Option(0), Option(1)]], [0, 0], [9, 9], [of_value([0, 0])], value=[3, 5])
    solution = solve(problem)
    assert solution.levels[-1].value == 2
    for wrong in ({"value": 1}, {"bound": 3}, {"bound": 0}):
        with pytest.raises(CheckFailed, match="even"):
            check(problem, replace(solution, levels=(*solution.levels[:-1], replace(solution.levels[-1], **wrong))))


def test_values_must_be_there_and_fit() -> None:
    problem = a_problem([[Option(0)]], [0, 0], [9], [a_scope([0])])
    with pytest.raises(InvalidProblem, match="value"):
        replace(problem, scopes=(of_value([0]),))
    with pytest.raises(InvalidProblem, match="value"):
        replace(problem, value=np.array([2**60, 2**60]))
