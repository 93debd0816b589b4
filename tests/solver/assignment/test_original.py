"""The numbers of the original's documentation, as pure problems."""

import numpy as np

from reallot.solver.assignment import Policy, Problem, solve
from support.problems import Option, a_problem, a_scope


def sellers_of(problem: Problem) -> list[int]:
    """Sellers in the order of their turns."""
    solution = solve(problem)
    return problem.option_seller[solution.option_of[solution.turn_order]].tolist()


def test_round_robin_serves_who_was_served_longest_ago() -> None:
    """D1: Miriam 10:02, Sanjay 10:31, Susana 11:17; three rules over the same sellers share one order."""
    problem = a_problem([[Option(s, cap=-1) for s in range(3)]], [0, 0, 0, 0], [], [a_scope([1, 2, 3])])
    assert sellers_of(problem) == [0, 1, 2, 0]


def test_a_turn_by_hand_moves_a_seller_to_the_end() -> None:
    """D1: after L1 went to Miriam and an opportunity to Susana, with rules for opportunities too."""
    problem = a_problem([[Option(s, cap=-1) for s in range(3)]], [0, 0, 0], [], [a_scope([4, 2, 5])])
    assert sellers_of(problem) == [1, 0, 2]


def test_full_sellers_get_nothing() -> None:
    """D2: Sanjay 2:37 free 0, Susana 2:57 free 4, David 3:02 free 1, Miriam 2:35 free -2."""
    problem = a_problem([[Option(s, cap=s) for s in range(4)]], [0], [0, 4, 1, -2], [a_scope([2, 3, 4, 1])])
    assert sellers_of(problem) == [1]


def test_nobody_gets_anything_where_all_are_full() -> None:
    """D2: with all four at or below 0."""
    problem = a_problem([[Option(s, cap=s) for s in range(4)]], [0], [0, -4, 0, -2], [a_scope([2, 3, 4, 1])])
    assert sellers_of(problem) == []


def a_team_that_is_away(leads: int, *, free: list[int], capped: bool) -> Problem:
    """D3: Burt 1D last 2:37, Maya 1D last 2:15, Vivek 0D, Maria 2D, Sal 0D; who is there balances, who is not takes turns."""
    turns, buckets = [2, 1, 3, 4, 5], [1, 1, 0, 2, 0]
    scopes = [a_scope(turns, Policy.LOAD_BALANCING, free=free, name="load"), a_scope(turns)]
    options = [Option(s, bucket=b, scope=int(b > 0), cap=s if capped else -1) for s, b in enumerate(buckets)]
    return a_problem([options], [0] * leads, free, scopes)


def test_round_robin_replaces_load_balancing_where_nobody_is_there() -> None:
    """D3: Vivek is over his maximum and Sal full, so Maya, Burt, Maya."""
    assert sellers_of(a_team_that_is_away(3, free=[14, 20, -1, 10, 0], capped=True)) == [1, 0, 1]


def test_who_is_there_with_most_room_comes_first_without_the_capacity_option() -> None:
    """D3: with the option off, Vivek 5 and Sal 2."""
    assert sellers_of(a_team_that_is_away(1, free=[14, 20, 5, 10, 2], capped=False)) == [2]


def test_the_switch_comes_at_the_unit_where_nobody_there_has_room() -> None:
    """D3: Vivek has room for one more and Sal for none; the second lead goes to a seller who is away."""
    assert sellers_of(a_team_that_is_away(3, free=[14, 20, 1, 10, 0], capped=True)) == [2, 1, 0]


def test_round_robin_goes_on_where_it_stopped() -> None:
    """F1: u1, u2, u3, and then u1; one who has left meanwhile is passed over."""
    problem = a_problem([[Option(s, cap=-1) for s in range(3)]], [0] * 4, [], [a_scope([0, 0, 0])])
    assert sellers_of(problem) == [0, 1, 2, 0]
    without_first = a_problem([[Option(1, cap=-1), Option(2, cap=-1)]], [0], [], [a_scope([1, 2, 3])])
    assert sellers_of(without_first) == [1]


def test_load_balancing_evens_out_and_closes_gaps() -> None:
    """F2: 30 records over three sellers, then 5 closed of one and 5 more."""
    balancing = a_scope([0, 0, 0], Policy.LOAD_BALANCING, free=[100, 100, 100])
    problem = a_problem([[Option(s, cap=s) for s in range(3)]], [0] * 30, [100] * 3, [balancing])
    assert np.bincount(sellers_of(problem)).tolist() == [10, 10, 10]
    later = a_scope([1, 2, 3], Policy.LOAD_BALANCING, free=[90, 95, 90])
    more = a_problem([[Option(s, cap=s) for s in range(3)]], [0] * 5, [90, 95, 90], [later])
    assert sellers_of(more) == [1] * 5


def test_never_served_comes_first() -> None:
    """L1."""
    assert sellers_of(a_problem([[Option(0), Option(1), Option(2)]], [0], [9, 9, 9], [a_scope([4, 2, 0])])) == [2]
    assert sellers_of(a_problem([[Option(0), Option(1)]], [0], [9, 9], [a_scope([4, 2])])) == [1]


def test_the_highest_priority_comes_first_then_longest_ago() -> None:
    """L2."""
    scope = a_scope([1, 5, 3], priority=[50, 80, 80])
    assert sellers_of(a_problem([[Option(s) for s in range(3)]], [0], [9, 9, 9], [scope])) == [2]


def test_urgent_records_are_covered_first_then_older_ones() -> None:
    problem = a_problem([[Option(0)]], [0] * 4, [2], [a_scope([0])], priority=[50, 80, 50, 20], age=[5, 9, 3, 1])
    assert solve(problem).assigned.tolist() == [False, True, True, False]
