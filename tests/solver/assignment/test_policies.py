"""Each policy on one rule is its sequential rule, in batches of any size, and even policies stay even."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from reallot.solver.assignment import Contacts, Policy, Problem, Scope, Shares, check, solve
from support.problems import ORDERED, Option, a_problem, a_scope, hand_out

SELLERS = 7


def a_team(policy: Policy, chance: np.random.Generator) -> Scope:
    return a_scope(
        chance.permutation(SELLERS).tolist(),
        policy,
        free=chance.integers(-3, 400, SELLERS).tolist(),
        priority=chance.choice([40, 50], SELLERS).tolist(),
        weight=chance.integers(1, 40, SELLERS).tolist(),
        owned=chance.integers(0, 30, SELLERS).tolist(),
    )


def batch_of(scope: Scope, records: int) -> Problem:
    return a_problem([[Option(s, cap=-1) for s in range(SELLERS)]], [0] * records, [], [scope])


def served(problem: Problem) -> list[int]:
    solution = solve(problem)
    check(problem, solution)
    return problem.option_seller[solution.option_of[solution.turn_order]].tolist()


def after(scope: Scope, sellers: list[int], clock: int) -> Scope:
    """How the sellers stand once a batch was given."""
    counts, turn = np.bincount(sellers, minlength=SELLERS), scope.turn.copy()
    turn[sellers] = clock + np.arange(len(sellers))
    standing = scope.standing
    if isinstance(standing, Shares):
        standing = replace(standing, given=standing.given + counts)
    elif isinstance(standing, Contacts):
        standing = replace(standing, owned=standing.owned + counts)
    return replace(scope, turn=turn, free=scope.free - counts, standing=standing)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("policy", ORDERED)
def test_a_batch_of_a_thousand_is_the_sequence(policy: Policy, seed: int) -> None:
    scope = a_team(policy, np.random.default_rng(seed))
    assert served(batch_of(scope, 1_000)) == hand_out(scope, 1_000)


@pytest.mark.parametrize("policy", ORDERED)
def test_batches_of_any_size_go_on_with_the_sequence(policy: Policy) -> None:
    chance = np.random.default_rng(11)
    scope = a_team(policy, chance)
    expected, found, start = hand_out(scope, 600), list[int](), scope
    while len(found) < 600:
        batch = served(batch_of(start, min(int(chance.integers(1, 120)), 600 - len(found))))
        start, found = after(start, batch, 1_000 + len(found)), found + batch
    assert found == expected


EVEN: dict[str, Callable[[], Scope]] = {
    "round robin": lambda: a_scope([0] * SELLERS),
    "load balancing": lambda: a_scope([0] * SELLERS, Policy.LOAD_BALANCING, free=[5_000] * SELLERS),
    "equal shares": lambda: a_scope([0] * SELLERS, Policy.WEIGHTED_SHARES, weight=[3] * SELLERS),
    "first contact": lambda: a_scope([0] * SELLERS, Policy.EARLIEST_FIRST_CONTACT),
}


@pytest.mark.parametrize("name", EVEN)
def test_ten_thousand_arrivals_in_batches_of_any_size_are_spread_evenly(name: str) -> None:
    chance, scope, counts, done = np.random.default_rng(5), EVEN[name](), np.zeros(SELLERS, dtype=np.int64), 0
    while done < 10_000:
        batch = served(batch_of(scope, min(int(chance.choice([1, 2, 7, 100, 900])), 10_000 - done)))
        scope, counts, done = after(scope, batch, 1 + done), counts + np.bincount(batch, minlength=SELLERS), done + len(batch)
        assert counts.max() - counts.min() <= 1
