"""Published problems and their published optima."""

import csv
import os
from pathlib import Path

import pytest

from reallot.solver.problems import Reason, Sense, solve, violations
from reallot.solver.problems.formats import read_dimacs_min, read_orlib_assign, read_orlib_gap
from reallot.solver.problems.networks import flow_violations, solve_network

DATA = Path(os.environ.get("REALLOT_DATA", "nowhere"))
pytestmark = pytest.mark.skipif(
    not DATA.is_dir() and not os.environ.get("REALLOT_DATA_REQUIRED"), reason="the real data is not here: REALLOT_DATA names its folder"
)
QUICKLY = ("gap1-0", "gap2-3", "gap3-4", "gap4-0", "gap5-2", "gap6-3", "a05100", "a20200", "c05100")
"""A few of each kind; `make bench NAME=gap` takes all."""


def published() -> list[tuple[str, str, int]]:
    table = DATA / "gap" / "optimal_values.csv"
    if not table.exists():
        return []
    return [
        (row["instance"], row["sense"], int(row["best_value"]))
        for row in csv.DictReader(table.read_text().splitlines())
        if row["instance"] in QUICKLY
    ]


@pytest.mark.parametrize(("name", "sense", "best"), published())
def test_generalised_assignment_reaches_the_published_optimum_and_proves_it(name: str, sense: str, best: int) -> None:
    problem = read_orlib_gap((DATA / "gap" / name).read_text(), {"min": Sense.MINIMISE, "max": Sense.MAXIMISE}[sense]).problem

    solution = solve(problem)

    assert (solution.levels[0].value, solution.levels[0].bound) == (best, best)
    assert solution.termination.reason is Reason.OPTIMAL


def test_linear_assignment_reaches_the_published_optimum() -> None:
    problem = read_orlib_assign((DATA / "lap" / "assign100.txt").read_text(), Sense.MINIMISE).problem

    solution = solve(problem)

    assert solution.levels[0].value == solution.levels[0].bound == 305
    assert violations(problem, solution.chosen) == []


def test_minimum_cost_flow_reaches_the_published_optimum() -> None:
    network = read_dimacs_min((DATA / "flow" / "netgen-2.min").read_text())

    units = solve_network(network)

    assert units is not None
    assert flow_violations(network, units) == []
    assert int((units * network.cost).sum()) == 6_749_969_302
