"""Weighted shares: nobody is ever a whole record off, whatever the sizes of the batches."""

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import InvalidProblem, Policy, Problem, Scope, Shares, check, solve
from reallot.solver.assignment.positions import order_of
from support.cases import cases
from support.problems import SCALE, Option, a_problem, a_scope, chairmen

WEIGHTS = st.lists(st.integers(1, 100), min_size=1, max_size=12)


def shares_of(weight: list[int], given: list[int] | None = None) -> Scope:
    return a_scope([0] * len(weight), Policy.WEIGHTED_SHARES, weight=weight, given=given)


def one_class(scope: Scope, records: int) -> Problem:
    return a_problem([[Option(s, cap=-1) for s in range(len(scope.seller))]], [0] * records, [], [scope])


def in_turn(scope: Scope, records: int) -> list[int]:
    problem = one_class(scope, records)
    solution = solve(problem)
    check(problem, solution)
    return problem.option_seller[solution.option_of[solution.turn_order]].tolist()


def after(scope: Scope, served: list[int]) -> Scope:
    assert isinstance(scope.standing, Shares)
    given = scope.standing.given + np.bincount(served, minlength=len(scope.seller))
    return replace(scope, standing=replace(scope.standing, given=given))


@settings(max_examples=cases(60), deadline=None)
@given(weight=WEIGHTS, sizes=st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_shares_hold_at_every_prefix_in_batches_of_any_size(weight: list[int], sizes: list[int]) -> None:
    scope, served, total = shares_of(weight), [], sum(weight)
    for size in sizes:
        batch = in_turn(scope, size)
        scope, served = after(scope, batch), served + batch
    assert served == list(islice(chairmen(shares_of(weight)), len(served)))
    counts: Counter[int] = Counter()
    most = 1 - Fraction(1, max(2 * len(weight) - 2, 2))
    for number, seller in enumerate(served, start=1):
        counts[seller] += 1
        assert max(abs(Fraction(number * w, total) - counts[i]) for i, w in enumerate(weight)) <= (most if len(weight) > 1 else 0)


def test_ninety_and_ten_of_one_are_never_a_record_off() -> None:
    """Divisor rules would be 4.5 records off."""
    weight, counts = [90, *[1] * 10], Counter[int]()
    for number, seller in enumerate(in_turn(shares_of(weight), 1000), start=1):
        counts[seller] += 1
        assert max(abs(Fraction(number * w, 100) - counts[i]) for i, w in enumerate(weight)) < 1
    assert [counts[i] for i in range(11)] == [900, *[10] * 10]


def test_two_thirds_of_five_are_three() -> None:
    """F3."""
    assert in_turn(shares_of([1, 2]), 5) == [1, 0, 1, 1, 0]


@settings(max_examples=cases(60), deadline=None)
@given(weight=WEIGHTS, carried=st.lists(st.integers(-3, 3), min_size=12, max_size=12), records=st.integers(1, 200))
def test_nobody_gets_more_than_a_share_and_what_was_lacking(weight: list[int], carried: list[int], records: int) -> None:
    """However the others stand, whoever begins beside them gets at most the share and one."""
    brought = [c * SCALE // 4 for c in carried[: len(weight)]]
    scope = a_scope(
        [0] * (len(weight) + 1), Policy.WEIGHTED_SHARES, weight=[*weight, 5], carried=[*brought, 5 * sum(brought) // sum(weight)]
    )
    served = Counter(in_turn(scope, records))
    assert served[len(weight)] <= records * 5 / (sum(weight) + 5) + 1


def test_units_far_beyond_those_laid_out_still_cost_more_and_more() -> None:
    scope = a_scope([0, 0, 0], Policy.WEIGHTED_SHARES, weight=[1000, 1000, 1])
    order = order_of(scope, 2_000)
    unit = np.arange(2_000)
    for place in range(3):
        assert (np.diff(order.costs(np.full(2_000, place), unit)) >= 0).all()
    # The others are full, so the one with the small weight takes everything.
    problem = a_problem([[Option(s) for s in range(3)]], [0] * 2_000, [5, 5, 2_000], [scope])
    solution = solve(problem)
    check(problem, solution)
    assert np.bincount(problem.option_seller[solution.option_of]).tolist() == [5, 5, 1_990]


@pytest.mark.parametrize(
    "shares",
    [
        None,
        Shares(np.array([1]), np.array([0]), np.array([0]), SCALE),
        Shares(np.array([1, 0]), np.array([0, 0]), np.array([0, 0]), SCALE),
        Shares(np.array([1, 1]), np.array([0, -1]), np.array([0, 0]), SCALE),
        Shares(np.array([1, 1]), np.array([0, 0]), np.array([0, 0]), 0),
    ],
    ids=["none", "too short", "no weight", "less than nothing", "no scale"],
)
def test_shares_that_make_no_sense_are_refused(shares: Shares | None) -> None:
    with pytest.raises(InvalidProblem, match="scope rr"):
        replace(a_scope([0, 0]), policy=Policy.WEIGHTED_SHARES, standing=shares)
