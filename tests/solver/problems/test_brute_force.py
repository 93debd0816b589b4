"""Small problems against every possible plan, and what there is instead of a plan where there is none."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.solver.problems import Problem, Reason, Sense, problem_of, solve, violations
from reallot.solver.problems.problem import LARGEST
from support.cases import cases
from support.own_problems import plan_values, problems

QUICK = settings(max_examples=cases(120), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def best_of_all(problem: Problem) -> tuple[int, ...] | None:
    subsets = itertools.chain.from_iterable(itertools.combinations(range(problem.pairs), k) for k in range(problem.pairs + 1))
    worth = [found for subset in subsets if (found := plan_values(problem, subset)) is not None]
    if not worth:
        return None
    return min(worth) if problem.sense is Sense.MINIMISE else max(worth)


def is_satisfied_without(problem: Problem, records: set[int], sellers: set[int]) -> bool:
    """Tell by trying everything whether some records and sellers can be satisfied when nobody else needs to be; pins stay."""
    free = [pair for pair in range(problem.pairs) if not problem.pinned[pair]]
    pins = [pair for pair in range(problem.pairs) if problem.pinned[pair]]
    for size in range(len(free) + 1):
        for subset in itertools.combinations(free, size):
            chosen = [*pins, *subset]
            counts = np.bincount(problem.record[chosen], minlength=problem.records)
            loads = np.bincount(problem.seller[chosen], weights=problem.load[chosen], minlength=problem.sellers)
            if (
                (counts <= problem.demand).all()
                and all(counts[r] == problem.demand[r] or (problem.optional[r] and not counts[r]) for r in records)
                and all(problem.minimum_load[s] <= loads[s] <= problem.maximum_load[s] for s in sellers)
            ):
                return True
    return False


def check_against_all(problem: Problem) -> None:
    solution = solve(problem, time_limit_s=20)
    expected = best_of_all(problem)
    if expected is None:
        assert solution.termination.reason is Reason.INFEASIBLE
        assert solution.conflict is not None
        assert solution.conflict.text
        return
    assert solution.termination.reason is Reason.OPTIMAL
    assert tuple(level.value for level in solution.levels) == expected
    assert all(level.value == level.bound for level in solution.levels)
    assert plan_values(problem, tuple(solution.chosen.tolist())) == expected


@QUICK
@given(problems(unit=True))
def test_unit_loads_equal_brute_force(problem: Problem) -> None:
    check_against_all(problem)


@QUICK
@given(problems())
def test_loads_by_pair_equal_brute_force(problem: Problem) -> None:
    check_against_all(problem)


@QUICK
@given(problems(unit=True, levels=3))
def test_levels_of_unit_loads_are_strict(problem: Problem) -> None:
    check_against_all(problem)


@settings(QUICK, max_examples=cases(60))
@given(problems(levels=2))
def test_levels_of_loads_by_pair_are_strict(problem: Problem) -> None:
    check_against_all(problem)


@settings(QUICK, max_examples=cases(250))
@given(st.one_of(problems(), problems(unit=True)))
def test_every_member_of_a_conflict_is_needed(problem: Problem) -> None:
    conflict = solve(problem, time_limit_s=20).conflict
    if conflict is None:
        return
    records, sellers = set(conflict.records.tolist()), set(conflict.sellers.tolist())
    if (np.bincount(problem.record[problem.pinned], minlength=problem.records) > problem.demand).any():
        # More pins than the record needs: no plan keeps them, whoever is left out.
        assert len(records) == 1
        return
    pinned_load = np.bincount(problem.seller[problem.pinned], weights=problem.load[problem.pinned], minlength=problem.sellers)
    if (pinned_load > problem.maximum_load).any():
        (seller,) = sellers
        own = problem.pinned & (problem.seller == seller) & np.isin(problem.record, list(records))
        loads = problem.load[own]
        assert loads.sum() > problem.maximum_load[seller] >= loads.sum() - loads.min()
        return
    assert conflict.minimal
    assert not is_satisfied_without(problem, records, sellers)
    for record in records:
        assert is_satisfied_without(problem, records - {record}, sellers)
    for seller in sellers:
        assert is_satisfied_without(problem, records, sellers - {seller})


@QUICK
@given(problems(), st.data())
def test_the_check_finds_what_is_planted(problem: Problem, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, max(problem.pairs - 1, 0)), unique=True, max_size=problem.pairs)) if problem.pairs else []

    assert bool(violations(problem, np.array(chosen, dtype=np.int64))) == (plan_values(problem, tuple(chosen)) is None)


@pytest.mark.parametrize("chosen", [[0, 0], [-1], [2]])
def test_the_check_refuses_pairs_that_stand_twice_or_nowhere(chosen: list[int]) -> None:
    problem = problem_of(records=2, sellers=1, record=[0, 1], seller=[0, 0])

    assert violations(problem, np.array(chosen))


@pytest.mark.parametrize("load", [[], [1, 2, 3, 4]])
@pytest.mark.parametrize("sense", list(Sense))
def test_values_at_their_maxima_do_not_wrap(load: list[int], sense: Sense) -> None:
    problem = problem_of(
        records=2,
        sellers=2,
        record=[0, 0, 1, 1],
        seller=[0, 1, 0, 1],
        value=[LARGEST, -LARGEST, -LARGEST, LARGEST],
        load=load,
        optional=[True, True],
        skip_cost=[LARGEST, LARGEST],
        maximum_load=[2**62, 5],
        sense=sense,
    )

    solution = solve(problem)

    assert solution.levels[0].value == solution.levels[0].bound == (-2 * LARGEST if sense is Sense.MINIMISE else 2 * LARGEST)
