"""Columns that contradict each other are refused, with the column's name."""

from dataclasses import replace

import numpy as np
import pytest

from reallot.solver.assignment import InvalidProblem, Problem, solve
from reallot.solver.assignment.problem import LARGEST_COST
from support.problems import Option, a_problem, a_scope


def a_pair() -> Problem:
    return a_problem([[Option(0), Option(1)]], [0, 0], [1, 1], [a_scope([1, 2])])


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("priority", [50]),
        ("class_of", [0, 1]),
        ("class_of", [-1, 0]),
        ("effort", [-1]),
        ("option_start", [0, 1]),
        ("option_start", [1, 2]),
        ("option_seller", [-1, 0]),
        ("option_rank", [0, -1]),
        ("option_bucket", [0]),
        ("option_fit", [0, LARGEST_COST + 1]),
        ("option_scope", [0, 1]),
        ("option_scope", [-2, 0]),
        ("option_cap", [0, 2]),
        ("cap_parent", [-1]),
        ("cap_parent", [1, 0]),
    ],
)
def test_contradicting_columns_are_named(column: str, values: list[int]) -> None:
    with pytest.raises(InvalidProblem, match=column):
        replace(a_pair(), **{column: np.array(values, dtype=getattr(a_pair(), column).dtype)})


def test_a_scope_must_serve_the_sellers_of_its_options() -> None:
    with pytest.raises(InvalidProblem, match="does not serve"):
        a_problem([[Option(0), Option(2)]], [0], [1, 1, 1], [a_scope([1, 2])])


@pytest.mark.parametrize("parent", [[-1, -1, -1], [-1, 0, 0]], ids=["the node itself", "a node around"])
def test_two_sellers_may_not_share_a_maximum(parent: list[int]) -> None:
    caps = [0, 0] if parent[1] < 0 else [1, 2]
    problem = a_problem([[Option(0, cap=caps[0]), Option(1, cap=caps[1])]], [0], [1, 1, 1], [a_scope([1, 2])], parent=parent)
    with pytest.raises(InvalidProblem, match="two sellers"):
        solve(problem)
