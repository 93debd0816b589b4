"""The frontier of owner changes against value, against all plans by brute force."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reallot.solver.assignment import Policy, Problem, check, solve
from reallot.solver.assignment.answers import frontier, owned, within
from reallot.solver.assignment.network import build_network
from reallot.solver.assignment.values import level_values
from support.cases import cases
from support.problems import Option, a_problem, a_scope, plans, problems


@settings(max_examples=cases(40), deadline=None)
@given(problem=problems(nested=False), data=st.data())
def test_no_plan_with_as_few_changes_is_better_at_its_price(problem: Problem, data: st.DataObject) -> None:
    owner = np.array([data.draw(st.integers(0, 3)) for _ in range(problem.records)], dtype=np.int64)
    case = owned(problem, owner)
    points, network = frontier(case), build_network(case.problem)
    for point in points:
        check(case.problem, point.solution())
    changes, values = [p.changes for p in points], [p.values for p in points]
    assert changes == sorted(set(changes))
    assert values == sorted(set(values), reverse=True)
    every = []
    for plan in plans(case.problem):
        option_of = np.array(plan, dtype=np.int64)
        worth = tuple(level.value for level in level_values(case.problem, network, option_of, proven=frozenset()))
        every.append((worth, int(case.changes[option_of[option_of >= 0]].sum())))
    # The first is the best without a change, the last the best of all, with the fewest changes.
    assert (values[0], changes[0]) == min((worth, n) for worth, n in every if n == 0)
    best = solve(case.problem)
    assert values[-1] == tuple(level.value for level in best.levels)
    assert changes[-1] == min(n for worth, n in every if worth == values[-1])
    for point in points:
        assert not any(worth < point.values and n < point.changes for worth, n in every)


def test_loads_are_evened_out_step_by_step() -> None:
    """One has six, another none: three changes even it out, and each of them is worth less than the one before."""
    problem = a_problem([[Option(0), Option(1)]], [0] * 6, [9, 9], [a_scope([1, 2], Policy.LOAD_BALANCING, free=[9, 9])])
    points = frontier(owned(problem, np.zeros(6, dtype=np.int64)))
    assert [point.changes for point in points] == [0, 1, 2, 3]
    gains = -np.diff([point.values[-1] for point in points])
    assert (np.diff(gains) < 0).all()
    assert within(points, 2).changes == 2
    assert within(points, None).changes == 3


def test_who_is_above_a_maximum_keeps_everything_and_gets_nothing() -> None:
    problem = a_problem([[Option(0, 1, scope=-1), Option(1, 0, scope=-1)]], [0] * 4, [1, 2], [])
    points = frontier(owned(problem, np.array([0, 0, 0, 1])))
    assert (points[0].changes, points[0].values) == (0, (0, 3, 0, 0))
    assert (points[-1].changes, points[-1].values) == (1, (0, 2, 0, 0))
