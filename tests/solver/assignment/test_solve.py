"""Solving against brute force over all plans, against the sequential rules, and at its edges."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import Contacts, Limit, Policy, Problem, Reason, Shares, Solution, Termination, check, solve
from support.cases import cases
from support.problems import ORDERED, Option, a_problem, a_scope, chairmen, hand_out, level_vectors, permuted, plans, problems


def sellers_in_turn(problem: Problem, solution: Solution) -> list[int]:
    return problem.option_seller[solution.option_of[solution.turn_order]].tolist()


def assert_best_of_all(problem: Problem) -> None:
    solution = solve(problem)
    check(problem, solution)
    vector = level_vectors(problem)
    found, best = vector(solution.option_of.tolist()), min(map(vector, plans(problem)))
    if solution.termination.reason is Reason.OPTIMAL:
        assert found == best
    else:
        assert found[:2] == best[:2]


@settings(max_examples=cases(250), deadline=None)
@given(problem=problems())
def test_plan_is_the_best_of_all_with_one_scope(problem: Problem) -> None:
    assert_best_of_all(problem)


@settings(max_examples=cases(200), deadline=None)
@given(problem=problems(scopes=3, nested=False))
def test_plan_is_the_best_of_all_with_several_scopes(problem: Problem) -> None:
    assert_best_of_all(problem)


@settings(max_examples=cases(150), deadline=None)
@given(problem=problems(scopes=2))
def test_plan_is_the_best_of_all_where_scopes_and_maxima_meet(problem: Problem) -> None:
    assert_best_of_all(problem)


@settings(max_examples=cases(100), deadline=None)
@given(problem=problems(nested=False), data=st.data())
def test_large_costs_are_kept_apart_exactly(problem: Problem, data: st.DataObject) -> None:
    fits = data.draw(st.lists(st.integers(0, 2**40), min_size=problem.options, max_size=problem.options))
    assert_best_of_all(replace(problem, option_fit=np.array(fits, dtype=np.int64)))


@settings(max_examples=cases(200), deadline=None)
@given(
    policy=st.sampled_from(ORDERED),
    sellers=st.lists(
        st.tuples(st.integers(0, 9), st.integers(-2, 8), st.sampled_from([40, 50, 60]), st.integers(1, 9)), min_size=1, max_size=5
    ),
    records=st.integers(0, 20),
)
def test_a_batch_of_one_rule_is_the_sequential_rule(policy: Policy, sellers: list[tuple[int, int, int, int]], records: int) -> None:
    turns, free, priority, weight = (list(column) for column in zip(*sellers, strict=True))
    scope = a_scope(turns, policy, free=free, priority=priority, weight=weight, owned=weight)
    problem = a_problem([[Option(s, cap=-1) for s in range(len(sellers))]], [0] * records, [], [scope])
    solution = solve(problem)
    check(problem, solution)
    assert sellers_in_turn(problem, solution) == hand_out(scope, records)


@settings(max_examples=cases(200), deadline=None)
@given(
    policy=st.sampled_from(ORDERED),
    sellers=st.lists(
        st.tuples(st.integers(0, 9), st.integers(-2, 6), st.sampled_from([40, 50]), st.integers(1, 9)), min_size=1, max_size=5
    ),
    records=st.integers(0, 20),
)
def test_a_batch_with_maxima_passes_over_who_is_full(policy: Policy, sellers: list[tuple[int, int, int, int]], records: int) -> None:
    turns, free, priority, weight = (list(column) for column in zip(*sellers, strict=True))
    scope = a_scope(turns, policy, free=free, priority=priority, weight=weight, owned=weight)
    problem = a_problem([[Option(s, cap=s) for s in range(len(sellers))]], [0] * records, free, [scope])
    solution = solve(problem)
    check(problem, solution)
    assert sellers_in_turn(problem, solution) == hand_out_with_maxima(scope, records)


def hand_out_with_maxima(scope, records: int) -> list[int]:  # type: ignore[no-untyped-def]
    """The sequential rule among those who have room, one record after the other; with shares, whoever is full is passed over."""
    if isinstance(scope.standing, Shares):
        room, served = np.maximum(scope.free, 0).tolist(), []
        for chosen in chairmen(scope):
            if len(served) == min(records, int(np.maximum(scope.free, 0).sum())):
                return served
            if room[chosen]:
                room[chosen] -= 1
                served.append(chosen)
    free, turn = scope.free.tolist(), scope.turn.tolist()
    before = scope.standing.owned.tolist() if isinstance(scope.standing, Contacts) else [0] * len(turn)
    clock, given_to = 100, []
    for _ in range(records):
        able = [i for i in range(len(free)) if free[i] > 0]
        if not able:
            break
        level = {i: -free[i] if scope.policy is Policy.LOAD_BALANCING else before[i] for i in able}
        chosen = min(able, key=lambda i, level=level: (level[i], -int(scope.priority[i]), turn[i], i))
        free[chosen], turn[chosen], clock = free[chosen] - 1, clock, clock + 1
        before[chosen] += scope.policy is Policy.EARLIEST_FIRST_CONTACT
        given_to.append(chosen)
    return given_to


@settings(max_examples=cases(100), deadline=None)
@given(problem=problems(scopes=2), data=st.data())
def test_the_order_of_the_records_does_not_matter(problem: Problem, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(problem.records)))
    plain, shuffled = solve(problem), solve(permuted(problem, order))
    assert [int(plain.option_of[i]) for i in order] == shuffled.option_of.tolist()
    assert plain.turn_order.tolist() == [order[i] for i in shuffled.turn_order.tolist()]


@settings(max_examples=cases(60), deadline=None)
@given(problem=problems(scopes=2))
def test_one_more_seller_never_covers_less(problem: Problem) -> None:
    vector = level_vectors(problem)
    before = vector(solve(problem).option_of.tolist())[0]
    roomier = replace(problem, cap_free=problem.cap_free + 1)
    assert level_vectors(roomier)(solve(roomier).option_of.tolist())[0] <= before


def test_older_records_of_a_class_get_the_cheaper_units() -> None:
    problem = a_problem([[Option(0, bucket=2), Option(1)]], [0, 0], [1, 1], [a_scope([0, 0])], age=[9, 3])
    assert problem.option_seller[solve(problem).option_of].tolist() == [0, 1]


def test_efforts_are_respected_and_said_to_be_unproven() -> None:
    problem = a_problem([[Option(0), Option(1)], [Option(0), Option(1)]], [0, 1, 1], [3, 2], [a_scope([0, 0])], effort=[3, 2])
    solution = solve(problem)
    check(problem, solution)
    assert solution.assigned.tolist() == [True, True, False]
    assert solution.termination == Termination(Reason.FEASIBLE, Limit.METHOD)


@settings(max_examples=cases(100), deadline=None)
@given(problem=problems(scopes=2), data=st.data())
def test_any_efforts_give_an_allowed_plan(problem: Problem, data: st.DataObject) -> None:
    efforts = data.draw(st.lists(st.integers(0, 3), min_size=problem.classes, max_size=problem.classes))
    uneven = replace(problem, effort=np.array(efforts, dtype=np.int64))
    check(uneven, solve(uneven))


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


@pytest.mark.parametrize(
    ("classes", "free"), [([], []), ([[]], []), ([[]], [3]), ([], [1])], ids=["nothing", "no sellers", "no options", "no records"]
)
def test_empty_problems_have_empty_plans(classes: list[list[Option]], free: list[int]) -> None:
    problem = a_problem(classes, [0] * len(classes), free)
    solution = solve(problem)
    check(problem, solution)
    assert not solution.assigned.any()
    assert solution.termination.reason is Reason.OPTIMAL


@pytest.mark.parametrize("cap", [None, -1], ids=["with maxima", "past all maxima"])
def test_out_of_time_the_sequential_rule_gives_the_plan(cap: int | None) -> None:
    problem = a_problem([[Option(s, cap=cap) for s in range(2)]], [0] * 3, [2, 2], [a_scope([5, 3])])
    solution = solve(problem, sequential=True)
    check(problem, solution)
    assert solution.termination == Termination(Reason.FEASIBLE, Limit.TIME)
    assert sellers_in_turn(problem, solution) == [1, 0, 1]


@settings(max_examples=cases(60), deadline=None)
@given(problem=problems(scopes=2))
def test_plans_are_told_as_they_get_better(problem: Problem) -> None:
    told: list[Solution] = []
    final, vector = solve(problem, on_incumbent=told.append), level_vectors(problem)
    assert told
    for solution in told:
        check(problem, solution)
        assert solution.termination == Termination(Reason.FEASIBLE, Limit.TIME)
        assert vector(solution.option_of.tolist())[:2] >= vector(final.option_of.tolist())[:2]


def test_each_stage_tells_a_plan_with_what_it_has_proven() -> None:
    """Fits so large that the levels are solved one after the other."""
    problem = a_problem([[Option(0, fit=2**40), Option(1, fit=2**39)]], list([0] * 5000), [2000, 2000], [a_scope([0, 1])])
    told: list[Solution] = []
    final = solve(problem, on_incumbent=told.append)
    assert final.termination.reason is Reason.OPTIMAL
    assert len(final.proof) == len(told) > 1
    assert [len(solution.proof) for solution in told] == list(range(len(told)))


def test_twenty_thousand_records_are_solved_and_proven() -> None:
    chance = np.random.default_rng(7)
    kinds, sellers = 2_000, 500
    classes = [[Option(int(s), int(s) % 3, int(s) % 2) for s in np.sort(chance.choice(sellers, 50, replace=False))] for _ in range(kinds)]
    problem = a_problem(
        classes,
        chance.integers(0, kinds, 20_000).tolist(),
        chance.integers(30, 50, sellers).tolist(),
        [a_scope(chance.integers(0, 99, sellers).tolist())],
        age=chance.integers(0, 5_000, 20_000).tolist(),
    )
    solution = solve(problem)
    check(problem, solution)
    assert solution.termination.reason is Reason.OPTIMAL
