"""R1, R5, and what else a caller with a problem of their own sees of the solver."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from reallot.clients import AsyncClient
from reallot.clients.errors import InvalidArgument
from reallot.v1 import run_pb2, solver_service_pb2

from world import World

SCORES = [[2, 1, 4], [5, 2, 3], [2, 0, 6], [7, 9, 3]]
"""Of 4 sellers for 3 records, in tenths."""


def scores() -> dict[str, list[int]]:
    return {
        "record": [record for seller in range(4) for record in range(3)],
        "seller": [seller for seller in range(4) for record in range(3)],
        "value": [score for row in SCORES for score in row],
    }


def test_r1_demands_and_loads_are_kept_and_the_optimum_is_proven(world: Any) -> None:
    client = world().client
    problem: dict[str, Any] = {
        "pairs": scores(),
        "records": {"demand": [2, 1, 3]},
        "sellers": {"minimum_load": [1] * 4, "maximum_load": [2] * 4},
        "sense": "max",
    }

    solution = client.solver.solve(**problem)

    assert solution.termination.reason == run_pb2.TERMINATION_REASON_OPTIMAL
    (level,) = solution.levels
    assert (level.value, level.bound) == (34, 34)
    verdict = client.solver.check_plan(list(solution.pairs), **problem)
    assert list(verdict.violations) == []
    assert verdict.levels[0].value == 34
    assert not solution.unassigned
    assert solution.replayable


def test_r5_a_problem_without_a_pair_has_no_solution_and_says_why(world: Any) -> None:
    client = world().client

    names = {"record_ids": [f"lead-{n}" for n in range(20)]}, {"seller_ids": [f"seller-{n}" for n in range(5)]}
    solution = client.solver.solve(pairs={"record": [], "seller": []}, records=names[0], sellers=names[1])

    assert solution.termination.reason == run_pb2.TERMINATION_REASON_INFEASIBLE
    assert solution.termination.limit == run_pb2.TERMINATION_LIMIT_UNSPECIFIED
    assert (list(solution.conflict.records), list(solution.conflict.sellers)) == ([0], [])
    assert solution.conflict.minimal
    assert solution.conflict.text == "record lead-0 needs 1 sellers, none of its pairs can be chosen (and so for 19 more records)"
    assert not solution.pairs


@pytest.mark.parametrize(
    ("fairness", "measure", "value"), [("even-load", 2, 37), ("maximin-value", 7, 32)], ids=["even load", "maximin value"]
)
def test_a_fair_plan_says_how_fair_it_is_and_what_that_costs(world: Any, fairness: str, measure: int, value: int) -> None:
    client = world().client
    problem: dict[str, Any] = {"pairs": scores(), "records": {"demand": [3, 2, 3]}, "sense": "max"}

    solution = client.solver.solve(**problem, fairness=fairness, price_steps=2)

    assert solution.termination.reason == run_pb2.TERMINATION_REASON_OPTIMAL
    assert (solution.fairness.measure, solution.fairness.bound, solution.levels[0].value) == (measure, measure, value)
    assert min(solution.fairness.loads if fairness == "even-load" else solution.fairness.values) == measure
    assert [step.floor for step in solution.fairness.price] == sorted(step.floor for step in solution.fairness.price)
    assert solution.fairness.price[0].value >= solution.fairness.price[-1].value == value
    assert not client.solver.check_plan(list(solution.pairs), **problem).violations


def test_minima_that_cannot_all_be_kept_are_told_with_the_sellers_and_records(world: Any) -> None:
    """Two records, three sellers who must each have one; and two records that need the same two units of a seller."""
    client = world().client
    pairs = {"record": [0, 0, 0, 1, 1, 1], "seller": [0, 1, 2, 0, 1, 2]}

    short = client.solver.solve(pairs=pairs, sellers={"minimum_load": [1, 1, 1]}, fairness="even-load")

    assert short.termination.reason == run_pb2.TERMINATION_REASON_INFEASIBLE
    assert (list(short.conflict.sellers), short.conflict.minimal) == ([0, 1, 2], True)
    assert not short.HasField("fairness")
    full = client.solver.solve(pairs={"record": [0, 1], "seller": [0, 0], "load": [2, 2]}, sellers={"maximum_load": [3]})
    assert (list(full.conflict.records), list(full.conflict.sellers), full.conflict.minimal) == ([0, 1], [0], True)


def test_a_plan_that_breaks_the_rules_is_told_what_it_breaks(world: Any) -> None:
    client = world().client

    verdict = client.solver.check_plan([0, 1], pairs=scores(), sellers={"maximum_load": [1] * 4}, sense="max")

    assert list(verdict.violations) == ["record 2 needs 1 sellers and has 0", "seller 0 carries 2, at most 1 is allowed"]
    assert verdict.levels[0].value == 3


@pytest.mark.parametrize(
    ("column", "values", "field"),
    [
        ("seller", [0, 7], "pairs.seller[1]"),
        ("value", [1, 2**50], "pairs.value[1]"),
        ("record", [0, 0], "pairs[1]"),
        ("value", [-(2**40) - 1, 1], "pairs.value[0]"),
        ("value", [2**63 - 1, 1], "pairs.value[0]"),
        ("load", [2**40 + 1, 1], "pairs.load[0]"),
        ("load", [1, -1], "pairs.load[1]"),
        ("level", [0, 16], "pairs.level[1]"),
        ("level", [-1, 0], "pairs.level[0]"),
        ("record", [0, 2], "pairs.record[1]"),
        ("record", [-1, 1], "pairs.record[0]"),
        ("load", [1], "pairs.load"),
    ],
)
def test_a_problem_that_cannot_be_understood_names_the_item(world: Any, column: str, values: list[int], field: str) -> None:
    client = world().client
    pairs = {"record": [0, 1], "seller": [0, 0], "value": [1, 1], column: values}

    with pytest.raises(InvalidArgument) as refused:
        client.solver.solve(pairs=pairs, records={"demand": [1, 1]}, sellers={"maximum_load": [5]})

    assert [violation.field for violation in refused.value.violations] == [field]


def hard_problem() -> dict[str, Any]:
    """A generalised assignment that nobody proves in the time of a test: loads and values against each other, room scarce."""
    numbers = [(7919 * n * n + 104729 * n) % 100 + 1 for n in range(60 * 12)]
    return {
        "pairs": {
            "record": [record for record in range(60) for _ in range(12)],
            "seller": [seller for _ in range(60) for seller in range(12)],
            "value": [111 - load + (n * 31) % 21 - 10 for n, load in enumerate(numbers)],
            "load": numbers,
        },
        "sellers": {"maximum_load": [sum(numbers[seller::12]) * 8 // 120 for seller in range(12)]},
    }


def test_the_largest_numbers_do_not_wrap(world: Any) -> None:
    client, most = world().client, 2**40
    pairs = {"record": [0, 0, 1, 1], "seller": [0, 1, 0, 1], "value": [most, most - 1, most, most], "load": [most, 1, most, most]}

    for sense, value, chosen in (("max", 2 * most, None), ("min", 2 * most - 1, [1, 2])):
        solution = client.solver.solve(pairs=pairs, sellers={"maximum_load": [2**62, 2**62]}, sense=sense)
        assert (solution.termination.reason, solution.levels[0].value) == (run_pb2.TERMINATION_REASON_OPTIMAL, value)
        assert chosen is None or list(solution.pairs) in (chosen, [1, 3])
    with pytest.raises(InvalidArgument, match=r"sellers\.maximum_load\[1\]"):
        client.solver.solve(pairs=pairs, sellers={"maximum_load": [2**62, 2**62 + 1]})


def test_a_demand_above_the_eligible_sellers_is_told_with_the_record(world: Any) -> None:
    client = world().client

    solution = client.solver.solve(pairs={"record": [0, 1, 1], "seller": [0, 0, 1]}, records={"record_ids": ["a", "b"], "demand": [1, 3]})

    assert solution.termination.reason == run_pb2.TERMINATION_REASON_INFEASIBLE
    assert (list(solution.conflict.records), solution.conflict.text) == ([1], "record b needs 3 sellers, 2 of its pairs can be chosen")


def test_a_solve_tells_how_far_it_is_and_ends_at_its_time_limit_with_a_plan(world: Any) -> None:
    client = world().client
    heard: list[solver_service_pb2.SolveProgress] = []

    solution = client.solver.solve(**hard_problem(), time_limit=timedelta(seconds=4), on_progress=heard.append)

    assert solution.termination.reason in (run_pb2.TERMINATION_REASON_FEASIBLE, run_pb2.TERMINATION_REASON_OPTIMAL)
    assert solution.replayable == (solution.termination.reason == run_pb2.TERMINATION_REASON_OPTIMAL)
    assert heard
    assert [p.value for p in heard if p.HasField("value")][-1] >= solution.levels[0].value >= solution.levels[0].bound
    assert not client.solver.check_plan(list(solution.pairs), **hard_problem()).violations


def test_whoever_leaves_ends_the_solve_and_the_next_is_served(world: Any) -> None:
    made: World = world()

    async def leave(client: AsyncClient) -> None:
        heard = asyncio.Event()
        solving = asyncio.create_task(client.solver.solve(**hard_problem(), on_progress=lambda _: heard.set()))
        await heard.wait()
        solving.cancel()
        await asyncio.gather(solving, return_exceptions=True)

    for _ in range(3):
        made.client.run(leave(made.client.inner))

    solution = made.client.solver.solve(pairs=scores(), sense="max", sellers={"maximum_load": [2] * 4})
    assert solution.termination.reason == run_pb2.TERMINATION_REASON_OPTIMAL
