"""Fair plans against every possible plan: how even, how large the smallest value, and what that costs."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reallot.solver.problems import Fairness, InvalidProblem, Problem, Reason, Sense, Solution, problem_of, solve, violations
from support.cases import cases
from support.own_problems import plan_values, problems

QUICK = settings(max_examples=cases(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])


def fairness_of(problem: Problem, chosen: tuple[int, ...], fairness: Fairness) -> tuple[int, ...]:
    """Return how fair a plan is, larger is fairer: all loads from the smallest on, or the smallest value of a seller."""
    own = [[pair for pair in chosen if problem.seller[pair] == seller] for seller in range(problem.sellers)]
    if fairness is Fairness.EVEN_LOAD:
        return tuple(sorted(int(problem.load[pairs].sum()) for pairs in own))
    sign = 1 if problem.sense is Sense.MAXIMISE else -1
    return (min(sign * int(problem.value[[p for p in pairs if problem.level[p] == 0]].sum()) for pairs in own),)


def fairest_of_all(problem: Problem, fairness: Fairness) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    subsets = itertools.chain.from_iterable(itertools.combinations(range(problem.pairs), k) for k in range(problem.pairs + 1))
    sign = 1 if problem.sense is Sense.MAXIMISE else -1
    worth = [
        (fairness_of(problem, subset, fairness), tuple(sign * value for value in found))
        for subset in subsets
        if (found := plan_values(problem, subset)) is not None
    ]
    return max(worth) if worth else None


@QUICK
@given(
    problem=st.one_of(problems(), problems(unit=True), problems(levels=2)),
    fairness=st.sampled_from([Fairness.EVEN_LOAD, Fairness.MAXIMIN_VALUE]),
)
def test_the_fairest_plan_is_the_fairest_of_all_and_the_best_of_those(problem: Problem, fairness: Fairness) -> None:
    expected = fairest_of_all(problem, fairness)
    solution = solve(problem, time_limit_s=60, fairness=fairness)
    if expected is None:
        assert solution.termination.reason is Reason.INFEASIBLE
        assert solution.fairness is None
        return
    assert solution.termination.reason is Reason.OPTIMAL
    assert not violations(problem, solution.chosen)
    chosen, sign = tuple(solution.chosen.tolist()), 1 if problem.sense is Sense.MAXIMISE else -1
    assert (fairness_of(problem, chosen, fairness), tuple(sign * level.value for level in solution.levels)) == expected
    assert all(level.value == level.bound for level in solution.levels)
    report = solution.fairness
    assert report is not None
    first = expected[0][0]
    assert report.measure == report.bound == (first if fairness is Fairness.EVEN_LOAD else sign * first)
    assert (int(report.loads.sum()), int(report.values.sum())) == (
        int(problem.load[solution.chosen].sum()),
        int(problem.value[solution.chosen][problem.level[solution.chosen] == 0].sum()),
    )


def a_team() -> Problem:
    """Three sellers of whom the first is the best at everything."""
    records = 9
    return problem_of(
        records=records,
        sellers=3,
        record=np.repeat(np.arange(records), 3),
        seller=np.tile(np.arange(3), records),
        value=[value for record in range(records) for value in (10 + record, 6, 5)],
        sense=Sense.MAXIMISE,
    )


@pytest.mark.parametrize("fairness", [Fairness.EVEN_LOAD, Fairness.MAXIMIN_VALUE])
def test_what_fairness_costs_is_told_step_by_step(fairness: Fairness) -> None:
    solution = solve(a_team(), fairness=fairness, price_steps=3)
    report = solution.fairness
    assert report is not None
    floors, values = [step.floor for step in report.price], [step.value for step in report.price]
    assert report.price[0].measure == 0
    assert report.price[0].value == sum(10 + record for record in range(9))
    assert floors == sorted(floors)
    assert values == sorted(values, reverse=True)
    assert all(step.measure >= step.floor and step.value == step.bound for step in report.price)
    assert (report.price[-1].measure, report.measure) == (report.measure, report.bound)
    if fairness is Fairness.EVEN_LOAD:
        assert report.loads.tolist() == [3, 3, 3]
        assert (report.measure, solution.levels[0].value) == (3, 16 + 17 + 18 + 3 * 6 + 3 * 5)


def test_loads_too_large_to_be_evened_are_refused() -> None:
    problem = problem_of(records=2**10, sellers=2**11, record=np.arange(2**10), seller=np.zeros(2**10), load=np.full(2**10, 2**40))
    with pytest.raises(InvalidProblem, match=r"pairs\.load"):
        solve(problem, fairness=Fairness.EVEN_LOAD)


def test_out_of_time_the_plan_without_fairness_comes_with_how_fair_it_is() -> None:
    value = np.random.default_rng(3).integers(1, 99, 4_000)
    problem = problem_of(records=400, sellers=10, record=np.repeat(np.arange(400), 10), seller=np.tile(np.arange(10), 400), value=value)
    solution: Solution = solve(problem, time_limit_s=0.01, fairness=Fairness.EVEN_LOAD)
    assert solution.has_plan
    assert not violations(problem, solution.chosen)
    report: Any = solution.fairness
    assert report.bound >= report.measure == report.loads.min()
