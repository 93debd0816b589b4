"""Units laid out in part give what all of them would."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from ortools.graph.python import min_cost_flow

from reallot.solver.assignment import Problem, Reason, check, solve
from support.cases import cases
from support.problems import ORDERED, Option, a_problem, a_scope, position_costs


@st.composite
def uneven_problems(draw: st.DrawFn) -> Problem:
    """Many units, few of which are needed; some classes know one seller only, so that this one takes far more than its share."""
    sellers, records = draw(st.integers(3, 12)), draw(st.integers(20, 80))
    anyone = st.lists(st.integers(0, sellers - 1), min_size=1, max_size=sellers, unique=True).map(sorted)
    chosen = draw(st.lists(anyone, min_size=1, max_size=4))
    chosen.append([draw(st.integers(0, sellers - 1))])
    free = draw(st.lists(st.integers(0, 500), min_size=sellers, max_size=sellers))
    scope = a_scope(draw(st.permutations(range(sellers))), draw(st.sampled_from(ORDERED)), free=free)
    caps = draw(st.sampled_from([-1, None]))
    class_of = draw(st.lists(st.integers(0, len(chosen) - 1), min_size=records, max_size=records))
    return a_problem([[Option(s, cap=caps) for s in kind] for kind in chosen], class_of, [1000] * sellers, [scope])


def cheapest_with_every_unit(problem: Problem) -> int:
    """Sum of positions when every record is covered and every unit of every seller is an arc of its own."""
    solver = min_cost_flow.SimpleMinCostFlow()
    k, n = problem.classes, problem.records
    costs = position_costs(problem.scopes[0], n)
    for kind, (first, last) in enumerate(zip(problem.option_start[:-1].tolist(), problem.option_start[1:].tolist(), strict=True)):
        solver.set_node_supply(kind, int((problem.class_of == kind).sum()))
        for seller in problem.option_seller[first:last].tolist():
            solver.add_arc_with_capacity_and_unit_cost(kind, k + seller, n, 0)
    sink = k + len(costs)
    for seller, own in enumerate(costs):
        for cost in own:
            solver.add_arc_with_capacity_and_unit_cost(k + seller, sink, 1, cost)
    solver.set_node_supply(sink, -n)
    assert solver.solve() == solver.OPTIMAL
    return int(solver.optimal_cost())


@settings(max_examples=cases(80), deadline=None)
@given(problem=uneven_problems())
def test_a_policy_is_as_cheap_as_with_every_unit_laid_out(problem: Problem) -> None:
    solution = solve(problem)
    check(problem, solution)
    assert solution.termination.reason is Reason.OPTIMAL
    assert solution.levels[-1].value == cheapest_with_every_unit(problem)


def test_a_hundred_thousand_records_without_maxima_need_no_more_units_than_records() -> None:
    """Every seller could take every record: 100 million units, of which the policy needs one in a thousand."""
    sellers, records = 1_000, 100_000
    problem = a_problem([[Option(s, cap=-1) for s in range(sellers)]], [0] * records, [], [a_scope(list(range(sellers)))])
    solution = solve(problem)
    check(problem, solution)
    assert np.bincount(problem.option_seller[solution.option_of]).tolist() == [100] * sellers
