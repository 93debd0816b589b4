"""Solving against brute force, the sequential rules, and the scenarios' numbers."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import CheckFailed, Limit, Policy, Problem, Reason, Solution, Termination, check, solve

sys.path.insert(0, str(Path(__file__).parent))
from problems import Option, a_problem, a_scope, hand_out, permuted, plans, position_costs, problems, score


def sellers_in_turn(problem: Problem, solution: Solution) -> list[int]:
    return problem.option_seller[solution.option_of[solution.turn_order]].tolist()


def policy_score(problem: Problem, plan: tuple[int, ...]) -> tuple[int, ...]:
    """Sum of the places that the plan's units take in each scope."""
    total = []
    for index, scope in enumerate(problem.scopes):
        # Higher priorities take a whole sequence before lower ones: look far enough for everybody to come up.
        costs = position_costs(scope, 2_000)
        used = [0] * len(scope.seller)
        value = 0
        for option in plan:
            if option >= 0 and problem.option_scope[option] == index:
                seller = int(problem.option_seller[option])
                own = costs[seller]
                value += own[used[seller]] if used[seller] < len(own) else 10_000 + used[seller]
                used[seller] += 1
        total.append(value)
    return tuple(total)


@settings(max_examples=250, deadline=None)
@given(problem=problems())
def test_strict_levels_are_the_best_of_all_plans(problem: Problem) -> None:
    solution = solve(problem)
    check(problem, solution)
    assert score(problem, solution.option_of.tolist()) == min(score(problem, plan) for plan in plans(problem))


@settings(max_examples=60, deadline=None)
@given(problem=problems(scopes=2))
def test_strict_levels_hold_with_two_scopes(problem: Problem) -> None:
    solution = solve(problem)
    check(problem, solution)
    assert score(problem, solution.option_of.tolist()) == min(score(problem, plan) for plan in plans(problem))


@settings(max_examples=150, deadline=None)
@given(
    policy=st.sampled_from(Policy),
    sellers=st.lists(st.tuples(st.integers(0, 9), st.integers(-2, 8), st.sampled_from([40, 50, 60])), min_size=1, max_size=5),
    records=st.integers(0, 20),
)
def test_a_batch_of_one_rule_is_the_sequential_rule(policy: Policy, sellers: list[tuple[int, int, int]], records: int) -> None:
    turns, free, priority = (list(column) for column in zip(*sellers, strict=True))
    scope = a_scope(turns, policy, free=free, priority=priority)
    problem = a_problem([[Option(s, cap=-1) for s in range(len(sellers))]], [0] * records, [], [scope])
    solution = solve(problem)
    check(problem, solution)
    assert sellers_in_turn(problem, solution) == hand_out(scope, records)


@settings(max_examples=150, deadline=None)
@given(
    policy=st.sampled_from(Policy),
    sellers=st.lists(st.tuples(st.integers(0, 9), st.integers(-2, 6)), min_size=1, max_size=5),
    records=st.integers(0, 20),
)
def test_a_batch_with_maxima_skips_who_is_full(policy: Policy, sellers: list[tuple[int, int]], records: int) -> None:
    turns, free = (list(column) for column in zip(*sellers, strict=True))
    scope = a_scope(turns, policy, free=free)
    problem = a_problem([[Option(s, cap=s) for s in range(len(sellers))]], [0] * records, free, [scope])
    solution = solve(problem)
    check(problem, solution)
    room, expected = [max(f, 0) for f in free], []
    # Alone over the scope's sellers, a full seller's places in the order are passed over.
    for seller in hand_out(scope, 400):
        if room[seller] and len(expected) < records:
            room[seller] -= 1
            expected.append(seller)
    assert sellers_in_turn(problem, solution) == expected


@settings(max_examples=80, deadline=None)
@given(problem=problems(scopes=1, nested=False))
def test_the_policy_level_is_the_best_among_the_best(problem: Problem) -> None:
    solution = solve(problem)
    plan = tuple(solution.option_of.tolist())
    best = min(score(problem, p) for p in plans(problem))
    among = [policy_score(problem, p) for p in plans(problem) if score(problem, p) == best]
    if problem.scopes[0].policy is Policy.ROUND_ROBIN and len(set(problem.scopes[0].priority.tolist())) == 1:
        assert policy_score(problem, plan) == min(among)
    assert solution.termination.reason is Reason.OPTIMAL


@settings(max_examples=60, deadline=None)
@given(problem=problems(scopes=2), data=st.data())
def test_the_order_of_the_input_does_not_matter(problem: Problem, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(problem.records)))
    plain, shuffled = solve(problem), solve(permuted(problem, order))
    assert [int(plain.option_of[i]) for i in order] == shuffled.option_of.tolist()


def test_round_robin_serves_who_was_served_longest_ago() -> None:
    """D1: Miriam 10:02, Sanjay 10:31, Susana 11:17; three rules over the same sellers share one order."""
    scope = a_scope([1, 2, 3])
    problem = a_problem([[Option(s, cap=-1) for s in range(3)]], [0, 0, 0, 0], [], [scope])
    assert problem.option_seller[solve(problem).option_of].tolist() == [0, 1, 2, 0]


def test_full_sellers_get_nothing() -> None:
    """D2: free 0, 4, 1, -2; last 2:37, 2:57, 3:02, 2:35."""
    problem = a_problem([[Option(s, cap=s) for s in range(4)]], [0], [0, 4, 1, -2], [a_scope([2, 3, 4, 1])])
    assert problem.option_seller[solve(problem).option_of].tolist() == [1]


def test_load_balancing_evens_out_and_closes_gaps() -> None:
    """F2: 30 records over three sellers, then 5 closed of one and 5 more."""
    balancing = a_scope([0, 0, 0], Policy.LOAD_BALANCING, free=[100, 100, 100])
    problem = a_problem([[Option(s, cap=s) for s in range(3)]], [0] * 30, [100] * 3, [balancing])
    assert np.bincount(problem.option_seller[solve(problem).option_of]).tolist() == [10, 10, 10]
    later = a_scope([1, 2, 3], Policy.LOAD_BALANCING, free=[90, 95, 90])
    more = a_problem([[Option(s, cap=s) for s in range(3)]], [0] * 5, [90, 95, 90], [later])
    assert np.bincount(more.option_seller[solve(more).option_of], minlength=3).tolist() == [0, 5, 0]


def test_urgent_records_are_covered_first_then_older_ones() -> None:
    problem = a_problem([[Option(0)]], [0] * 4, [2], [a_scope([0])], priority=[50, 80, 50, 20], age=[5, 9, 3, 1])
    assert solve(problem).assigned.tolist() == [False, True, True, False]


def test_efforts_are_respected_and_said_to_be_unproven() -> None:
    problem = a_problem([[Option(0), Option(1)], [Option(0), Option(1)]], [0, 1, 1], [3, 2], [a_scope([0, 0])], effort=[3, 2])
    solution = solve(problem)
    check(problem, solution)
    assert solution.assigned.tolist() == [True, True, False]
    assert solution.termination == Termination(Reason.FEASIBLE, Limit.METHOD)


def test_a_scope_that_crosses_a_maximum_is_solved_without_a_proof_of_the_policy() -> None:
    capped, other = Option(0, scope=0, cap=1), Option(0, scope=0, cap=2)
    problem = a_problem(
        [[capped], [other], [replace(capped, scope=1)]],
        [0, 1, 2],
        [9, 1, 1],
        [a_scope([0]), a_scope([0], name="s1")],
        parent=[-1, 0, 0],
    )
    solution = solve(problem)
    check(problem, solution)
    assert solution.assigned.sum() == 2
    assert solution.termination.limit is Limit.METHOD
    assert all(level.bound == level.value for level in solution.levels if not level.level_id.startswith("policy"))


@pytest.mark.parametrize("classes", [[], [[]]], ids=["no classes", "no options"])
def test_empty_problems_have_empty_plans(classes: list[list[Option]]) -> None:
    problem = a_problem(classes, [0] * len(classes), [])
    solution = solve(problem)
    check(problem, solution)
    assert not solution.assigned.any()


def test_plans_are_told_as_they_get_better() -> None:
    problem = a_problem([[Option(0), Option(1)]], [0] * 5, [2, 2], [a_scope([0, 0])])
    told: list[Solution] = []
    solve(problem, on_incumbent=told.append)
    assert told
    for solution in told:
        check(problem, solution)
        assert solution.termination == Termination(Reason.FEASIBLE, Limit.TIME)


def a_solved_problem() -> tuple[Problem, Solution]:
    problem = a_problem([[Option(0, bucket=1), Option(1)], [Option(1, rank=1), Option(2)]], [0, 0, 1, 1], [1, 1, 1], [a_scope([3, 2, 1])])
    return problem, solve(problem)


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (lambda s: replace(s, option_of=s.option_of[:-1]), "rows for"),
        (lambda s: replace(s, option_of=np.full(4, 9)), "does not exist"),
        (lambda s: replace(s, option_of=np.array([1, -1, 1, 3]), turn_order=np.array([0, 2, 3])), "another class"),
        (lambda s: replace(s, option_of=np.array([0, 0, 3, -1]), turn_order=np.array([0, 1, 2])), "carries 2"),
        (lambda s: replace(s, turn_order=s.turn_order[:-1]), "order of turns"),
        (lambda s: replace(s, levels=(replace(s.levels[0], value=9), *s.levels[1:])), "is given as 9"),
        (lambda s: replace(s, levels=s.levels[:-1]), "levels are given"),
        (lambda s: replace(s, proof=()), "without"),
        (lambda s: replace(s, proof=tuple(replace(p, potential=p.potential * 0) for p in s.proof)), "not optimal|optimal face"),
    ],
)
def test_the_check_finds_planted_faults(break_it, fault: str) -> None:  # type: ignore[no-untyped-def]
    problem, solution = a_solved_problem()
    check(problem, solution)
    with pytest.raises(CheckFailed, match=fault):
        check(problem, break_it(solution))


def test_a_worse_plan_does_not_pass_with_the_proof_of_a_better_one() -> None:
    problem, solution = a_solved_problem()
    worse = replace(solution, option_of=np.full(4, -1), turn_order=np.zeros(0, dtype=np.int64))
    with pytest.raises(CheckFailed):
        check(problem, worse)


def test_a_limit_goes_with_feasible_only() -> None:
    with pytest.raises(ValueError, match="FEASIBLE only"):
        Termination(Reason.OPTIMAL, Limit.TIME)


def test_twenty_thousand_records_are_solved_and_proven() -> None:
    chance = np.random.default_rng(7)
    kinds, sellers = 400, 300
    classes = [[Option(int(s), int(s) % 3, int(s) % 2) for s in np.sort(chance.choice(sellers, 30, replace=False))] for _ in range(kinds)]
    problem = a_problem(
        classes,
        chance.integers(0, kinds, 20_000).tolist(),
        chance.integers(40, 70, sellers).tolist(),
        [a_scope(chance.integers(0, 99, sellers).tolist())],
        age=chance.integers(0, 5_000, 20_000).tolist(),
    )
    solution = solve(problem)
    check(problem, solution)
    assert solution.termination.reason is Reason.OPTIMAL
