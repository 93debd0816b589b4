"""Plans do not change by themselves: whoever changes what a problem's plan is raises the version, so that replays can tell."""

import hashlib
from dataclasses import replace

import numpy as np

from reallot.solver.assignment import Holdings, Policy, Problem, Scope, solve
from reallot.solver.assignment.answers import frontier, owned
from reallot.solver.assignment.solve import MODELS, SOLVER_VERSION
from support.problems import ORDERED, Option, a_problem, a_scope

GOLDEN = {1: "55e7b057f505698b67a896bd64e905afa67b5ec93027e6b384b2431be08a52b5"}
"""Hash over all plans of these problems, by the version of the models."""


def an_office(seed: int, records: int = 60, *, even: bool = False) -> Problem:
    """Return a problem with more records than room, several rules, all policies, and maxima within maxima."""
    chance = np.random.default_rng(seed)
    sellers = 6
    scopes: list[Scope] = [
        a_scope(
            chance.integers(0, 50, sellers).tolist(),
            policy,
            free=chance.integers(0, 9, sellers).tolist(),
            weight=chance.integers(1, 5, sellers).tolist(),
            owned=chance.integers(0, 5, sellers).tolist(),
            name=f"{number} {policy}",
        )
        for number, policy in enumerate(ORDERED)
    ]
    if even:
        held = Holdings(chance.integers(0, 90, sellers))
        scopes = [replace(scopes[0], policy=Policy.EVEN_VALUE, standing=held), *scopes[1:]]
    kinds = [
        [
            Option(
                int(seller),
                rank,
                int(chance.integers(0, 3)),
                int(chance.integers(0, 9)),
                rank % len(scopes),
                int(seller) + sellers * (rank == 0),
            )
            for rank, seller in enumerate(chance.permutation(sellers)[: int(chance.integers(1, sellers))])
        ]
        for _ in range(8)
    ]
    return a_problem(
        kinds,
        chance.integers(0, len(kinds), records).tolist(),
        [*chance.integers(2, 12, sellers).tolist(), *chance.integers(1, 6, sellers).tolist()],
        scopes,
        parent=[-1] * sellers + list(range(sellers)),
        priority=chance.choice([40, 50], records).tolist(),
        age=chance.integers(0, 20, records).tolist(),
        value=chance.integers(1, 99, records).tolist(),
    )


def made() -> str:
    """Return the hash over the plans and their turns."""
    plain = [an_office(seed) for seed in range(6)]
    chance = np.random.default_rng(9)
    bundled = replace(plain[0], together=chance.integers(-1, 20, plain[0].records))
    weighed = replace(an_office(7, 20), effort=chance.integers(1, 4, 8))
    found = hashlib.sha256()
    for problem in (*plain, an_office(8, 25, even=True), bundled, weighed):
        for sequential in (False, True):
            solution = solve(problem, sequential=sequential)
            found.update(solution.option_of.astype("<i8").tobytes() + solution.turn_order.astype("<i8").tobytes())
    for point in frontier(owned(plain[1], chance.integers(-1, 6, plain[1].records))):
        found.update(point.option_of.astype("<i8").tobytes())
    return found.hexdigest()


def test_plans_change_only_with_the_version() -> None:
    assert f"models {MODELS}" in SOLVER_VERSION
    assert max(GOLDEN) == MODELS
    assert made() == GOLDEN[MODELS], "plans are others than before: raise MODELS, and say here what they are now"
