"""Files that hold problems."""

import json
from typing import Any

import pytest

from reallot.solver.problems import InvalidProblem, Sense, solve
from reallot.solver.problems.formats import UnreadableFile, read_dimacs_min, read_json, read_orlib_assign, read_orlib_gap
from reallot.solver.problems.networks import flow_violations, solve_network

SCORES = [[0.2, 0.1, 0.4], [0.5, 0.2, 0.3], [0.2, 0, 0.6], [0.7, 0.9, 0.3]]


def scores() -> dict[str, Any]:
    return {
        "sense": "max",
        "records": [{"id": f"r{n}", "demand": demand} for n, demand in enumerate([2, 1, 3])],
        "sellers": [{"id": f"s{n}", "minimum_load": 1, "maximum_load": 2} for n in range(4)],
        "pairs": [{"record": f"r{r}", "seller": f"s{s}", "value": value} for s, row in enumerate(SCORES) for r, value in enumerate(row)],
    }


def test_decimals_are_scaled_to_whole_numbers_exactly() -> None:
    reading = read_json(json.dumps(scores()))

    assert reading.scale == 10
    assert solve(reading.problem).levels[0].value == 34


def test_the_same_problem_without_ids_goes_by_position() -> None:
    named = scores()
    bare = {
        "sense": "max",
        "records": [{"demand": row["demand"]} for row in named["records"]],
        "sellers": [{"minimum_load": 1, "maximum_load": 2} for _ in named["sellers"]],
        "pairs": [{**pair, "record": int(pair["record"][1:]), "seller": int(pair["seller"][1:])} for pair in named["pairs"]],
    }

    assert solve(read_json(json.dumps(bare)).problem).levels[0].value == 34
    assert solve(read_json(json.dumps(bare), Sense.MINIMISE).problem).levels[0].value < 34


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"pairs": [{"record": "r9", "seller": "s0"}]}, "pairs[0].record"),
        ({"pairs": [{"record": "r0", "seller": "s0", "value": float("nan")}]}, "pairs.value[0]"),
        ({"pairs": [{"record": "r0", "seller": "s0", "valeu": 1}]}, "pairs[0].valeu"),
        ({"pairs": [{"record": "r0", "seller": "s0", "value": "1"}]}, "pairs.value[0]"),
        ({"records": {}}, "records"),
        ({"sense": "best"}, "sense"),
        ({"recrods": []}, "recrods"),
        ({"pairs": [{"record": "r0", "seller": "s0", "value": 1e-12}]}, "pairs.value"),
        ({"sellers": [{"id": "s0", "maximum_load": 1.5}]}, "sellers.maximum_load[0]"),
    ],
)
def test_json_that_is_no_problem_is_refused_with_the_item_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidProblem) as refused:
        read_json(json.dumps({**scores(), "pairs": [], **change}))

    assert refused.value.field == field


def test_forbidden_pairs_are_left_out_and_loads_default_to_the_effort() -> None:
    problem = read_json(
        json.dumps(
            {
                "records": [{"effort": 3}, {}],
                "sellers": [{}],
                "pairs": [{"record": 0, "seller": 0}, {"record": 1, "seller": 0, "forbidden": True}],
            }
        )
    ).problem

    assert problem.record.tolist() == [0]
    assert problem.load.tolist() == [3]


@pytest.mark.parametrize("text", ["{", "[]", '{"records": 1e999999999999}'])
def test_text_that_is_no_json_object_is_refused(text: str) -> None:
    with pytest.raises((UnreadableFile, InvalidProblem)):
        read_json(text)


def test_generalised_assignment_of_or_library() -> None:
    problem = read_orlib_gap("2 3\n 1 2 3\n 4 5 6\n 1 1 1\n 2 2 2\n 2 4", Sense.MINIMISE).problem

    assert (problem.sellers, problem.records) == (2, 3)
    assert problem.maximum_load.tolist() == [2, 4]
    # Agent 0 takes two jobs; the third costs 3 more with the other, whichever it is.
    assert solve(problem).levels[0].value == 9


@pytest.mark.parametrize("text", ["", "2 2 1 1", "2 x", "1 1 1 1 99999999999999999999", "0 0"])
def test_generalised_assignment_that_is_cut_off_is_refused(text: str) -> None:
    with pytest.raises(UnreadableFile):
        read_orlib_gap(text, Sense.MINIMISE)


def test_linear_assignment_of_or_library() -> None:
    assert solve(read_orlib_assign("2 1 9 9 1", Sense.MINIMISE).problem).levels[0].value == 2
    assert solve(read_orlib_assign("2 1 9 9 1", Sense.MAXIMISE).problem).levels[0].value == 18
    with pytest.raises(UnreadableFile, match="2 rows need 5 numbers"):
        read_orlib_assign("2 1 2 3", Sense.MINIMISE)


FLOW = """c two ways, one of them cheap and narrow
p min 3 3
n 1 4
n 3 -4
a 1 3 1 2 5
a 1 2 0 3 1
a 2 3 0 3 1
"""


def test_dimacs_flow_keeps_lower_bounds() -> None:
    network = read_dimacs_min(FLOW)
    units = solve_network(network)

    assert units is not None
    assert units.tolist() == [1, 3, 3]
    assert flow_violations(network, units) == []
    assert flow_violations(network, units + 1)


def test_dimacs_flow_without_a_way_has_none() -> None:
    assert solve_network(read_dimacs_min(FLOW.replace("n 3 -4", "n 3 -5"))) is None
    assert solve_network(read_dimacs_min(FLOW.replace("n 1 4", "n 1 9").replace("n 3 -4", "n 3 -9"))) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FLOW.replace("a 1 3", "a 1 7"), "line 5 .* there is no node 7"),
        (FLOW.replace("p min 3 3", "p min 3 4"), "announces 4 arcs and has 3"),
        (FLOW.replace("n 1 4", "n 1"), "line 3"),
        ("a 1 2 0 1 1", "line 1"),
        (FLOW + "x", "line 8"),
        ("", "announces 0 arcs"),
    ],
)
def test_dimacs_text_that_cannot_be_read_names_the_line(text: str, reason: str) -> None:
    if not text:
        with pytest.raises(UnreadableFile):
            read_dimacs_min(text)
        return
    with pytest.raises(UnreadableFile, match=reason):
        read_dimacs_min(text)
