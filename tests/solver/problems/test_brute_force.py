"""Small problems against every possible plan, and what there is instead of a plan where there is none."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.solver.problems import Problem, Reason, Sense, problem_of, solve, violations
from reallot.solver.problems.problem import LARGEST, UNLIMITED

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def problems(draw: st.DrawFn, *, unit: bool = False, levels: int = 1) -> Problem:
    records, sellers = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    listed = [(r, s) for r in range(records) for s in range(sellers) if draw(st.booleans())]
    size = len(listed)

    def column(values: st.SearchStrategy[Any], rows: int) -> list[Any]:
        return draw(st.lists(values, min_size=rows, max_size=rows))

    return problem_of(
        records=records,
        sellers=sellers,
        record=[r for r, _ in listed],
        seller=[s for _, s in listed],
        value=column(st.integers(-5, 9), size),
        load=[] if unit else column(st.integers(0, 4), size),
        level=column(st.integers(0, levels - 1), size),
        pinned=column(st.sampled_from([False] * 6 + [True]), size),
        hint=column(st.booleans(), size),
        demand=column(st.sampled_from([0, 1, 1, 1, 2]), records),
        optional=column(st.sampled_from([False, False, True]), records),
        skip_cost=column(st.integers(-2, 12), records),
        minimum_load=column(st.sampled_from([0, 0, 0, 1, 2]), sellers),
        maximum_load=column(st.sampled_from([1, 2, 3, 5, UNLIMITED]), sellers),
        sense=draw(st.sampled_from(list(Sense))),
    )


def plan_values(problem: Problem, chosen: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return what a plan is worth at every level, None if it breaks a rule: told here once more, in plain Python."""
    loads, given_ = [0] * problem.sellers, [0] * problem.records
    totals = [0] * problem.levels
    for pair in chosen:
        loads[problem.seller[pair]] += int(problem.load[pair])
        given_[problem.record[pair]] += 1
        totals[problem.level[pair]] += int(problem.value[pair])
    for record, count in enumerate(given_):
        if count != problem.demand[record]:
            if not problem.optional[record] or count:
                return None
            totals[0] += int(problem.skip_cost[record]) * (1 if problem.sense is Sense.MINIMISE else -1)
    if any(not problem.minimum_load[s] <= load <= problem.maximum_load[s] for s, load in enumerate(loads)):
        return None
    if any(problem.pinned[pair] and pair not in chosen for pair in range(problem.pairs)):
        return None
    return tuple(totals)


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


@settings(QUICK, max_examples=60)
@given(problems(levels=2))
def test_levels_of_loads_by_pair_are_strict(problem: Problem) -> None:
    check_against_all(problem)


@settings(QUICK, max_examples=250)
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
