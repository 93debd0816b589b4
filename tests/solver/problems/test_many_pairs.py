"""Records with many pairs, of which few are looked at first: the same values as when all are."""

import numpy as np
import pytest

from reallot.solver.problems import Problem, Reason, problem_of, solve, transport


def everybody_with_everybody(records: int, sellers: int, value: np.ndarray, **more: object) -> Problem:
    pairs = {"record": np.repeat(np.arange(records), sellers), "seller": np.tile(np.arange(sellers), records), "value": value.ravel()}
    return problem_of(records=records, sellers=sellers, **pairs, **more)


def instances() -> list[Problem]:
    chance = np.random.default_rng(4)
    made, size = [], 140
    costs = chance.integers(1, 1_000, (size, size))
    one = np.ones(size, dtype=np.int64)
    made.append(everybody_with_everybody(size, size, costs, maximum_load=one))
    # Everybody's cheapest are the same few, so that these alone are too few for all.
    crowded = costs + 5_000 * (np.arange(size) >= 20)
    made.append(everybody_with_everybody(size, size, crowded, maximum_load=one))
    # Two levels, of which the second decides among what is equal at the first; several sellers for some; minima; some may stay out.
    level = chance.integers(0, 2, size * 160)
    few = chance.integers(1, 4, (size, 160))
    made.append(
        everybody_with_everybody(
            size,
            160,
            few,
            level=level,
            demand=chance.integers(1, 3, size),
            minimum_load=chance.integers(0, 2, 160),
            maximum_load=np.full(160, 2),
        )
    )
    optional = chance.random(size) < 0.5
    made.append(everybody_with_everybody(size, size, costs, maximum_load=one, optional=optional, skip_cost=chance.integers(1, 20, size)))
    made.append(everybody_with_everybody(size, 130, costs[:, :130], maximum_load=np.ones(130, dtype=np.int64)))
    return made


def test_looking_at_few_pairs_first_finds_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [solve(problem) for problem in instances()]
    monkeypatch.setattr(transport, "MANY_PAIRS", 10**9)
    for problem, solution in zip(instances(), found, strict=True):
        whole = solve(problem)
        assert (solution.termination, solution.levels) == (whole.termination, whole.levels)
    assert [solution.termination.reason for solution in found] == [*[Reason.OPTIMAL] * 4, Reason.INFEASIBLE]
