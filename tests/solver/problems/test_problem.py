"""What is no problem is refused, with the item named."""

from typing import Any

import numpy as np
import pytest

from reallot.solver.problems import InvalidProblem, Reason, Sense, problem_of, solve
from reallot.solver.problems.problem import LARGEST


def a_problem(**columns: Any) -> Any:
    given = {"records": 2, "sellers": 2, "record": [0, 1], "seller": [0, 1], **columns}
    return problem_of(**given)


@pytest.mark.parametrize(
    ("columns", "field", "text"),
    [
        ({"value": [1.0, float("nan")]}, "pairs.value[1]", "nan is no whole number"),
        ({"value": [1.5, 2.0]}, "pairs.value[0]", "1.5 is no whole number"),
        ({"value": [float("inf"), 2.0]}, "pairs.value[0]", "inf is no whole number"),
        ({"value": ["a", "b"]}, "pairs.value[0]", "a is no whole number"),
        ({"value": [0, LARGEST + 1]}, "pairs.value[1]", "is outside"),
        ({"value": [0, 2**70]}, "pairs.value[1]", "is outside"),
        ({"load": [0, -1]}, "pairs.load[1]", "-1 is outside 0"),
        ({"record": [0, 2]}, "pairs.record[1]", "there is no record 2"),
        ({"seller": [-1, 1]}, "pairs.seller[0]", "there is no seller -1"),
        ({"record": [1, 1], "seller": [0, 0]}, "pairs[1]", "record 1 and seller 0 stand twice"),
        ({"demand": [1]}, "records.demand", "has 1 rows, expected 2"),
        ({"demand": [1, -1]}, "records.demand[1]", "-1 is outside"),
        ({"optional": [0, 2]}, "records.optional[1]", "2 is neither true nor false"),
        ({"record_ids": ["a", "a"]}, "records.record_ids[1]", "'a' stands twice"),
        ({"seller_ids": ["a"]}, "sellers.seller_ids", "has 1 rows, expected 2"),
        ({"level": [0, 99]}, "pairs.level[1]", "99 is outside"),
    ],
)
def test_columns_that_make_no_problem_are_refused(columns: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(InvalidProblem) as refused:
        a_problem(**columns)

    assert refused.value.field == field
    assert text in refused.value.text


def test_numbers_that_would_overflow_together_are_refused() -> None:
    pairs = 2**21
    with pytest.raises(InvalidProblem, match=r"pairs\.value: the numbers add up to more than"):
        problem_of(records=pairs, sellers=1, record=np.arange(pairs), seller=np.zeros(pairs), value=np.full(pairs, LARGEST))


def test_a_problem_with_nothing_to_do_is_optimal_at_once() -> None:
    for problem in (problem_of(records=0, sellers=0, record=[], seller=[]), a_problem(demand=[0, 0])):
        solution = solve(problem)
        assert solution.termination.reason is Reason.OPTIMAL
        assert len(solution.chosen) == 0
        assert solution.levels[0].value == 0


def test_demand_above_the_eligible_sellers_is_told_with_the_record() -> None:
    solution = solve(a_problem(demand=[1, 3], record_ids=["a", "b"]))

    assert solution.termination.reason is Reason.INFEASIBLE
    assert solution.conflict is not None
    assert solution.conflict.text == "record b needs 3 sellers, 1 of its pairs can be chosen"
    assert solution.conflict.records.tolist() == [1]


def test_the_same_input_gives_the_same_plan_whatever_the_order_of_pairs_costs() -> None:
    numbers = np.random.default_rng(1).integers(1, 30, (3, 40))
    pairs = {"record": np.repeat(np.arange(10), 4), "seller": np.tile(np.arange(4), 10), "value": numbers[0], "load": numbers[1]}
    problem = problem_of(records=10, sellers=4, maximum_load=[60] * 4, sense=Sense.MAXIMISE, **pairs)

    plans = [solve(problem, seed=5).chosen.tolist() for _ in range(2)]

    assert plans[0] == plans[1]
    order = np.random.default_rng(2).permutation(40)
    shuffled = problem_of(
        records=10, sellers=4, maximum_load=[60] * 4, sense=Sense.MAXIMISE, **{name: column[order] for name, column in pairs.items()}
    )
    assert solve(shuffled).levels == solve(problem).levels
